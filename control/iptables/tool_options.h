// The options of the -save and -restore programs. The daemon runs these programs; the tool reads
// the same options to learn which files they name, since files are the caller's: it opens them
// with the caller's rights, and the daemon opens none that a command names.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/iptables/options.h"

namespace postern::control::iptables {

// Options in any order, with words between them.
class ToolOptions {
 public:
  static ToolOptions OfSave(std::vector<std::string> arguments);
  static ToolOptions OfRestore(std::vector<std::string> arguments);

  // The next option's letter, or OptionScanner's kUnknown or kMissing; nothing at the end. Words
  // are collected.
  std::optional<int> Next();
  OptionScanner& scanner() { return scanner_; }
  const OptionScanner& scanner() const { return scanner_; }
  const std::vector<std::string>& words() const { return words_; }

 private:
  ToolOptions(std::vector<std::string> arguments, std::string_view letters,
              std::vector<LongOption> options)
      : scanner_(std::move(arguments), letters, std::move(options)) {}

  OptionScanner scanner_;
  std::vector<std::string> words_;
};

// What the tool opens for a command.
struct CommandFiles {
  bool reads_input = false;
  std::string input;                 // "" is standard input
  std::vector<std::string> outputs;  // each is made; the last one receives the output
};
// `program`: "iptables-save", "ip6tables-restore"; others have no files.
CommandFiles FilesOf(std::string_view program, const std::vector<std::string>& arguments);

}  // namespace postern::control::iptables

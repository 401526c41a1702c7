// getopt_long over a list of words, as glibc does it with an option string that starts with "-:":
// words come in order, long options may be abbreviated, `=` and the next word give arguments,
// short options cluster. The table of long options grows while it runs (-m, -j, -p).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace postern::control::iptables {

enum class HasArgument { kNo, kRequired, kOptional };

struct LongOption {
  std::string_view name;
  HasArgument argument = HasArgument::kNo;
  int value = 0;
};

class OptionScanner {
 public:
  static constexpr int kEnd = -1;
  static constexpr int kWord = 1;  // a word that is no option
  static constexpr int kUnknown = '?';
  static constexpr int kMissing = ':';

  // `words` without the program's name. `short_options` in getopt's form, without "-:".
  OptionScanner(std::vector<std::string> words, std::string_view short_options,
                std::vector<LongOption> long_options);

  // The value of the next option, or one of the constants.
  int Next();

  // The argument of the option that Next() returned; null: none.
  const std::string* argument() const { return has_argument_ ? &argument_ : nullptr; }
  // The word before the one that Next() would read: in most cases the argument, but the whole
  // word for `--protocol=tcp` and `-ptcp`, where the original looks at it in the same way.
  const std::string& LastWord() const;
  // The short option that Next() read last, known or not.
  char letter() const { return letter_; }
  // True where a word that is no option and no `!` follows.
  bool HasFreeWord() const;
  std::string TakeWord() { return words_[index_++]; }
  bool AtEnd() const { return index_ >= words_.size(); }
  const std::string* Peek() const { return AtEnd() ? nullptr : &words_[index_]; }
  // Reads the last word again (after new options became known).
  void StepBack() { --index_; }

  // New options stand before those added earlier but after the first `base_count`.
  void AddLongOptions(const std::vector<LongOption>& options);

 private:
  int NextLong();
  int NextShort();
  const LongOption* FindLong(std::string_view name, bool* ambiguous) const;

  std::vector<std::string> words_;
  std::string_view short_options_;
  std::vector<LongOption> long_options_;
  const size_t base_count_;
  size_t index_ = 0;
  size_t cluster_ = 0;  // position within a word of short options; 0: at a new word
  bool has_argument_ = false;
  char letter_ = 0;
  std::string argument_;
};

}  // namespace postern::control::iptables

// Command lines in getopt_long's manner, for commands that run inside the daemon, where getopt's
// globals and its writing to standard error have no place.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace postern::control {

enum class OptionArgument : uint8_t {
  kNone,
  kRequired,
  kOptional,  // the next argument unless it begins with '-' or '!'
};

struct OptionSpec {
  std::string_view name;  // without "--"; "" for a letter only
  char letter = '\0';     // '\0' for none
  OptionArgument argument = OptionArgument::kNone;
  int code = 0;  // what the caller knows it by
};

// Walks over a command line; the caller may change the options that are known between two calls.
class OptionWalk {
 public:
  enum class Kind : uint8_t {
    kOption,   // `spec` and `value`
    kOperand,  // `value`
    kUnknown,  // `value`: the word as it was written, "-x" or "--name=value"
    kNoValue,  // an option without its argument: `value` likewise
    kEnd,
  };
  struct Item {
    Kind kind = Kind::kEnd;
    const OptionSpec* spec = nullptr;
    std::string value;
    bool has_value = false;
  };

  explicit OptionWalk(const std::vector<std::string>& arguments) : arguments_(arguments) {}
  Item Next(std::span<const OptionSpec> specs);

 private:
  Item Long(std::span<const OptionSpec> specs);
  Item Letter(std::span<const OptionSpec> specs);
  // Completes an option with its argument. `attached`: what stood behind it in the same word.
  Item WithArgument(const OptionSpec* spec, const std::string& written,
                    const std::string* attached);

  const std::vector<std::string>& arguments_;
  size_t next_ = 0;
  size_t letter_ = 0;  // position in a bundle of letters; 0: between arguments
  bool only_operands_ = false;
};

}  // namespace postern::control

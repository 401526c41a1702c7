#include "control/options.h"

#include <utility>

namespace postern::control {

OptionWalk::Item OptionWalk::Next(std::span<const OptionSpec> specs) {
  if (letter_ != 0) return Letter(specs);
  if (next_ >= arguments_.size()) return {};
  const std::string& argument = arguments_[next_];
  if (only_operands_ || argument.size() < 2 || argument[0] != '-') {
    ++next_;
    return {Kind::kOperand, nullptr, argument, true};
  }
  if (argument == "--") {
    ++next_;
    only_operands_ = true;
    return Next(specs);
  }
  if (argument[1] == '-') return Long(specs);
  letter_ = 1;
  return Letter(specs);
}

OptionWalk::Item OptionWalk::Long(std::span<const OptionSpec> specs) {
  const std::string& argument = arguments_[next_++];
  const size_t equals = argument.find('=');
  const std::string written = argument.substr(0, equals);
  const std::string_view name = std::string_view(written).substr(2);
  const OptionSpec* found = nullptr;
  bool ambiguous = false;
  for (const OptionSpec& spec : specs) {
    if (spec.name == name) {
      found = &spec;
      ambiguous = false;
      break;
    }
    if (!spec.name.starts_with(name) || spec.name.empty()) continue;
    ambiguous = ambiguous || (found != nullptr && found->code != spec.code);
    found = &spec;
  }
  if (found == nullptr || ambiguous) return {Kind::kUnknown, nullptr, argument, false};
  if (equals == std::string::npos) return WithArgument(found, written, nullptr);
  if (found->argument == OptionArgument::kNone) return {Kind::kUnknown, nullptr, argument, false};
  const std::string attached = argument.substr(equals + 1);
  return WithArgument(found, written, &attached);
}

OptionWalk::Item OptionWalk::Letter(std::span<const OptionSpec> specs) {
  const std::string& argument = arguments_[next_];
  const char letter = argument[letter_++];
  const bool last = letter_ >= argument.size();
  const std::string attached = last ? "" : argument.substr(letter_);
  const OptionSpec* found = nullptr;
  for (const OptionSpec& spec : specs) {
    if (spec.letter == letter) found = &spec;
  }
  const bool takes_rest = found != nullptr && found->argument != OptionArgument::kNone;
  if (last || takes_rest) {
    letter_ = 0;
    ++next_;
  }
  if (found == nullptr) return {Kind::kUnknown, nullptr, argument, false};
  return WithArgument(found, argument, takes_rest && !last ? &attached : nullptr);
}

OptionWalk::Item OptionWalk::WithArgument(const OptionSpec* spec, const std::string& written,
                                          const std::string* attached) {
  if (attached != nullptr) return {Kind::kOption, spec, *attached, true};
  const bool more = next_ < arguments_.size();
  switch (spec->argument) {
    case OptionArgument::kNone:
      break;
    case OptionArgument::kRequired:
      if (!more) return {Kind::kNoValue, spec, written, false};
      return {Kind::kOption, spec, arguments_[next_++], true};
    case OptionArgument::kOptional:
      if (more && !arguments_[next_].starts_with('-') && !arguments_[next_].starts_with('!')) {
        return {Kind::kOption, spec, arguments_[next_++], true};
      }
      break;
  }
  return {Kind::kOption, spec, "", false};
}

}  // namespace postern::control

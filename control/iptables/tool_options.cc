#include "control/iptables/tool_options.h"

namespace postern::control::iptables {
namespace {

bool IsFailure(int option) {
  return option == OptionScanner::kUnknown || option == OptionScanner::kMissing;
}

}  // namespace

ToolOptions ToolOptions::OfSave(std::vector<std::string> arguments) {
  using enum HasArgument;
  return {std::move(arguments),
          "bcdt:M:f:46V",
          {{"counters", kNo, 'c'},
           {"version", kNo, 'V'},
           {"dump", kNo, 'd'},
           {"table", kRequired, 't'},
           {"modprobe", kRequired, 'M'},
           {"file", kRequired, 'f'},
           {"ipv4", kNo, '4'},
           {"ipv6", kNo, '6'}}};
}

ToolOptions ToolOptions::OfRestore(std::vector<std::string> arguments) {
  using enum HasArgument;
  return {std::move(arguments),
          "bcvVthnM:T:wW",
          {{"counters", kNo, 'c'},
           {"verbose", kNo, 'v'},
           {"version", kNo, 'V'},
           {"test", kNo, 't'},
           {"help", kNo, 'h'},
           {"noflush", kNo, 'n'},
           {"modprobe", kRequired, 'M'},
           {"table", kRequired, 'T'},
           {"ipv4", kNo, '4'},
           {"ipv6", kNo, '6'},
           {"wait", kOptional, 'w'},
           {"wait-interval", kOptional, 'W'}}};
}

std::optional<int> ToolOptions::Next() {
  while (true) {
    const int option = scanner_.Next();
    if (option == OptionScanner::kWord) {
      words_.push_back(*scanner_.argument());
      continue;
    }
    if (option != OptionScanner::kEnd) return option;
    while (!scanner_.AtEnd()) words_.push_back(scanner_.TakeWord());
    return std::nullopt;
  }
}

CommandFiles FilesOf(std::string_view program, const std::vector<std::string>& arguments) {
  CommandFiles files;
  if (program.ends_with("tables-save")) {
    ToolOptions options = ToolOptions::OfSave(arguments);
    while (const auto option = options.Next()) {
      // The program ends here, with the files before.
      if (IsFailure(*option) || *option == 'V') break;
      if (*option == 'f') files.outputs.push_back(*options.scanner().argument());
    }
    return files;
  }
  if (!program.ends_with("tables-restore")) return files;
  ToolOptions options = ToolOptions::OfRestore(arguments);
  while (const auto option = options.Next()) {
    if (IsFailure(*option) || *option == 'V' || *option == 'h') return files;
    const bool wait = *option == 'w' || *option == 'W';
    if (wait && options.scanner().argument() == nullptr && options.scanner().HasFreeWord()) {
      options.scanner().TakeWord();
    }
  }
  // More than one word is an error that the program reports.
  if (options.words().size() > 1) return files;
  files.reads_input = true;
  if (!options.words().empty()) files.input = options.words().front();
  return files;
}

}  // namespace postern::control::iptables

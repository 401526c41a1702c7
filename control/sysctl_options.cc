#include "control/sysctl_options.h"

#include <fmt/format.h>

#include <map>

#include "control/iptables/options.h"
#include "control/version.h"

namespace postern::control {
namespace {

using iptables::HasArgument;
using iptables::OptionScanner;

enum LongValue { kDeprecated = 256, kDryRun, kSystem };

const std::vector<iptables::LongOption> kLongOptions = {
    {"all", HasArgument::kNo, 'a'},         {"deprecated", HasArgument::kNo, kDeprecated},
    {"dry-run", HasArgument::kNo, kDryRun}, {"binary", HasArgument::kNo, 'b'},
    {"ignore", HasArgument::kNo, 'e'},      {"names", HasArgument::kNo, 'N'},
    {"values", HasArgument::kNo, 'n'},      {"load", HasArgument::kOptional, 'p'},
    {"quiet", HasArgument::kNo, 'q'},       {"write", HasArgument::kNo, 'w'},
    {"system", HasArgument::kNo, kSystem},  {"pattern", HasArgument::kRequired, 'r'},
    {"help", HasArgument::kNo, 'h'},        {"version", HasArgument::kNo, 'V'},
};

// Reads options; the exit status where that was all.
class Parser {
 public:
  Parser(const std::vector<std::string>& arguments, const SysctlIo& io)
      : io_(io), scanner_(arguments, "bneNwfp::qoxaAXr:Vdh", kLongOptions) {}

  std::optional<int> Parse(SysctlOptions* o) {
    for (int option = scanner_.Next(); option != OptionScanner::kEnd; option = scanner_.Next()) {
      if (const auto status = Take(option, o)) return status;
      // What follows --system isn't read.
      if (o->system) return std::nullopt;
    }
    while (!scanner_.AtEnd()) o->words.push_back(scanner_.TakeWord());
    return std::nullopt;
  }

 private:
  std::optional<int> Take(int option, SysctlOptions* o) {
    switch (option) {
      case OptionScanner::kWord:
        o->words.push_back(*scanner_.argument());
        break;
      case 'b':
        o->print_newline = false;
        [[fallthrough]];
      case 'n':
        o->print_name = false;
        break;
      case 'f':
      case 'p':
        o->load = true;
        if (scanner_.argument() != nullptr) o->file = *scanner_.argument();
        break;
      case 'r':
        o->pattern = *scanner_.argument();
        break;
      case 'V':
        io_.out(fmt::format("sysctl from postern {}\n", Version()));
        return 0;
      default:
        if (Switch(option, o)) break;
        Complain(option);
        io_.out(kSysctlUsage);
        return 0;
    }
    return std::nullopt;
  }

  static bool Switch(int option, SysctlOptions* o) {
    static const std::map<int, bool SysctlOptions::*> kSwitches = {
        {'a', &SysctlOptions::all},        {'A', &SysctlOptions::all},
        {'X', &SysctlOptions::all},        {'w', &SysctlOptions::write},
        {'N', &SysctlOptions::names},      {'e', &SysctlOptions::ignore},
        {'q', &SysctlOptions::quiet},      {kDryRun, &SysctlOptions::dry_run},
        {kSystem, &SysctlOptions::system},
    };
    if (const auto found = kSwitches.find(option); found != kSwitches.end()) {
      o->*found->second = true;
      return true;
    }
    // -o, -x and --deprecated: nothing here is.
    return option == 'o' || option == 'x' || option == kDeprecated;
  }

  // As getopt says it.
  void Complain(int option) {
    const std::string& word = scanner_.LastWord();
    const bool is_long = word.starts_with("--");
    if (option == OptionScanner::kMissing) {
      io_.error(is_long
                    ? fmt::format("sysctl: option '{}' requires an argument\n", word)
                    : fmt::format("sysctl: option requires an argument -- '{}'\n", word.back()));
    } else if (option == OptionScanner::kUnknown) {
      io_.error(is_long ? fmt::format("sysctl: unrecognized option '{}'\n", word)
                        : fmt::format("sysctl: invalid option -- '{}'\n", scanner_.letter()));
    }
  }

  const SysctlIo& io_;
  OptionScanner scanner_;
};

}  // namespace

const std::string_view kSysctlUsage =
    "\nUsage:\n"
    " sysctl [options] [variable[=value] ...]\n"
    "\n"
    "Options:\n"
    "  -a, --all            display all variables\n"
    "  -A                   alias of -a\n"
    "  -X                   alias of -a\n"
    "      --deprecated     include deprecated parameters to listing\n"
    "      --dry-run        Print the key and values but do not write\n"
    "  -b, --binary         print value without new line\n"
    "  -e, --ignore         ignore unknown variables errors\n"
    "  -N, --names          print variable names without values\n"
    "  -n, --values         print only values of the given variable(s)\n"
    "  -p, --load[=<file>]  read values from file\n"
    "  -f                   alias of -p\n"
    "      --system         read values from all system directories\n"
    "  -r, --pattern <expression>\n"
    "                       select setting that match expression\n"
    "  -q, --quiet          do not echo variable set\n"
    "  -w, --write          enable writing a value to variable\n"
    "  -o                   does nothing\n"
    "  -x                   does nothing\n"
    "  -d                   alias of -h\n"
    "\n"
    " -h, --help     display this help and exit\n"
    " -V, --version  output version information and exit\n"
    "\n"
    "For more details see sysctl(8).\n";

std::optional<int> ParseSysctlArguments(const std::vector<std::string>& arguments,
                                        const SysctlIo& io, SysctlOptions* options) {
  return Parser(arguments, io).Parse(options);
}

}  // namespace postern::control

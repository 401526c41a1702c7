#include "control/sysctl_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <regex>
#include <sstream>

#include "control/engine.h"
#include "control/version.h"

namespace postern::control {
namespace {

constexpr std::string_view kCount = "net.netfilter.nf_conntrack_count";
constexpr std::string_view kDefaultFile = "/etc/sysctl.conf";
constexpr std::string_view kUsage =
    "\nUsage:\n"
    " postern sysctl [options] [variable[=value] ...]\n"
    "\n"
    "Options:\n"
    "  -a, --all            display all variables\n"
    "  -b, --binary         print value without new line\n"
    "  -e, --ignore         ignore unknown variables errors\n"
    "  -N, --names          print variable names without values\n"
    "  -n, --values         print only values of the given variable(s)\n"
    "  -p, --load[=<file>]  read values from file\n"
    "  -f                   alias of -p\n"
    "  -r, --pattern <expression>\n"
    "                       select setting that match expression\n"
    "  -q, --quiet          do not echo variable set\n"
    "  -w, --write          enable writing a value to variable\n"
    "\n"
    " -h, --help     display this help and exit\n"
    " -V, --version  output version information and exit\n";

struct Options {
  bool all = false;
  bool write = false;
  bool values = false;
  bool names = false;
  bool binary = false;
  bool ignore = false;
  bool quiet = false;
  bool help = false;
  bool version = false;
  std::optional<std::string> load;  // the file
  std::string pattern;
  std::vector<std::string> operands;
  std::string bad;  // the sentence about what can't be understood
};

// One letter of a bundle; true if it takes the rest of the argument (or the next one).
bool TakeLetter(char letter, Options* o) {
  switch (letter) {
    case 'a':
    case 'A':
    case 'X':
      o->all = true;
      return false;
    case 'w':
      o->write = true;
      return false;
    case 'n':
      o->values = true;
      return false;
    case 'N':
      o->names = true;
      return false;
    case 'b':
      o->binary = o->values = true;
      return false;
    case 'e':
      o->ignore = true;
      return false;
    case 'q':
      o->quiet = true;
      return false;
    case 'h':
    case 'd':
      o->help = true;
      return false;
    case 'V':
      o->version = true;
      return false;
    case 'o':
    case 'x':
      return false;
    case 'p':
    case 'f':
    case 'r':
      return true;
    default:
      o->bad = fmt::format("sysctl: invalid option -- '{}'", letter);
      return false;
  }
}

bool TakeLong(const std::string& name, Options* o) {
  if (name == "--all") return !TakeLetter('a', o);
  if (name == "--write") return !TakeLetter('w', o);
  if (name == "--values") return !TakeLetter('n', o);
  if (name == "--names") return !TakeLetter('N', o);
  if (name == "--binary") return !TakeLetter('b', o);
  if (name == "--ignore") return !TakeLetter('e', o);
  if (name == "--quiet") return !TakeLetter('q', o);
  if (name == "--help") return !TakeLetter('h', o);
  if (name == "--version") return !TakeLetter('V', o);
  return false;
}

Options ParseArguments(const std::vector<std::string>& arguments) {
  Options o;
  for (size_t i = 0; i < arguments.size() && o.bad.empty(); ++i) {
    const std::string& a = arguments[i];
    if (a.size() < 2 || a[0] != '-') {
      o.operands.push_back(a);
    } else if (a.starts_with("--load")) {
      o.load = a.starts_with("--load=") ? a.substr(7) : std::string(kDefaultFile);
    } else if (a == "--pattern" && i + 1 < arguments.size()) {
      o.pattern = arguments[++i];
    } else if (a.starts_with("--pattern=")) {
      o.pattern = a.substr(10);
    } else if (a.starts_with("--")) {
      if (!TakeLong(a, &o)) o.bad = fmt::format("sysctl: unrecognized option '{}'", a);
    } else {
      for (size_t k = 1; k < a.size() && o.bad.empty(); ++k) {
        if (!TakeLetter(a[k], &o)) continue;
        std::string value = a.substr(k + 1);
        if (a[k] == 'r' && value.empty() && i + 1 < arguments.size()) value = arguments[++i];
        if (a[k] == 'r') {
          o.pattern = value;
        } else {
          o.load = value;
        }
        break;
      }
    }
  }
  // `-p FILE`: the file is an operand.
  if (o.load && o.load->empty()) {
    o.load = o.operands.empty() ? std::string(kDefaultFile) : o.operands[0];
  }
  return o;
}

class Runner {
 public:
  Runner(const CommandIo& io, SysctlStore* store, const Options& options)
      : io_(io), store_(store), options_(options) {}

  int Run() {
    if (options_.load) return Load();
    if (options_.all) return All();
    int status = 0;
    for (const std::string& operand : options_.operands) {
      const bool good = options_.write || operand.find('=') != std::string::npos
                            ? WriteOperand(operand)
                            : Show(NormalizeSysctlName(operand));
      if (!good) status = 1;
    }
    return status;
  }

 private:
  std::string Missing(const std::string& name) {
    std::string path = name;
    std::replace(path.begin(), path.end(), '.', '/');
    return fmt::format("sysctl: cannot stat /proc/sys/{}: No such file or directory\n", path);
  }

  void Print(std::string_view name, uint64_t value) {
    if (options_.names) {
      io_.out(fmt::format("{}\n", name));
    } else if (options_.values) {
      io_.out(fmt::format("{}{}", value, options_.binary ? "" : "\n"));
    } else {
      io_.out(fmt::format("{} = {}\n", name, value));
    }
  }

  bool Show(const std::string& name) {
    if (name == kCount) {
      Print(name, store_->ConntrackCount());
      return true;
    }
    const SysctlName* found = FindSysctl(name);
    if (found == nullptr) {
      if (!options_.ignore) io_.error(Missing(name));
      return options_.ignore;
    }
    Print(found->name, found->read(store_->Current()));
    return true;
  }

  int All() {
    std::regex pattern;
    try {
      pattern = std::regex(options_.pattern, std::regex::extended);
    } catch (const std::regex_error&) {
      io_.error(fmt::format("sysctl: '{}' isn't a regular expression\n", options_.pattern));
      return 1;
    }
    std::vector<std::string_view> names = {kCount};
    for (const SysctlName& name : SysctlNames()) names.push_back(name.name);
    std::sort(names.begin(), names.end());
    for (const std::string_view name : names) {
      if (std::regex_search(name.begin(), name.end(), pattern)) Show(std::string(name));
    }
    return 0;
  }

  bool Set(const std::string& name, const std::string& value, bool ignore) {
    const SysctlName* found = FindSysctl(name);
    if (found == nullptr && name != kCount) {
      if (!ignore) io_.error(Missing(name));
      return ignore;
    }
    Sysctls next = store_->Current();
    if (found == nullptr || !SetSysctl(*found, value, &next)) {
      io_.error(fmt::format("sysctl: setting key \"{}\": Invalid argument\n", name));
      return ignore;
    }
    if (const net::Status status = store_->Change(next); !status) {
      io_.error(fmt::format("sysctl: setting key \"{}\": {}\n", name, status.error()));
      return ignore;
    }
    if (!options_.quiet) {
      if (options_.names) {
        io_.out(fmt::format("{}\n", name));
      } else {
        io_.out(options_.values ? fmt::format("{}\n", value)
                                : fmt::format("{} = {}\n", name, value));
      }
    }
    return true;
  }

  bool WriteOperand(const std::string& operand) {
    const auto line = ParseSysctlLine(operand);
    if (!line || !line->valid || line->name.empty()) {
      io_.error("sysctl: command line(0): invalid syntax, continuing...\n");
      return false;
    }
    return Set(line->name, line->value, options_.ignore);
  }

  int Load() {
    std::istringstream lines(io_.standard_input);
    int status = 0;
    int number = 0;
    for (std::string text; std::getline(lines, text);) {
      ++number;
      const auto line = ParseSysctlLine(text);
      if (!line) continue;
      if (!line->valid) {
        io_.error(
            fmt::format("sysctl: {}({}): invalid syntax, continuing...\n", *options_.load, number));
        status = 1;
        continue;
      }
      // The rest of the machine's settings isn't Postern's: a file for the whole machine passes.
      if (FindSysctl(line->name) == nullptr && line->name != kCount) continue;
      if (!Set(line->name, line->value, options_.ignore || line->ignore_errors)) status = 1;
    }
    return status;
  }

  const CommandIo& io_;
  SysctlStore* store_;
  const Options& options_;
};

class EngineStore : public SysctlStore {
 public:
  explicit EngineStore(Engine* engine) : engine_(engine) {}
  const Sysctls& Current() const override { return engine_->sysctls(); }
  uint64_t ConntrackCount() const override { return engine_->dataplane().conntrack_entries(); }
  net::Status Change(const Sysctls& next) override { return engine_->SetSysctls(next); }

 private:
  Engine* engine_;
};

}  // namespace

int RunSysctl(const CommandIo& io, SysctlStore* store) {
  const Options options = ParseArguments(io.arguments);
  if (!options.bad.empty()) {
    io.error(options.bad + "\n");
    io.error(kUsage);
    return 1;
  }
  if (options.help) {
    io.out(kUsage);
    return 0;
  }
  if (options.version) {
    io.out(fmt::format("sysctl from postern {}\n", Version()));
    return 0;
  }
  if (!options.all && !options.load && options.operands.empty()) {
    io.error("sysctl: no variables specified\nTry `sysctl --help' for more information.\n");
    return 1;
  }
  return Runner(io, store, options).Run();
}

int RunSysctl(const CommandIo& io, Engine* engine) {
  EngineStore store(engine);
  return RunSysctl(io, &store);
}

std::string SysctlFile(const std::vector<std::string>& arguments) {
  const Options options = ParseArguments(arguments);
  if (!options.bad.empty() || options.help || options.version) return "";
  return options.load.value_or("");
}

}  // namespace postern::control

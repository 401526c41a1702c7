#include "control/sysctl_command.h"

#include <fmt/format.h>
#include <glob.h>
#include <regex.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "control/sysctl_file.h"

namespace postern::control {
namespace {

constexpr const char* kDefaultFile = "/etc/sysctl.conf";
constexpr int kUnknownKey = -1;  // what procps adds up for an empty name
struct RegexFree {
  void operator()(regex_t* r) const {
    regfree(r);
    delete r;
  }
};

class Runner {
 public:
  Runner(const SysctlOptions& options, SysctlTree* tree, const SysctlIo& io)
      : options_(options), tree_(tree), io_(io) {
    if (!options.pattern) return;
    auto compiled = std::make_unique<regex_t>();
    // Nothing matches what isn't a regular expression.
    if (regcomp(compiled.get(), options.pattern->c_str(), REG_EXTENDED | REG_NOSUB) == 0) {
      pattern_.reset(compiled.release());
    }
  }

  int Run() {
    if (options_.system) return LoadSystem();
    if (options_.all) return ShowFolder("");
    if (options_.load) return LoadFiles();
    if (options_.words.empty()) return Refuse("no variables specified");
    if (options_.names && options_.quiet) return Refuse("options -N and -q cannot coexist");
    int status = 0;
    for (const std::string& word : options_.words) {
      if (options_.write || word.find('=') != std::string::npos) {
        const auto line = Parse("command line", 0, word);
        status |= line ? Write(*line, line->path) : 1;
      } else {
        status += Show(word);
      }
    }
    return status;
  }

 private:
  void Warn(const std::string& sentence) { io_.error(fmt::format("sysctl: {}\n", sentence)); }

  int Refuse(std::string_view sentence) {
    Warn(fmt::format("{}\nTry `sysctl --help' for more information.", sentence));
    return 1;
  }

  static std::string Reason(const SysctlOutcome& outcome) {
    return outcome.sentence.empty() ? std::strerror(outcome.error) : outcome.sentence;
  }

  bool Selected(const std::string& text) const {
    return !options_.pattern ||
           (pattern_ && regexec(pattern_.get(), text.c_str(), 0, nullptr, 0) == 0);
  }

  int Missing(const std::string& path) {
    if (options_.ignore) return 0;
    Warn(fmt::format("cannot stat /proc/sys/{}: {}", path, std::strerror(ENOENT)));
    return 1;
  }

  // The warnings come twice in procps, too: for the path and for the name.
  void WarnOfRepeatedSeparators(const std::string& name) {
    const size_t first = name.find_first_of("./");
    if (first == std::string::npos || name[first] == '/') return;
    for (size_t i = first; i + 1 < name.size(); ++i) {
      const auto separator = [](char c) { return c == '.' || c == '/'; };
      if (!separator(name[i]) || !separator(name[i + 1])) continue;
      Warn(fmt::format("separators should not be repeated: {}", name.substr(i)));
      return;
    }
  }

  int Show(const std::string& name) {
    if (name.empty()) {
      Warn("\"\" is an unknown key");
      return kUnknownKey;
    }
    WarnOfRepeatedSeparators(name);
    const std::string path = SysctlPath(name);
    const SysctlNode node = tree_->Find(path);
    switch (node.kind) {
      case SysctlKind::kMissing:
        return Missing(path);
      case SysctlKind::kDirectory:
        return ShowFolder(path);
      case SysctlKind::kFile:
        return node.readable ? ShowFile(path, SysctlDots(name)) : 0;
    }
    return 0;
  }

  int ShowFolder(const std::string& path) {
    int status = 0;
    for (const std::string& child : tree_->Children(path)) {
      const std::string below = path.empty() ? child : path + "/" + child;
      const SysctlNode node = tree_->Find(below);
      if (node.kind == SysctlKind::kDirectory) {
        status |= ShowFolder(below);
      } else if (node.readable) {
        status |= ShowFile(below, SysctlDots(below));
      }
      if (status != 0 && gone_) return status;
    }
    return status;
  }

  int ShowFile(const std::string& path, const std::string& name) {
    if (!Selected(name)) return 0;
    if (options_.names) {
      io_.out(name + "\n");
      return 0;
    }
    const SysctlOutcome read = tree_->Read(path);
    switch (read.error) {
      case 0:
        PrintValue(name, read.text);
        return 0;
      case EACCES:
        Warn(fmt::format("permission denied on key '{}'", name));
        return 1;
      case EIO:  // stable_secret of net.ipv6 before it is set
        return 1;
      case ENOTCONN:  // has been told
        gone_ = true;
        return 1;
      default:
        Warn(fmt::format("reading key \"{}\": {}", name, Reason(read)));
        return 1;
    }
  }

  void PrintValue(const std::string& name, std::string text) {
    if (text.empty()) return;
    if (options_.print_name) {
      if (!text.ends_with('\n')) text += '\n';
      io_.out(fmt::format("{} = {}", name, text));
      return;
    }
    if (!options_.print_newline) std::erase(text, '\n');
    io_.out(text);
  }

  std::optional<SysctlLine> Parse(const std::string& file, int number, const std::string& text) {
    auto line = ParseSysctlLine(text);
    if (!line || !Selected(text.substr(text.find_first_not_of(" \t\r\n\v\f")))) {
      return std::nullopt;
    }
    if (!line->valid) {
      Warn(fmt::format("{}({}): invalid syntax, continuing...", file, number));
      return std::nullopt;
    }
    WarnOfRepeatedSeparators(line->name);
    return line;
  }

  int Write(const SysctlLine& line, const std::string& path) {
    const SysctlNode node = tree_->Find(path);
    const std::string name = SysctlDots(path);
    if (path.empty()) {
      Warn("Path is not under /proc/sys/: /proc/sys/");
      return 1;
    }
    if (node.kind == SysctlKind::kMissing) return Missing(path);
    if (node.kind == SysctlKind::kDirectory || !node.writable) {
      // procps says so, too, and calls it no failure.
      Warn(fmt::format("setting key \"{}\": {}", name, std::strerror(EINVAL)));
      return 0;
    }
    int status = 0;
    if (!options_.dry_run) {
      const SysctlOutcome written = tree_->Write(path, line.value);
      if (written.error == EACCES || written.error == EPERM || written.error == EROFS) {
        Warn(fmt::format("permission denied on key \"{}\"{}", name,
                         line.ignore_errors ? ", ignoring" : ""));
        if (line.ignore_errors) return 0;
        status = 1;
      } else if (written.error != 0) {
        if (written.error != ENOTCONN) {
          Warn(fmt::format("setting key \"{}\": {}", name, Reason(written)));
        }
        return 1;
      }
    }
    if ((status == 0 && !options_.quiet) || options_.dry_run) PrintWritten(name, line.value);
    return status;
  }

  void PrintWritten(const std::string& name, const std::string& value) {
    if (options_.names) {
      io_.out(value + "\n");
    } else if (options_.print_name) {
      io_.out(fmt::format("{} = {}\n", name, value));
    } else {
      io_.out(options_.print_newline ? value + "\n" : value);
    }
  }

  // The files that a pattern names; where it names none, it is a name itself.
  int Preload(const std::string& pattern) {
    glob_t found{};
    if (glob(pattern.c_str(), GLOB_NOCHECK | GLOB_BRACE | GLOB_TILDE, nullptr, &found) != 0) {
      Warn("glob failed");
      return 1;
    }
    const std::vector<std::string> files(found.gl_pathv, found.gl_pathv + found.gl_pathc);
    globfree(&found);
    int number = 0;  // goes on from file to file, as procps counts
    for (const std::string& file : files) {
      std::FILE* stream = file == "-" ? stdin : std::fopen(file.c_str(), "re");
      if (stream == nullptr) {
        Warn(fmt::format("cannot open \"{}\": {}", file, std::strerror(errno)));
        return 1;
      }
      ReadLines(stream, file, &number);
      if (stream != stdin) std::fclose(stream);
    }
    return 0;
  }

  void ReadLines(std::FILE* stream, const std::string& file, int* number) {
    char* buffer = nullptr;
    size_t size = 0;
    for (ssize_t length = getline(&buffer, &size, stream); length > 0;
         length = getline(&buffer, &size, stream)) {
      ++*number;
      if (auto line = Parse(file, *number, {buffer, static_cast<size_t>(length)})) {
        lines_.push_back(std::move(*line));
      }
    }
    std::free(buffer);
  }

  int LoadFiles() {
    int status = 0;
    if (options_.file) {
      status |= Preload(*options_.file);
    } else if (options_.words.empty()) {
      status |= Preload(kDefaultFile);
    }
    for (const std::string& word : options_.words) status |= Preload(word);
    return status | WriteLines();
  }

  int LoadSystem() {
    constexpr const char* kFolders[] = {"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d",
                                        "/usr/lib/sysctl.d", "/lib/sysctl.d"};
    std::map<std::string, std::string> files;  // of one name the first folder's counts
    for (const char* folder : kFolders) {
      HostSysctlTree tree(folder);
      for (const std::string& name : tree.Children("")) {
        if (name.ends_with(".conf")) files.emplace(name, fmt::format("{}/{}", folder, name));
      }
    }
    int status = 0;
    const auto load = [&](const std::string& file) {
      if (!options_.quiet) io_.out(fmt::format("* Applying {} ...\n", file));
      status |= Preload(file);
    };
    for (const auto& [name, file] : files) load(file);
    struct stat found {};
    if (stat(kDefaultFile, &found) == 0 && S_ISREG(found.st_mode)) load(kDefaultFile);
    return status | WriteLines();
  }

  int WriteLines() {
    int status = 0;
    for (const SysctlLine& line : lines_) {
      if (line.exclude) continue;
      if (IsSysctlGlob(line.path)) {
        status |= WriteMatching(line, "");
      } else if (!tree_->Foreign(line.path)) {
        status |= Write(line, line.path);
      }
    }
    return status;
  }

  int WriteMatching(const SysctlLine& line, const std::string& folder) {
    int status = 0;
    for (const std::string& child : tree_->Children(folder)) {
      const std::string path = folder.empty() ? child : folder + "/" + child;
      if (tree_->Find(path).kind == SysctlKind::kDirectory) {
        status |= WriteMatching(line, path);
      } else if (MatchesSysctlGlob(line.path, path) && !NamesSysctlPath(lines_, path)) {
        status |= Write(line, path);
      }
    }
    return status;
  }

  const SysctlOptions& options_;
  SysctlTree* const tree_;
  const SysctlIo& io_;
  std::unique_ptr<regex_t, RegexFree> pattern_;
  std::vector<SysctlLine> lines_;  // of the files
  bool gone_ = false;              // posternd doesn't answer
};

}  // namespace

int RunSysctl(const std::vector<std::string>& arguments, SysctlTree* tree, const SysctlIo& io) {
  if (arguments.empty()) {
    io.error(kSysctlUsage);
    return 1;
  }
  SysctlOptions options;
  if (const auto status = ParseSysctlArguments(arguments, io, &options)) return *status;
  if (options.system) options.ignore = true;
  return Runner(options, tree, io).Run();
}

}  // namespace postern::control

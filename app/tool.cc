#include "app/tool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "app/persistent_tool.h"
#include "app/sysctl_tool.h"
#include "control/client.h"
#include "control/conntrack_load.h"
#include "control/iptables/tool_options.h"
#include "control/suggest.h"

namespace postern::app {
namespace {

constexpr int kUsage = 2;
constexpr std::string_view kOffline = "postern-offline";

struct Entry {
  std::string_view name;
  std::string_view does;
  // What `postern COMMAND --help` prints; "": the command has its own help.
  std::string_view usage = "";
};
constexpr auto kCommands = std::to_array<Entry>({
    {"iptables", "the IPv4 rules, as iptables shows them"},
    {"ip6tables", "the IPv6 rules"},
    {"iptables-save", "print the IPv4 rules"},
    {"iptables-restore", "replace the IPv4 rules"},
    {"ip6tables-save", "print the IPv6 rules"},
    {"ip6tables-restore", "replace the IPv6 rules"},
    {"conntrack", "the connections"},
    {"ipset", "sets of addresses (not yet)", "Usage: postern ipset (not yet)\n"},
    {"sysctl", "nf_conntrack's settings and forwarding"},
    {"status", "version, ports, workers, table use [--json]", "Usage: postern status [--json]\n"},
    {"reload", "read the configuration and the rules again", "Usage: postern reload\n"},
    {"save", "write the rules back to the configuration's files [-c]",
     "Usage: postern save [-c|--counters]\n"},
    {"check", "say what is wrong with a configuration [-c FILE]"},
    {"replay", "run captures through the datapath, offline"},
    {"env", "print the shell's PATH for the names above", "Usage: postern env\n"},
});
constexpr auto kLinks = std::to_array<std::string_view>(
    {"conntrack", "ip6tables", "ip6tables-restore", "ip6tables-save", "ipset", "iptables",
     "iptables-restore", "iptables-save", "netfilter-persistent", "sysctl"});

// Replay and check need the whole datapath: a program of its own, so that the many short commands
// of a script start quickly. Beside this one in a build folder, in libexec where it is installed.
int RunOffline(const ToolCall& call) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path folder = self.parent_path();
  std::string program = fmt::format("{}/{}", POSTERN_LIBEXEC, kOffline);
  // Where it stands relative to this one counts first: what is installed may have been moved.
  for (const auto& beside : {folder / kOffline, folder.parent_path() / "libexec" / kOffline}) {
    if (error || access(beside.c_str(), X_OK) != 0) continue;
    program = beside.string();
    break;
  }
  std::vector<char*> words = {program.data(), const_cast<char*>(call.command.c_str())};
  for (const std::string& word : call.arguments) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execv(program.c_str(), words.data());
  fmt::print(stderr, "postern: {} can't be run: {}\n", program, std::strerror(errno));
  return 1;
}

// libexec/postern beside the program's own folder, in a build folder and where it is installed.
std::string LinksFolder() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  for (const std::filesystem::path& up : {self.parent_path().parent_path()}) {
    const std::filesystem::path folder = up / "libexec" / "postern";
    if (!error && std::filesystem::exists(folder / "iptables", error)) return folder.string();
  }
  return POSTERN_LIBEXEC "/postern";
}

// Quoted for a shell's eval.
std::string Quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? "'\\''" : std::string(1, c);
  return result + "'";
}

int Env(const ToolCall& call) {
  if (!call.arguments.empty()) {
    fmt::print(stderr, "Usage: postern env\n");
    return kUsage;
  }
  const std::string folder = LinksFolder();
  const bool plain = folder.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789/._-+") == std::string::npos;
  fmt::print("export PATH={}:$PATH\n", plain ? folder : Quoted(folder));
  if (!call.socket.empty()) {
    const std::string socket = std::filesystem::absolute(call.socket).string();
    fmt::print("export POSTERN_SOCKET={}\n", Quoted(socket));
  }
  return 0;
}

// Standard output goes to a file from here on, as the original makes it.
bool RedirectOutput(const std::string& file) {
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    fmt::print(stderr, "Failed to open file, error: {}\n", std::strerror(errno));
    return false;
  }
  const bool redirected = dup2(fd, STDOUT_FILENO) >= 0;
  if (!redirected) {
    fmt::print(stderr, "Failed to redirect stdout, error: {}\n", std::strerror(errno));
  }
  close(fd);
  return redirected;
}

// Opens what a command reads and writes, with the caller's rights. *input: the file descriptor that
// the command reads, -1 for none. False after a sentence about a file that can't be opened.
bool OpenFiles(const std::string& command, const std::vector<std::string>& arguments, int* input) {
  *input = -1;
  const control::iptables::CommandFiles files = control::iptables::FilesOf(command, arguments);
  for (const std::string& output : files.outputs) {
    if (!RedirectOutput(output)) return false;
  }
  if (!files.reads_input) return true;
  const std::string& file = files.input;
  if (file.empty()) {
    *input = STDIN_FILENO;
    return true;
  }
  *input = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (*input >= 0) return true;
  fmt::print(stderr, "Can't open {}: {}\n", file, std::strerror(errno));
  return false;
}

// What `conntrack -R` reads.
bool OpenToLoad(const std::string& file, int* input) {
  *input = file == "-" ? STDIN_FILENO : open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (*input >= 0) return true;
  fmt::print(stderr,
             "conntrack v1.4.7 (conntrack-tools): Failed to open file {} for reading\n"
             "Try `conntrack -h' or 'conntrack --help' for more information.\n",
             file);
  return false;
}

int InDaemon(const ToolCall& call) {
  const bool conntrack = call.command == "conntrack";
  control::ClientRequest request;
  request.socket_path = control::SocketPath(call.socket);
  request.program = call.command;
  request.arguments = call.arguments;
  request.stoppable = conntrack;
  if (!OpenFiles(call.command, call.arguments, &request.input)) return 1;
  const std::string* load = conntrack ? control::FileToLoad(call.arguments) : nullptr;
  if (load != nullptr && !OpenToLoad(*load, &request.input)) return 2;
  return control::RunClient(request);
}

std::vector<std::string_view> CommandNames() {
  std::vector<std::string_view> names;
  for (const Entry& entry : kCommands) names.push_back(entry.name);
  return names;
}

}  // namespace

bool IsToolName(const std::string& name) {
  return std::find(kLinks.begin(), kLinks.end(), name) != kLinks.end();
}

std::string ToolHelp() {
  std::string text = "Usage: postern [--socket PATH] COMMAND [ARGUMENT]...\n\nCommands:\n";
  for (const Entry& entry : kCommands) {
    text += fmt::format("  {:<20}{}\n", entry.name, entry.does);
  }
  text +=
      "\nOptions:\n"
      "  --socket PATH       posternd's control socket; else POSTERN_SOCKET, else\n"
      "                      /run/postern/postern.sock\n"
      "  --version           print the version\n"
      "  --help              print this\n"
      "\nIt also answers to the names of iptables, conntrack and their kin:\n"
      "  eval \"$(postern env)\"\n";
  return text;
}

int RunTool(const ToolCall& call) {
  if (call.arguments.size() == 1 && (call.arguments[0] == "--help" || call.arguments[0] == "-h")) {
    for (const Entry& entry : kCommands) {
      if (entry.name != call.command || entry.usage.empty()) continue;
      fmt::print("{}", entry.usage);
      return 0;
    }
  }
  if (call.command == "env") return Env(call);
  if (call.command == "netfilter-persistent" && call.by_link) return RunPersistentTool(call);
  if (call.command == "sysctl") return RunSysctlTool(call);
  if (call.command == "check" || call.command == "replay") return RunOffline(call);
  if (call.command == "ipset") {
    fmt::print(stderr, "ipset: Postern doesn't have sets yet\n");
    return 1;
  }
  const std::vector<std::string_view> names = CommandNames();
  if (std::find(names.begin(), names.end(), call.command) == names.end()) {
    fmt::print(stderr, "postern: there is no command '{}'{}\nTry 'postern --help'.\n", call.command,
               control::Suggestion(call.command, names));
    return kUsage;
  }
  return InDaemon(call);
}

}  // namespace postern::app

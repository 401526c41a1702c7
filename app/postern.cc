// postern: the operator's tool, under its own name and under those of iptables and its kin.
#include <fmt/format.h>

#include <csignal>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "app/tool.h"
#include "control/version.h"

namespace postern::app {
namespace {

constexpr int kUsage = 2;

int Main(const std::vector<std::string>& words) {
  ToolCall call;
  const std::string name = std::filesystem::path(words.empty() ? "" : words[0]).filename();
  if (IsToolName(name)) {
    call.command = name;
    call.by_link = true;
    call.arguments.assign(words.begin() + 1, words.end());
    return RunTool(call);
  }
  size_t i = 1;
  for (; i < words.size() && words[i].starts_with("-"); ++i) {
    const std::string& word = words[i];
    if (word == "--help" || word == "-h") {
      fmt::print("{}", ToolHelp());
      return 0;
    }
    if (word == "--version" || word == "-V") {
      fmt::print("postern {}\n", control::Version());
      return 0;
    }
    if (word == "--socket" && i + 1 < words.size()) {
      call.socket = words[++i];
    } else if (word.starts_with("--socket=")) {
      call.socket = word.substr(9);
    } else {
      fmt::print(stderr, "postern: unknown option '{}'\nTry 'postern --help'.\n", word);
      return kUsage;
    }
  }
  if (i >= words.size()) {
    fmt::print(stderr, "{}", ToolHelp());
    return kUsage;
  }
  call.command = words[i];
  call.arguments.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
  return RunTool(call);
}

}  // namespace
}  // namespace postern::app

int main(int argc, char** argv) {
  // A reader that goes away (`conntrack -L | head`) ends the tool as it ends the originals.
  std::signal(SIGPIPE, SIG_DFL);
  try {
    return postern::app::Main({argv, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "postern: {}\n", error.what());
    return 1;
  }
}

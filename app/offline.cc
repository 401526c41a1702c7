// postern-offline: those of postern's commands that need the datapath but no daemon. `postern` runs
// it; its first word is the command.
#include <fmt/format.h>

#include <csignal>
#include <exception>
#include <string>
#include <vector>

#include "app/check_tool.h"
#include "app/replay_tool.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (!words.empty()) {
      const std::vector<std::string> arguments(words.begin() + 1, words.end());
      if (words[0] == "check") return postern::app::RunCheck(arguments);
      if (words[0] == "replay") return postern::app::RunReplay(arguments);
    }
    fmt::print(stderr, "postern-offline: run 'postern check' or 'postern replay' instead\n");
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "postern: {}\n", error.what());
    return 1;
  }
}

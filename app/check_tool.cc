#include "app/check_tool.h"

#include <fmt/format.h>

#include <string_view>

#include "control/rule_files.h"

namespace postern::app {
namespace {

constexpr int kUsage = 2;
constexpr std::string_view kDefaultConfig = "/etc/postern/postern.conf";

}  // namespace

int RunCheck(const std::vector<std::string>& arguments) {
  std::string file(kDefaultConfig);
  for (size_t i = 0; i < arguments.size(); ++i) {
    if ((arguments[i] == "-c" || arguments[i] == "--config") && i + 1 < arguments.size()) {
      file = arguments[++i];
      continue;
    }
    const bool help = arguments[i] == "--help" || arguments[i] == "-h";
    fmt::print(help ? stdout : stderr, "Usage: postern check [-c FILE]\n");
    return help ? 0 : kUsage;
  }
  std::vector<std::string> errors;
  std::vector<std::string> warnings;
  const bool good = control::CheckConfig(file, &errors, &warnings);
  for (const std::string& error : errors) fmt::print("{}\n", error);
  for (const std::string& warning : warnings) fmt::print(stderr, "warning: {}\n", warning);
  return good ? 0 : 1;
}

}  // namespace postern::app

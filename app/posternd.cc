// posternd: the daemon's command line and exit statuses.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <boost/program_options.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "app/daemon.h"
#include "app/logging.h"
#include "control/config.h"
#include "control/rule_files.h"
#include "control/version.h"

namespace postern::app {
namespace {

namespace po = boost::program_options;

constexpr int kRefused = 1;           // --check found errors, or it couldn't start
constexpr int kBadConfiguration = 2;  // or a bad command line

int Check(const std::string& file) {
  std::vector<std::string> errors;
  std::vector<std::string> warnings;
  const bool good = control::CheckConfig(file, &errors, &warnings);
  for (const std::string& error : errors) fmt::print("{}\n", error);
  for (const std::string& warning : warnings) fmt::print(stderr, "warning: {}\n", warning);
  return good ? 0 : kRefused;
}

int Serve(const std::string& file) {
  std::vector<std::string> errors;
  auto config = control::LoadConfig(file, &errors);
  std::optional<rules::Model> model;
  if (config) model = control::LoadRules(*config, &errors);
  if (!model) {
    for (const std::string& error : errors) fmt::print(stderr, "{}\n", error);
    return kBadConfiguration;
  }
  Daemon daemon(std::move(*config), std::move(*model));
  if (const net::Status status = daemon.Start(); !status) {
    spdlog::critical("{}", status.error());
    return kRefused;
  }
  daemon.Run();
  spdlog::info("stopped");
  return 0;
}

int Main(int argc, char** argv) {
  po::options_description options("Options");
  options.add_options()("config,c", po::value<std::string>(), "the configuration file")(
      "check", "say what is wrong with the configuration and its rules, and exit")(
      "log-level", po::value<std::string>()->default_value("info"),
      "trace, debug, info, warning, error, critical or off")("version", "print the version")(
      "help,h", "print this");
  po::variables_map given;
  try {
    po::store(po::command_line_parser(argc, argv).options(options).run(), given);
    po::notify(given);
  } catch (const po::error& error) {
    fmt::print(stderr, "posternd: {}\nTry 'posternd --help'.\n", error.what());
    return kBadConfiguration;
  }
  if (given.count("help") != 0) {
    fmt::print("Usage: posternd -c FILE [--check] [--log-level LEVEL]\n\n");
    fmt::print(
        "A stateful firewall and NAT appliance. Runs in the foreground; SIGHUP reloads,\n"
        "SIGTERM stops.\n\n");
    std::ostringstream text;
    text << options;
    fmt::print("{}", text.str());
    return 0;
  }
  if (given.count("version") != 0) {
    fmt::print("posternd {}\n", control::Version());
    return 0;
  }
  const std::string level = given["log-level"].as<std::string>();
  if (!SetUpLogging(level)) {
    fmt::print(stderr, "posternd: '{}' isn't a log level\nTry 'posternd --help'.\n", level);
    return kBadConfiguration;
  }
  if (given.count("config") == 0) {
    fmt::print(stderr, "posternd: name the configuration with -c FILE\nTry 'posternd --help'.\n");
    return kBadConfiguration;
  }
  const std::string file = given["config"].as<std::string>();
  return given.count("check") != 0 ? Check(file) : Serve(file);
}

}  // namespace
}  // namespace postern::app

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return postern::app::Main(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "posternd: {}\n", error.what());
    return postern::app::kRefused;
  }
}

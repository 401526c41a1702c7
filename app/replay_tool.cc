#include "app/replay_tool.h"

#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <cstdio>
#include <sstream>

#include "control/replay.h"

namespace postern::app {
namespace {

namespace po = boost::program_options;

constexpr int kUsage = 2;

po::options_description Options(control::ReplayOptions* replay, std::vector<std::string>* inputs) {
  po::options_description options("Options");
  options.add_options()("config,c", po::value(&replay->config)->required(),
                        "the configuration file")(
      "in", po::value(inputs)->required()->multitoken()->composing(),
      "PORT=PCAP: frames that enter by a port; host:PORT=PCAP: that the appliance itself sends")(
      "out", po::value(&replay->out_folder), "folder for what was sent, PORT.pcap a port")(
      "events", po::value(&replay->events_file), "a JSON object a line and packet; - for stdout")(
      "conntrack", po::bool_switch(&replay->conntrack), "print the table at the end")(
      "counters", po::bool_switch(&replay->counters), "print the rules with their counters")(
      "workers", po::value(&replay->workers), "instead of the configuration's number")(
      "arrival", po::value<std::string>()->default_value("rss"),
      "which worker gets a packet: rss, or random")("no-fast-path",
                                                    "walk the rules for every packet")(
      "icmp-unlimited", "send every ICMP error, whatever the rate")(
      "seed", po::value(&replay->seed), "of everything that is chosen at random")(
      "settle", po::value(&replay->settle_seconds), "seconds that pass after the last packet")(
      "help,h", "print this");
  return options;
}

}  // namespace

int RunReplay(const std::vector<std::string>& arguments) {
  control::ReplayOptions replay;
  std::vector<std::string> inputs;
  const po::options_description options = Options(&replay, &inputs);
  try {
    po::variables_map given;
    po::store(po::command_line_parser(arguments).options(options).run(), given);
    if (given.count("help") != 0) {
      std::ostringstream text;
      text << options;
      fmt::print("Usage: postern replay -c FILE --in PORT=PCAP ... [--out DIR]\n\n{}", text.str());
      return 0;
    }
    po::notify(given);
    replay.fast_path = given.count("no-fast-path") == 0;
    replay.limit_icmp_errors = given.count("icmp-unlimited") == 0;
    const std::string arrival = given["arrival"].as<std::string>();
    if (arrival != "rss" && arrival != "random") {
      fmt::print(stderr, "postern replay: --arrival must be rss or random, not '{}'\n", arrival);
      return kUsage;
    }
    replay.arrival = arrival == "rss" ? pipeline::Arrival::kRss : pipeline::Arrival::kRandom;
  } catch (const po::error& error) {
    fmt::print(stderr, "postern replay: {}\nTry 'postern replay --help'.\n", error.what());
    return kUsage;
  }
  for (const std::string& text : inputs) {
    auto input = control::ParseReplayInput(text);
    if (!input) {
      fmt::print(stderr, "postern replay: {}\n", input.error());
      return kUsage;
    }
    replay.inputs.push_back(std::move(*input));
  }
  const net::Status status = control::Replay(replay);
  if (status) return 0;
  fmt::print(stderr, "{}\n", status.error());
  return 1;
}

}  // namespace postern::app

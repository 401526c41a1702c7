// postern-bench: how fast whole paths through the appliance are; with --pipeline, the
// pipeline alone; with --turns, how long a worker is away from its ports.
#include <boost/program_options.hpp>
#include <iostream>

#include "perf/bench.h"

namespace postern::perf {
namespace {

namespace po = boost::program_options;

struct Options : BenchOptions {
  bool pipeline = false;
  bool turns = false;
};

std::vector<std::string> NamesFor(const Options& options) {
  if (options.turns) return TurnNames();
  return options.pipeline ? PipelineNames() : PathNames();
}

net::Status Run(const Options& options) {
  if (options.turns) return RunTurnScenarios(options);
  return options.pipeline ? RunPipelines(options) : RunPaths(options);
}

void Describe(po::options_description* text, Options* options) {
  auto add = text->add_options();
  add("help", "this text");
  add("list", "names of the scenarios");
  add("pipeline", po::bool_switch(&options->pipeline),
      "the pipeline alone, instead of whole paths");
  add("turns", po::bool_switch(&options->turns),
      "how long a worker is away from its ports, without what the machine adds");
  add("only", po::value(&options->only),
      "the scenario of this name, or those whose name contains this");
  add("most-flows", po::value(&options->most_flows),
      "leave out scenarios with more connections (1000000)");
  add("rounds", po::value(&options->rounds), "rounds of each scenario, interleaved (5)");
  add("seconds", po::value(&options->seconds), "a measured window of a whole path (1)");
  add("packets", po::value(&options->packets), "--pipeline: packets a round, at least (1000000)");
  add("cpus", po::value(&options->cpus)->multitoken(), "the workers' CPUs (0)");
  add("main", po::value(&options->main_cpu), "the control thread's CPU (0)");
  add("json", po::value(&options->json), "a file for all figures");
}

// False: there is nothing to do, and it has been said.
bool ReadOptions(int argc, char** argv, Options* options) {
  po::options_description text("postern-bench [options]");
  Describe(&text, options);
  po::variables_map given;
  po::store(po::parse_command_line(argc, argv, text), given);
  po::notify(given);
  if (given.contains("help")) std::cout << text;
  if (given.contains("list")) {
    for (const std::string& name : NamesFor(*options)) std::cout << name << '\n';
  }
  if (options->rounds == 0) throw po::error("--rounds must be at least 1");
  if (options->pipeline && options->turns) throw po::error("--pipeline or --turns, not both");
  if (!(options->seconds > 0)) throw po::error("--seconds must be more than 0");
  return !given.contains("help") && !given.contains("list");
}

}  // namespace
}  // namespace postern::perf

int main(int argc, char** argv) {
  postern::perf::Options options;
  try {
    if (!postern::perf::ReadOptions(argc, argv, &options)) return 0;
  } catch (const boost::program_options::error& error) {
    std::cerr << "postern-bench: " << error.what() << '\n';
    return 2;
  }
  const postern::net::Status status = postern::perf::Run(options);
  if (!status) std::cerr << "postern-bench: " << status.error() << '\n';
  return status.ok() ? 0 : 1;
}

// The parts of postern-bench.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/net/result.h"

namespace postern::perf {

struct BenchOptions {
  std::vector<unsigned> cpus = {0};  // of the workers
  unsigned main_cpu = 0;
  unsigned rounds = 5;
  double seconds = 1;            // of a measured window on a whole path
  uint64_t packets = 1'000'000;  // a round of the pipeline, at least
  uint32_t most_flows = 1'000'000;
  std::string only;  // scenarios whose name contains this
  std::string json;  // a file, or ""
};

// Whether --only means the scenario: it has that name, or nobody has and it contains the text.
inline bool IsChosen(const std::string& name, const std::string& only,
                     const std::vector<std::string>& all) {
  const bool exact = std::find(all.begin(), all.end(), only) != all.end();
  return exact ? name == only : name.find(only) != std::string::npos;
}

// Without hugepages, in ordinary memory that holds tables for so many connections, as the daemon
// takes it with `hugepages = false`. Once a process.
net::Status StartDpdk(const BenchOptions& options, uint32_t connections);
// Writes what --json asks for; nothing where no file is named.
net::Status WriteJson(const BenchOptions& options, const std::string& text);

std::vector<std::string> PipelineNames();
std::vector<std::string> PathNames();
std::vector<std::string> TurnNames();
// The pipeline alone, on prepared packets. Once a process.
net::Status RunPipelines(const BenchOptions& options);
// A worker's turns during something long (turns.h); `rounds` are repeats. Once a process.
net::Status RunTurnScenarios(const BenchOptions& options);
// Whole paths, each measurement in a process of its own, round by round.
net::Status RunPaths(const BenchOptions& options);

}  // namespace postern::perf

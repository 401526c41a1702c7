// One measurement of one whole path. Needs a process of its own (DPDK starts once).
//
// Rates are packets a second of CPU time that the worker had, so that a CPU that is shared with
// others doesn't count as a slow worker; `mpps_wall` is by the clock on the wall. What other
// programs do to the caches, and what a hypervisor takes away, remains in both.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "dataplane/net/result.h"
#include "perf/path_scenario.h"

namespace postern::perf {

struct RunOptions {
  std::vector<unsigned> cpus;  // for workers, as many as the scenario wants at least
  unsigned main_cpu = 0;
  double seconds = 1;  // of each measured window
};

// Names and numbers; docs/performance.md tells what they mean. Names that end in "_us" are
// microseconds.
net::Result<nlohmann::ordered_json> RunPath(const PathScenario& scenario,
                                            const RunOptions& options);

}  // namespace postern::perf

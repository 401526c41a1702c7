// `postern status [--json]`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/command.h"
#include "control/engine.h"

namespace postern::control {

// What status tells; gathered on the control thread.
struct StatusReport {
  double uptime_seconds = 0;
  uint32_t generation = 0;
  std::vector<pipeline::PortStats> ports;
  std::vector<pipeline::WorkerStats> workers;
  uint32_t conntrack_entries = 0;
  uint32_t conntrack_max = 0;
};
StatusReport GatherStatus(Engine* engine);

// One line of JSON, as docs and scripts have it: version, uptime_seconds, generation, ports,
// workers, conntrack. Drops have only the reasons that happened.
std::string StatusJson(const StatusReport& report);
// For people.
std::string StatusText(const StatusReport& report);

int RunStatus(const CommandIo& io, Engine* engine);

}  // namespace postern::control

// A worker's turns while it has something long to do, without what the machine takes away.
//
// A turn is what a worker does between two polls of its ports: a burst from each, Tick() where it
// is due, a step of a command, a snapshot to adopt. Clock, traffic, hash key and seeds are the
// benchmark's own, so a repeat does at each of its turns what every other repeat does there.
// Interrupts, other programs and the hypervisor lengthen turns of one repeat, but hardly the same
// turn of all of them: the fastest of a turn's repeats is posternd's own time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/net/result.h"
#include "perf/histogram.h"
#include "perf/scenario.h"

namespace postern::perf {

enum class TurnKind : uint8_t {
  kTraffic,  // nothing but packets
  kExpiry,   // all but a thousand connections time out at once
  kDump,     // conntrack -L
  kFlush,    // conntrack -F
  kReload,   // other rules, ten times
};

struct TurnScenario {
  TurnKind kind = TurnKind::kTraffic;
  Scenario traffic;

  std::string Name() const;
};

struct TurnTimes {
  std::vector<uint32_t> own;      // by turn: cycles of the fastest repeat
  Histogram met;                  // of every turn of every repeat
  std::vector<uint64_t> longest;  // by repeat: its longest turn
  uint32_t connections_before = 0;
  uint32_t connections_after = 0;
};

// `reader_cpu`: where what a dump copies is read, as the control thread does. Fails where repeats
// differ in the number of their turns.
net::Result<TurnTimes> RunTurns(const Ground& ground, const TurnScenario& scenario,
                                unsigned repeats, unsigned reader_cpu);

}  // namespace postern::perf

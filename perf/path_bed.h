// The test bed of a whole path: appliance, ports, and the connections that live when the measured
// time begins.
//
// Threads: the control thread; sources run on the workers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "perf/appliance.h"
#include "perf/loop_source.h"
#include "perf/memory_ports.h"
#include "perf/path_run.h"

namespace postern::perf {

// What happened between two looks.
struct Window {
  double wall = 0;              // seconds
  std::vector<double> cpu;      // of each worker
  std::vector<uint64_t> moved;  // frames that each sent

  uint64_t sent() const;
  // Of numbers that each worker has counted: their sum a second of CPU time.
  double Rate(const std::vector<uint64_t>& counted) const;
};

class PathBed {
 public:
  // `spare`: connections that there is room for beyond the scenario's flows.
  static net::Result<std::unique_ptr<PathBed>> Create(const PathScenario& scenario,
                                                      const RunOptions& options, uint32_t spare);
  ~PathBed();

  // Opens the scenario's flows; loops() are their traffic.
  net::Status Open();
  // Gives every worker its source. Sources must stay until Silence().
  void Use(const std::vector<Source*>& sources);
  void UseLoops();
  // No frame arrives any more, and what came has been sent or dropped.
  void Silence();
  Window Measure(double seconds) const;
  // Frames received less frames sent since the bed was made.
  int64_t Lost() const;

  ConnectionKind KindOf(unsigned worker, Transport transport) const;
  Appliance& appliance() { return *appliance_; }
  MemoryPorts& ports() { return *ports_; }
  std::vector<std::unique_ptr<LoopSource>>& loops() { return loops_; }
  uint64_t foreign() const { return foreign_; }
  uint64_t Handoffs();
  unsigned workers() const { return scenario_.workers; }

 private:
  PathBed(const PathScenario& scenario, const RunOptions& options)
      : scenario_(scenario), options_(options) {}
  // What the loops are made of.
  struct Frames {
    std::vector<Frame> client;
    std::vector<Frame> server;
  };
  void Keep(const ConnectionKind& kind, uint32_t index, const Endpoints& server, Frames* to) const;
  net::Status RunOpeners(std::vector<Frames>* frames);

  const PathScenario scenario_;
  const RunOptions options_;
  std::unique_ptr<Appliance> appliance_;
  std::unique_ptr<MemoryPorts> ports_;
  std::vector<std::unique_ptr<LoopSource>> loops_;
  uint64_t foreign_ = 0;
};

}  // namespace postern::perf

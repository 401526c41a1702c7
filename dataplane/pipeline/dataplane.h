// What the control thread may ask of the workers. Implemented by
// dataplane/dpdk (real workers) and by pipeline/offline.h (replay).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ctrack/tracker.h"
#include "dataplane/net/verdict.h"
#include "dataplane/pipeline/snapshot.h"

namespace postern::pipeline {

class Pipeline;

// Work that one worker does for the control thread between bursts, in steps of at most some
// 50 µs. The object stays the caller's.
class WorkerCommand {
 public:
  virtual ~WorkerCommand() = default;
  // True when finished. Runs on the worker's thread.
  virtual bool Step(Pipeline& pipeline, net::Time now) = 0;
};

struct PortStats {
  std::string name;
  bool link_up = false;
  uint64_t rx_packets = 0, tx_packets = 0, rx_bytes = 0, tx_bytes = 0;
  uint64_t rx_missed = 0, rx_errors = 0, tx_errors = 0;  // the NIC's own
  std::array<uint64_t, net::kDropReasonCount> drops{};   // over all workers, by in port
};

struct WorkerStats {
  unsigned cpu = 0;
  double busy = 0;  // share of the last second spent on packets, 0..1
  uint64_t packets = 0;
  uint64_t handoffs_out = 0;  // packets given to other workers
  uint64_t handoffs_in = 0;
  std::array<uint64_t, 7> burst_histogram{};  // bursts of 1, 2-3, 4-7, 8-15, 16-31, 32-63, 64+
  uint64_t nat_exhausted = 0;
  uint64_t events_lost = 0;
  ctrack::TrackerStats conntrack;
  uint32_t connections = 0;
};

class Dataplane {
 public:
  virtual ~Dataplane() = default;

  virtual unsigned workers() const = 0;
  // Puts `next` in force on every worker, waits until none uses the old one and returns the old
  // one (null the first time), whose WorkerRules hold their final counts. Control thread.
  virtual std::unique_ptr<Snapshot> Publish(std::unique_ptr<Snapshot> next) = 0;
  virtual const Snapshot* current() const = 0;
  // Runs a command on a worker and waits for its end.
  virtual void Run(unsigned worker, WorkerCommand* command) = 0;

  virtual std::vector<PortStats> Ports() = 0;
  virtual std::vector<WorkerStats> Workers() = 0;
  virtual uint32_t conntrack_entries() const = 0;
  // The workers' clock now.
  virtual net::Time Now() const = 0;
};

}  // namespace postern::pipeline

// The ports of postern-bench's whole paths: DPDK's net_null devices, whose receive and transmit
// calls are the benchmark's own (ethdev's callbacks), one traffic source a worker. A worker polls
// them as it polls a NIC's queues; making and taking packets is done on its thread, and is part of
// every figure; what making them takes is known (QueueTimes::making).
//
// Life-cycle: made when the Runtime is up and before its first rule set; must outlive it.
// Threads: a queue's part belongs to its worker; the control thread reads counters (relaxed), and
// histograms only while the worker doesn't record (Record(false), then a while).
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/dpdk/counters.h"
#include "dataplane/net/result.h"
#include "perf/frames.h"
#include "perf/histogram.h"

struct rte_mbuf;
struct rte_mempool;

namespace postern::perf {

inline constexpr unsigned kMostBurst = 64;
inline constexpr uint64_t kMakingScale = 16;

// CPU time of this thread.
uint64_t ThreadNanoseconds();

// A frame that arrives. Whoever sent it finds `tag` again on what the appliance sends on; 0: none.
struct Arrival {
  const Frame* frame = nullptr;
  uint32_t tag = 0;
};

// The traffic of one worker, on both ports. Its methods run on the worker's thread.
class Source {
 public:
  virtual ~Source() = default;
  // What arrives on `port` now: how many of `arrivals` have been filled in. The frames stay
  // valid until the next call.
  virtual size_t Arrive(net::PortId port, std::span<Arrival> arrivals) = 0;
  // The appliance has sent a frame out of `port`.
  virtual void Sent(net::PortId port, uint32_t tag, std::span<const uint8_t> frame) = 0;
  // False: Sent() needn't be called.
  virtual bool wants_sent() const { return true; }
};

// What one worker's queues have seen.
struct QueueCounters {
  dpdk::Counter received;  // frames that the worker took
  dpdk::Counter sent;      // frames that it sent
  dpdk::Counter polls;
};

struct QueueTimes {
  Histogram making;    // cycles that making a frame took, times kMakingScale
  Histogram burst;     // cycles from the arrival of a burst to sending what came of it
  Histogram away;      // cycles between two polls of a port
  Histogram away_cpu;  // nanoseconds of the worker's CPU time between two polls
};

class MemoryPorts {
 public:
  // `queues` as many as workers.
  static net::Result<std::unique_ptr<MemoryPorts>> Create(unsigned queues);
  ~MemoryPorts();
  MemoryPorts(const MemoryPorts&) = delete;
  MemoryPorts& operator=(const MemoryPorts&) = delete;

  // From now on `source` (the caller's; null: silence) is what queue `queue` carries. Waits until
  // the worker has seen it; the one before is free then.
  void Use(unsigned queue, Source* source);
  // Whether times are recorded; they are cleared when it begins. With `cpu` also away_cpu, which
  // costs a system call a poll.
  void Record(bool on, bool cpu = false);
  const QueueCounters& counters(unsigned queue) const;
  const QueueTimes& times(unsigned queue) const;
  // CPU time that the worker of a queue has had, in seconds.
  double CpuSeconds(unsigned queue) const;

 private:
  struct Queue;
  struct End;

  MemoryPorts() = default;
  net::Status Attach(unsigned queues);

  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<std::unique_ptr<End>> ends_;
};

}  // namespace postern::perf

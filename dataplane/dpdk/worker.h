// A worker: one thread that polls, gives bursts to its Pipeline and sends what comes out.
//
// A turn of the loop: adopt the published snapshot, report a quiescent state, take what other
// workers hand over, receive from each port, take what the host sends, do a step of a command,
// tick, flush. No lock, no system call and no allocation, but for a short sleep when nothing has
// come for a while and the CPU isn't the worker's alone.
//
// Life-cycle: made and destroyed by the control thread; Run() is the thread. Until a snapshot is
// published nothing is received, so no packet passes before the first rule set.
// Threads: what is marked so is written by the worker and read by the control thread.
#pragma once

#include <rte_rcu_qsbr.h>

#include <atomic>
#include <memory>
#include <vector>

#include "ctrack/flow_table.h"
#include "ctrack/pool.h"
#include "dataplane/dpdk/clock.h"
#include "dataplane/dpdk/events.h"
#include "dataplane/dpdk/large_pages.h"
#include "dataplane/dpdk/worker_io.h"
#include "dataplane/pipeline/dataplane.h"
#include "dataplane/pipeline/pipeline.h"
#include "nat/source_map.h"

namespace postern::dpdk {

// A command and whether the worker is through with it.
struct CommandSlot {
  pipeline::WorkerCommand* command = nullptr;
  std::atomic<bool> done{false};
};

// What all workers share. Outlives them.
struct WorkerWorld {
  const Clock* clock = nullptr;
  const net::OwnerMap* owners = nullptr;
  ctrack::SharedCount* shared = nullptr;
  route::IcmpRateLimiter* icmp_limiter = nullptr;
  const std::vector<std::unique_ptr<Port>>* ports = nullptr;
  const BufferStore* buffers = nullptr;
  HandoffMesh* mesh = nullptr;
  rte_rcu_qsbr* quiescence = nullptr;
  const std::atomic<const pipeline::Snapshot*>* published = nullptr;
  const std::atomic<bool>* stop = nullptr;
  const std::atomic<bool>* wants_connections = nullptr;
  uint32_t conntrack_capacity = 0;
  unsigned burst = 32;
  bool sleeps = true;  // when idle
  uint64_t seed = 0;
};

class Worker {
 public:
  // `to_host` and `from_host` null where no port has a twin.
  static net::Result<std::unique_ptr<Worker>> Create(const WorkerWorld& world, unsigned index,
                                                     unsigned cpu, const net::FlowHasher& hasher,
                                                     Ring<void*>* to_host, Ring<void*>* from_host);

  // Until *world.stop. The thread's function.
  void Run();
  // The worker does it between two bursts. One at a time. Control thread.
  void Post(CommandSlot* slot) { command_.store(slot, std::memory_order_release); }

  // Relaxed. Any thread.
  pipeline::WorkerStats Stats() const;
  // By in port (kMaxPorts: from the host).
  uint64_t Drops(size_t port, size_t reason) const;
  WorkerEvents& events() { return *events_; }
  // Only while the worker isn't running.
  pipeline::Pipeline& pipeline() { return *pipeline_; }
  // What other workers have said of tuples. The worker's thread, or while it isn't running.
  void ReceiveEntries(net::Time now);

 private:
  Worker(const WorkerWorld& world, unsigned index, unsigned cpu, Ring<void*>* to_host,
         Ring<void*>* from_host);

  void MakeTables(const net::FlowHasher& hasher);
  unsigned Turn(net::Time now);
  void AdoptSnapshot();
  unsigned ReceiveFromPorts(net::Time now);
  unsigned ReceiveFromWorkers(net::Time now);
  unsigned ReceiveFromHost(net::Time now);
  void TakeHandle(void* handle, net::Time now);
  unsigned DoCommand(net::Time now);
  void CountBurst(unsigned size);
  void CountTime(uint64_t turn_cycles, bool worked, net::Time now);
  void Rest(unsigned idle_turns) const;

  const WorkerWorld world_;
  const unsigned index_;
  const unsigned cpu_;
  Ring<void*>* from_host_;

  WorkerIo io_;
  std::unique_ptr<WorkerEvents> events_;
  LargePages connection_memory_;
  LargePages source_memory_;
  LargePages table_memory_;
  std::unique_ptr<ctrack::ConnectionPool> pool_;
  std::unique_ptr<ctrack::FlowTable> table_;
  std::unique_ptr<pipeline::Pipeline> pipeline_;

  const pipeline::Snapshot* snapshot_ = nullptr;
  std::atomic<CommandSlot*> command_{nullptr};
  net::Time next_tick_ = 0;

  // Of the second that runs.
  net::Time window_end_ = 0;
  uint64_t window_cycles_ = 0;
  uint64_t busy_cycles_ = 0;

  // Written by the worker, read by the control thread.
  Counter busy_permille_;
  Counter handoffs_in_;
  Counter connections_;
  std::array<Counter, 7> bursts_;
};

}  // namespace postern::dpdk

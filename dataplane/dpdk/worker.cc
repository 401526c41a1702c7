#include "dataplane/dpdk/worker.h"

#include <rte_ethdev.h>
#include <rte_pause.h>
#include <rte_prefetch.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <climits>
#include <new>

namespace postern::dpdk {
namespace {

using pipeline::HandoffKind;

// Idle turns, and how long the worker then sleeps: a burst that comes meanwhile waits no longer
// than that. The last one is reached after some seconds without a packet.
constexpr unsigned kIdleTurns = 300;
struct IdleStage {
  unsigned turns;
  long nanoseconds;
};
constexpr std::array<IdleStage, 3> kIdleStages = {
    {{3'000, 20'000}, {20'000, 50'000}, {UINT_MAX, 250'000}}};
// Tuples a connection has, and some room for remote entries.
constexpr uint32_t kTuplesEach = 2;
// Connections of one worker beyond nf_conntrack_max: those that wait to be reaped.
constexpr uint32_t kPoolSlack = 1024;

size_t PhysicalMemory() {
  return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

Worker::Worker(const WorkerWorld& world, unsigned index, unsigned cpu, Ring<void*>* to_host,
               Ring<void*>* from_host)
    : world_(world),
      index_(index),
      cpu_(cpu),
      from_host_(from_host),
      io_(index, *world.ports, *world.buffers, world.mesh, to_host) {}

net::Result<std::unique_ptr<Worker>> Worker::Create(const WorkerWorld& world, unsigned index,
                                                    unsigned cpu, const net::FlowHasher& hasher,
                                                    Ring<void*>* to_host, Ring<void*>* from_host) {
  std::unique_ptr<Worker> worker(new Worker(world, index, cpu, to_host, from_host));
  auto events = WorkerEvents::Create(world.wants_connections);
  if (!events) return net::Error{events.error()};
  worker->events_ = std::move(*events);
  try {
    worker->MakeTables(hasher);
  } catch (const std::bad_alloc&) {
    return net::Error{"no memory for " + std::to_string(world.conntrack_capacity) +
                      " connections; lower nf_conntrack_max"};
  }
  pipeline::Pipeline::Context context;
  context.worker = index;
  context.owners = world.owners;
  context.table = worker->table_.get();
  context.pool = worker->pool_.get();
  context.source_memory = worker->source_memory_.get();
  context.shared = world.shared;
  context.icmp_limiter = world.icmp_limiter;
  context.io = &worker->io_;
  context.events = worker->events_.get();
  context.seed = world.seed + index;
  worker->pipeline_ = std::make_unique<pipeline::Pipeline>(context);
  return worker;
}

// Throws std::bad_alloc.
void Worker::MakeTables(const net::FlowHasher& hasher) {
  if (world_.conntrack_capacity > UINT32_MAX / kTuplesEach - kPoolSlack) throw std::bad_alloc();
  const uint32_t capacity = world_.conntrack_capacity + kPoolSlack;
  const uint32_t tuples = world_.conntrack_capacity * kTuplesEach + kPoolSlack;
  // Each worker may come to hold all connections, but twice its share is ready.
  const auto share = [this](size_t bytes) {
    return world_.owners->workers() <= 2 ? bytes : bytes * 2 / world_.owners->workers();
  };
  const auto reserve = [](size_t bytes, size_t touched) {
    LargePages memory = ReserveLargePages(bytes, touched);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
  };
  const size_t connections = ctrack::ConnectionPool::BytesFor(capacity);
  const size_t buckets = ctrack::FlowTable::BytesFor(tuples);
  const size_t sources = nat::SourceMap::BytesFor(capacity);
  // Linux would give more than there is, and end this process or another when it is touched.
  const size_t touched = share(connections) + buckets + sources;
  if (touched > PhysicalMemory() / world_.owners->workers()) throw std::bad_alloc();
  connection_memory_ = reserve(connections, share(connections));
  table_memory_ = reserve(buckets, buckets);
  source_memory_ = reserve(sources, sources);
  pool_ = std::make_unique<ctrack::ConnectionPool>(capacity, connection_memory_.get());
  table_ = std::make_unique<ctrack::FlowTable>(tuples, hasher, *pool_, table_memory_.get());
}

void Worker::Run() {
  // A sleep of 20 µs shall not become one of 70.
  prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
  rte_rcu_qsbr_thread_online(world_.quiescence, index_);
  unsigned idle_turns = 0;
  uint64_t start = rte_rdtsc();
  while (!world_.stop->load(std::memory_order_relaxed)) {
    const net::Time now = world_.clock->At(start);
    const bool worked = Turn(now) != 0;
    idle_turns = worked ? 0 : std::min(idle_turns + 1, UINT_MAX - 1);
    if (world_.sleeps && idle_turns > kIdleTurns) Rest(idle_turns);
    const uint64_t end = rte_rdtsc();
    CountTime(end - start, worked, now);
    start = end;
  }
  io_.Flush();
  rte_rcu_qsbr_thread_offline(world_.quiescence, index_);
}

// How much there was to do.
unsigned Worker::Turn(net::Time now) {
  AdoptSnapshot();
  unsigned work = 0;
  if (snapshot_ != nullptr) {
    work += ReceiveFromWorkers(now);
    work += ReceiveFromPorts(now);
    work += ReceiveFromHost(now);
    if (now >= next_tick_) {
      next_tick_ = now + pipeline::kTickInterval;
      if (pipeline_->Tick(now)) {
        next_tick_ = now;
        ++work;
      }
      connections_.Set(pool_->used());
    }
  }
  work += DoCommand(now);
  io_.Flush();
  return work;
}

// The control thread waits for two quiescent states: after the first the next look sees the new
// pointer, after the second the pipeline has let go of the old one.
void Worker::AdoptSnapshot() {
  const pipeline::Snapshot* next = world_.published->load(std::memory_order_acquire);
  if (next != snapshot_) {
    pipeline_->Adopt(next);
    snapshot_ = next;
  }
  rte_rcu_qsbr_quiescent(world_.quiescence, index_);
}

unsigned Worker::ReceiveFromPorts(net::Time now) {
  std::array<rte_mbuf*, pipeline::kMaxBurst> mbufs;
  std::array<pipeline::Frame, pipeline::kMaxBurst> frames;
  unsigned total = 0;
  for (const auto& port : *world_.ports) {
    if (index_ >= port->rx_queues()) continue;
    const unsigned count = rte_eth_rx_burst(port->device_id(), static_cast<uint16_t>(index_),
                                            mbufs.data(), static_cast<uint16_t>(world_.burst));
    if (count == 0) continue;
    ReceiveEntries(now);
    for (unsigned i = 0; i < count; ++i) {
      frames[i] = PacketPool::ToFrame(mbufs[i]);
      rte_prefetch0(frames[i].data);
    }
    pipeline_->Receive({frames.data(), count}, port->id(), now);
    CountBurst(count);
    total += count;
  }
  return total;
}

unsigned Worker::ReceiveFromWorkers(net::Time now) {
  std::array<void*, HandoffStage::kBurst> handles;
  unsigned total = 0;
  for (unsigned from = 0; from < world_.mesh->workers(); ++from) {
    if (from == index_) continue;
    Ring<void*>& ring = world_.mesh->packets(from, index_);
    if (ring.Empty()) continue;
    const unsigned count = ring.Pop(handles.data(), handles.size());
    for (unsigned i = 0; i < count; ++i) rte_prefetch0(MetaOf(handles[i]));
    ReceiveEntries(now);
    for (unsigned i = 0; i < count; ++i) TakeHandle(handles[i], now);
    total += count;
  }
  // Nobody has sent anything, but a connection may have gone.
  if (total == 0) ReceiveEntries(now);
  return total;
}

void Worker::TakeHandle(void* handle, net::Time now) {
  const BufferMeta* meta = MetaOf(handle);
  net::Packet packet = meta->packet;
  if (meta->kind == kTransmitForMe) {
    io_.Transmit(&packet);
    return;
  }
  handoffs_in_.Add(1);
  pipeline_->ReceiveHandoff(&packet, static_cast<HandoffKind>(meta->kind), now);
}

void Worker::ReceiveEntries(net::Time now) {
  std::array<pipeline::RemoteEntry, 16> entries;
  for (unsigned from = 0; from < world_.mesh->workers(); ++from) {
    if (from == index_) continue;
    Ring<pipeline::RemoteEntry>& ring = world_.mesh->entries(from, index_);
    while (!ring.Empty()) {
      const unsigned count = ring.Pop(entries.data(), entries.size());
      for (unsigned i = 0; i < count; ++i) pipeline_->ReceiveRemoteEntry(entries[i], now);
    }
  }
}

unsigned Worker::ReceiveFromHost(net::Time now) {
  if (from_host_ == nullptr || from_host_->Empty()) return 0;
  std::array<void*, HandoffStage::kBurst> handles;
  const unsigned count = from_host_->Pop(handles.data(), handles.size());
  ReceiveEntries(now);
  for (unsigned i = 0; i < count; ++i) {
    net::Packet packet = MetaOf(handles[i])->packet;
    pipeline_->ReceiveHost(&packet, now);
  }
  return count;
}

unsigned Worker::DoCommand(net::Time now) {
  CommandSlot* slot = command_.load(std::memory_order_acquire);
  if (slot == nullptr) return 0;
  if (slot->command->Step(*pipeline_, now)) {
    command_.store(nullptr, std::memory_order_relaxed);
    slot->done.store(true, std::memory_order_release);
  }
  return 1;
}

// Bursts of 1, 2-3, 4-7, ... 64.
void Worker::CountBurst(unsigned size) {
  bursts_[std::min<size_t>(std::bit_width(size) - 1U, bursts_.size() - 1)].Add(1);
}

void Worker::CountTime(uint64_t turn_cycles, bool worked, net::Time now) {
  window_cycles_ += turn_cycles;
  if (worked) busy_cycles_ += turn_cycles;
  if (now < window_end_) return;
  busy_permille_.Set(busy_cycles_ * 1000 / std::max<uint64_t>(window_cycles_, 1));
  window_end_ = now + net::kSecond;
  window_cycles_ = 0;
  busy_cycles_ = 0;
}

void Worker::Rest(unsigned idle_turns) const {
  const auto stage = std::find_if(kIdleStages.begin(), kIdleStages.end(),
                                  [&](const IdleStage& s) { return idle_turns <= s.turns; });
  const timespec pause{0, stage->nanoseconds};
  nanosleep(&pause, nullptr);
}

pipeline::WorkerStats Worker::Stats() const {
  pipeline::WorkerStats stats;
  stats.cpu = cpu_;
  stats.busy = static_cast<double>(busy_permille_.Get()) / 1000;
  const pipeline::PipelineStats& counts = pipeline_->stats();
  stats.packets = ReadRelaxed(counts.packets);
  stats.handoffs_out = ReadRelaxed(counts.handoffs_out);
  stats.nat_exhausted = ReadRelaxed(counts.nat_exhausted);
  stats.handoffs_in = handoffs_in_.Get();
  for (size_t i = 0; i < bursts_.size(); ++i) stats.burst_histogram[i] = bursts_[i].Get();
  stats.events_lost = events_->lost() + io_.entries_lost();
  stats.connections = static_cast<uint32_t>(connections_.Get());
  const ctrack::TrackerStats& tracker = pipeline_->tracker().stats();
  ctrack::TrackerStats& copy = stats.conntrack;
  copy.found = ReadRelaxed(tracker.found);
  copy.invalid = ReadRelaxed(tracker.invalid);
  copy.insert = ReadRelaxed(tracker.insert);
  copy.insert_failed = ReadRelaxed(tracker.insert_failed);
  copy.drop = ReadRelaxed(tracker.drop);
  copy.early_drop = ReadRelaxed(tracker.early_drop);
  copy.error = ReadRelaxed(tracker.error);
  copy.search_restart = ReadRelaxed(tracker.search_restart);
  copy.clash_resolve = ReadRelaxed(tracker.clash_resolve);
  copy.chain_toolong = ReadRelaxed(tracker.chain_toolong);
  copy.deleted = ReadRelaxed(tracker.deleted);
  copy.table_full = ReadRelaxed(tracker.table_full);
  return stats;
}

uint64_t Worker::Drops(size_t port, size_t reason) const {
  return ReadRelaxed(pipeline_->stats().drops[port][reason]) + io_.drops().Get(port, reason);
}

}  // namespace postern::dpdk

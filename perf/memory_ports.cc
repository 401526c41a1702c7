#include "perf/memory_ports.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace postern::perf {
namespace {

constexpr const char* kDevices[] = {"net_null0", "net_null1"};  // kWan, kLan
constexpr unsigned kPollMicroseconds = 50;

// The payload of every frame is zeros, and nothing that the appliance does to a frame reaches it.
void ClearBuffer(rte_mempool*, void*, void* object, unsigned) {
  auto* mbuf = static_cast<rte_mbuf*>(object);
  std::memset(mbuf->buf_addr, 0, mbuf->buf_len);
}

// The buffers' pool is by far the largest one.
void Larger(rte_mempool* pool, void* largest) {
  auto** found = static_cast<rte_mempool**>(largest);
  const auto bytes = [](const rte_mempool* p) { return uint64_t{p->size} * p->elt_size; };
  if (*found == nullptr || bytes(pool) > bytes(*found)) *found = pool;
}

}  // namespace

uint64_t ThreadNanoseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

// What the two ports' queues of one worker share. Written by the worker, but for the atomics.
struct MemoryPorts::Queue {
  std::atomic<Source*> wanted{nullptr};
  std::atomic<bool> recording{false};
  std::atomic<bool> recording_cpu{false};
  std::atomic<bool> started{false};
  pthread_t thread{};
  rte_mempool* pool = nullptr;

  Source* source = nullptr;
  std::array<uint64_t, 2> arrived{};  // when the last burst came, by port
  bool was_recording = false;
  QueueCounters counters;
  QueueTimes times;
};

// One port's queue: what its callbacks are given.
struct MemoryPorts::End {
  Queue* queue = nullptr;
  net::PortId port = 0;
  uint16_t device = 0;
  uint16_t index = 0;
  const rte_eth_rxtx_callback* receive = nullptr;
  const rte_eth_rxtx_callback* transmit = nullptr;
  uint64_t polled = 0;  // cycles
  uint64_t polled_cpu = 0;

  static uint16_t Receive(uint16_t, uint16_t, rte_mbuf** mbufs, uint16_t count, uint16_t most,
                          void* self) {
    return static_cast<End*>(self)->OnPoll(mbufs, count, most);
  }
  static uint16_t Transmit(uint16_t, uint16_t, rte_mbuf** mbufs, uint16_t count, void* self) {
    static_cast<End*>(self)->OnSend(mbufs, count);
    return count;
  }
  uint16_t OnPoll(rte_mbuf** mbufs, uint16_t count, uint16_t most);
  void OnSend(rte_mbuf** mbufs, uint16_t count);
  void RecordPoll(uint64_t now);
  uint16_t Fill(rte_mbuf** mbufs, std::span<const Arrival> arrivals) const;
};

void MemoryPorts::End::RecordPoll(uint64_t now) {
  Queue& q = *queue;
  if (!q.recording.load(std::memory_order_relaxed)) {
    q.was_recording = false;
    polled = 0;
    return;
  }
  if (!q.was_recording) {
    q.was_recording = true;
    q.times = {};
  }
  const bool cpu = q.recording_cpu.load(std::memory_order_relaxed);
  const uint64_t now_cpu = cpu ? ThreadNanoseconds() : 0;
  if (polled != 0) {
    q.times.away.Add(now - polled);
    if (cpu) q.times.away_cpu.Add(now_cpu - polled_cpu);
  }
  polled = now;
  polled_cpu = now_cpu;
}

uint16_t MemoryPorts::End::Fill(rte_mbuf** mbufs, std::span<const Arrival> arrivals) const {
  const auto count = static_cast<unsigned>(arrivals.size());
  if (count == 0 || rte_pktmbuf_alloc_bulk(queue->pool, mbufs, count) != 0) return 0;
  for (unsigned i = 0; i < count; ++i) {
    const Frame& frame = *arrivals[i].frame;
    rte_mbuf* mbuf = mbufs[i];
    std::memcpy(rte_pktmbuf_mtod(mbuf, void*), frame.bytes.data(), Frame::kHeaderBytes);
    mbuf->data_len = frame.length;
    mbuf->pkt_len = frame.length;
    mbuf->port = device;
    mbuf->hash.usr = arrivals[i].tag;
  }
  return static_cast<uint16_t>(count);
}

uint16_t MemoryPorts::End::OnPoll(rte_mbuf** mbufs, uint16_t, uint16_t most) {
  Queue& q = *queue;
  if (!q.started.load(std::memory_order_relaxed)) {
    q.thread = pthread_self();
    q.started.store(true, std::memory_order_release);
  }
  const uint64_t begin = rte_rdtsc();
  RecordPoll(begin);
  if (q.source != q.wanted.load(std::memory_order_acquire)) {
    q.source = q.wanted.load(std::memory_order_acquire);
  }
  q.counters.polls.Add(1);
  if (q.source == nullptr) return 0;
  std::array<Arrival, kMostBurst> arrivals;
  const size_t size = q.source->Arrive(port, {arrivals.data(), std::min<size_t>(most, kMostBurst)});
  const uint16_t filled = Fill(mbufs, {arrivals.data(), size});
  q.counters.received.Add(filled);
  q.arrived[port] = rte_rdtsc();
  if (q.was_recording && filled != 0) {
    q.times.making.Add((q.arrived[port] - begin) * kMakingScale / filled);
  }
  return filled;
}

void MemoryPorts::End::OnSend(rte_mbuf** mbufs, uint16_t count) {
  Queue& q = *queue;
  if (count == 0) return;
  q.counters.sent.Add(count);
  // What one port receives leaves by the other.
  if (q.was_recording) q.times.burst.Add(rte_rdtsc() - q.arrived[port ^ 1]);
  if (q.source == nullptr || !q.source->wants_sent()) return;
  for (uint16_t i = 0; i < count; ++i) {
    q.source->Sent(port, mbufs[i]->hash.usr,
                   {rte_pktmbuf_mtod(mbufs[i], const uint8_t*), mbufs[i]->data_len});
    mbufs[i]->hash.usr = 0;
  }
}

net::Result<std::unique_ptr<MemoryPorts>> MemoryPorts::Create(unsigned queues) {
  std::unique_ptr<MemoryPorts> ports(new MemoryPorts);
  if (net::Status status = ports->Attach(queues); !status) return net::Error{status.error()};
  return ports;
}

net::Status MemoryPorts::Attach(unsigned queues) {
  // net_null doesn't tell what it was given.
  rte_mempool* pool = nullptr;
  rte_mempool_walk(Larger, &pool);
  if (pool == nullptr) return net::Error{"no packet buffers"};
  rte_mempool_obj_iter(pool, ClearBuffer, nullptr);
  for (unsigned q = 0; q < queues; ++q) {
    queues_.push_back(std::make_unique<Queue>());
    for (net::PortId port = 0; port < 2; ++port) {
      auto end = std::make_unique<End>();
      end->queue = queues_.back().get();
      end->port = port;
      end->index = static_cast<uint16_t>(q);
      end->queue->pool = pool;
      if (rte_eth_dev_get_port_by_name(kDevices[port], &end->device) != 0) {
        return net::Error{std::string(kDevices[port]) + " isn't there"};
      }
      end->receive = rte_eth_add_rx_callback(end->device, end->index, End::Receive, end.get());
      end->transmit = rte_eth_add_tx_callback(end->device, end->index, End::Transmit, end.get());
      if (end->receive == nullptr || end->transmit == nullptr) {
        return net::Error{"this DPDK was built without ethdev callbacks"};
      }
      ends_.push_back(std::move(end));
    }
  }
  return {};
}

MemoryPorts::~MemoryPorts() = default;

void MemoryPorts::Use(unsigned queue, Source* source) {
  Queue& q = *queues_[queue];
  q.wanted.store(source, std::memory_order_release);
  // Three polls later the worker has sent all that came of the last burst.
  if (!q.started.load(std::memory_order_acquire)) return;
  const uint64_t polls = q.counters.polls.Get();
  while (q.counters.polls.Get() < polls + 8) usleep(kPollMicroseconds);
}

void MemoryPorts::Record(bool on, bool cpu) {
  for (const auto& queue : queues_) {
    queue->recording_cpu.store(cpu, std::memory_order_relaxed);
    queue->recording.store(on, std::memory_order_relaxed);
    const uint64_t polls = queue->counters.polls.Get();
    while (queue->counters.polls.Get() < polls + 8) usleep(kPollMicroseconds);
  }
}

const QueueCounters& MemoryPorts::counters(unsigned queue) const {
  return queues_[queue]->counters;
}

const QueueTimes& MemoryPorts::times(unsigned queue) const { return queues_[queue]->times; }

double MemoryPorts::CpuSeconds(unsigned queue) const {
  const Queue& q = *queues_[queue];
  clockid_t clock{};
  timespec time{};
  if (!q.started.load(std::memory_order_acquire) || pthread_getcpuclockid(q.thread, &clock) != 0 ||
      clock_gettime(clock, &time) != 0) {
    return 0;
  }
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

}  // namespace postern::perf

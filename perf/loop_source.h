// Traffic of connections that exist: their packets over and over, from both sides.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include "perf/memory_ports.h"
#include "perf/script_source.h"

namespace postern::perf {

// The same frames again and again, as fast as the worker takes them.
class LoopSource final : public Source {
 public:
  // `client` are the clients' frames, `server` the answers to each; `order` says in which order
  // they come; empty: as they stand.
  LoopSource(net::PortId client_port, std::vector<Frame> client, std::vector<Frame> server,
             std::vector<uint32_t> order);

  size_t Arrive(net::PortId port, std::span<Arrival> arrivals) override;
  void Sent(net::PortId, uint32_t, std::span<const uint8_t>) override {}
  bool wants_sent() const override { return false; }

  // From now on only the first `count` of the order.
  void Limit(size_t count) { limit_.store(count, std::memory_order_relaxed); }
  size_t size() const { return size_; }
  // Rounds through everything that are complete on both ports.
  uint64_t rounds() const { return std::min(rounds_[0].Get(), rounds_[1].Get()); }

 private:
  const net::PortId client_port_;
  const std::array<std::vector<Frame>, 2> frames_;  // by port
  const std::vector<uint32_t> order_;
  const size_t size_;
  std::atomic<size_t> limit_;
  std::array<size_t, 2> cursor_{};
  std::array<dpdk::Counter, 2> rounds_;
};

// Established traffic on both ports and, every other burst on the port where it comes from, a
// flood.
class MixSource final : public Source {
 public:
  MixSource(LoopSource* known, ScriptSource* flood, net::PortId flood_port)
      : known_(known), flood_(flood), flood_port_(flood_port) {}

  size_t Arrive(net::PortId port, std::span<Arrival> arrivals) override;
  void Sent(net::PortId port, uint32_t tag, std::span<const uint8_t> frame) override;

  uint64_t known_arrived() const { return known_arrived_.Get(); }
  uint64_t known_sent() const { return known_sent_.Get(); }
  uint64_t flood_arrived() const { return flood_arrived_.Get(); }
  uint64_t flood_sent() const { return flood_sent_.Get(); }

 private:
  LoopSource* known_;
  ScriptSource* flood_;
  const net::PortId flood_port_;
  bool flood_next_ = false;
  dpdk::Counter known_arrived_, known_sent_, flood_arrived_, flood_sent_;
};

// A loop at a given rate, with receive queues like a NIC's: what finds one full is missed. Its
// clock is the worker's CPU time, so that what else runs on the CPU isn't taken for the worker's
// slowness.
class RateSource final : public Source {
 public:
  static constexpr unsigned kDescriptors = 1024;

  // `rate` frames a second, on both ports together.
  RateSource(LoopSource* loop, double rate) : loop_(loop), per_nanosecond_(rate / 2e9) {}

  size_t Arrive(net::PortId port, std::span<Arrival> arrivals) override;
  void Sent(net::PortId, uint32_t, std::span<const uint8_t>) override {}
  bool wants_sent() const override { return false; }

  uint64_t offered() const { return offered_.Get(); }
  uint64_t missed() const { return missed_.Get(); }

 private:
  struct Queue {
    uint64_t updated = 0;  // nanoseconds
    double due = 0;        // frames, a part of one
    uint64_t waiting = 0;  // frames
  };
  LoopSource* loop_;
  const double per_nanosecond_;
  std::array<Queue, 2> queues_;
  dpdk::Counter offered_, missed_;
};

// Which of `flows` connections each of `length` packets belongs to, by Zipf's law with s = 1.
std::vector<uint32_t> ZipfOrder(uint32_t flows, size_t length, uint64_t seed);

}  // namespace postern::perf

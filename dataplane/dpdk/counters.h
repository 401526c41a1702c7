// Numbers that one thread writes and others read now and then.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "dataplane/net/packet.h"
#include "dataplane/net/verdict.h"

namespace postern::dpdk {

// One writer; a reader sees some recent value.
class Counter {
 public:
  void Add(uint64_t n) { value_.store(Get() + n, std::memory_order_relaxed); }
  void Set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Reads a plain number that another thread counts up.
template <typename T>
T ReadRelaxed(const T& number) {
  return __atomic_load_n(&number, __ATOMIC_RELAXED);
}

// Packets that were lost outside of the pipeline, by the port they came in (kMaxPorts: from the
// host).
class DropCounters {
 public:
  void Add(net::PortId in_port, net::DropReason reason, uint64_t n = 1) {
    counts_[in_port < net::kMaxPorts ? in_port : net::kMaxPorts][static_cast<size_t>(reason)].Add(
        n);
  }
  uint64_t Get(size_t port, size_t reason) const { return counts_[port][reason].Get(); }

 private:
  std::array<std::array<Counter, net::kDropReasonCount>, net::kMaxPorts + 1> counts_;
};

}  // namespace postern::dpdk

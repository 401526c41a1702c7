// The workers' clock: the CPU's time stamp counter in nanoseconds of CLOCK_MONOTONIC's epoch.
//
// Reading it is no system call. Monotonic and the same on every CPU where the counter is invariant
// (each x86-64-v3 machine that DPDK runs on). Immutable after construction; any thread.
#pragma once

#include <rte_cycles.h>

#include <ctime>

#include "dataplane/net/time.h"

namespace postern::dpdk {

class Clock {
 public:
  // After StartEal, which measures the counter's frequency.
  Clock() : start_cycles_(rte_rdtsc()), hertz_(rte_get_tsc_hz()) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    start_ =
        static_cast<net::Time>(now.tv_sec) * net::kSecond + static_cast<net::Time>(now.tv_nsec);
    nanoseconds_per_cycle_ = static_cast<uint64_t>((Wide{net::kSecond} << 32) / hertz_);
  }

  net::Time At(uint64_t cycles) const {
    // A CPU may be some cycles behind the one that made the clock.
    const uint64_t passed = cycles > start_cycles_ ? cycles - start_cycles_ : 0;
    return start_ + static_cast<uint64_t>((Wide{passed} * nanoseconds_per_cycle_) >> 32);
  }
  net::Time Now() const { return At(rte_rdtsc()); }

 private:
  __extension__ using Wide = unsigned __int128;

  uint64_t start_cycles_;
  uint64_t hertz_;
  net::Time start_ = 0;
  uint64_t nanoseconds_per_cycle_ = 0;  // 32.32 fixed point
};

}  // namespace postern::dpdk

#include <algorithm>

#include "dataplane/net/wire.h"
#include "dataplane/route/icmp_error.h"

namespace postern::route {
namespace {

using net::Family;

constexpr uint32_t kGlobalPerSecond = 1000;  // icmp_msgs_per_sec
constexpr uint32_t kGlobalBurst = 50;        // icmp_msgs_burst
// Microseconds.
constexpr uint64_t kSecond = 1'000'000;
constexpr uint64_t kGlobalStep = kSecond / 50;
constexpr uint64_t kIpv4Interval = kSecond;      // icmp_ratelimit
constexpr uint64_t kIpv6Interval = kSecond / 4;  // icmpv6_time >> 2
constexpr uint64_t kBurst = 6;                   // XRLIM_BURST_FACTOR
constexpr uint64_t kUnroutableBurst = 5;         // net.ipv4.route.error_burst / error_cost
// Our clock is ahead of the worker's, so that a whole burst fits before any time.
constexpr uint64_t kEpoch = kBurst * kSecond;

constexpr unsigned kTagBits = 16;
constexpr unsigned kTokenBits = 8;
// Replay has the time of day, which is longer than what a bucket holds of it.
constexpr uint64_t kTimeMask = (uint64_t{1} << (64 - kTagBits)) - 1;

uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// Linux' default icmp_ratemask 0x1818, and icmpv6_ratemask "0-1,3-127".
bool IsLimited(Family family, uint8_t type) {
  if (family == Family::kIpv6) return type < 128 && type != net::kIcmpv6PacketTooBig;
  return type == net::kIcmpUnreachable || type == net::kIcmpSourceQuench ||
         type == net::kIcmpTimeExceeded || type == net::kIcmpParameterProblem;
}

}  // namespace

IcmpRateLimiter::IcmpRateLimiter(uint64_t seed)
    : hash_key_(Mix(seed ^ 0x69636d70)), chance_(Mix(seed)) {}

bool IcmpRateLimiter::Allow(Family family, const net::IpAddress& destination, uint8_t type,
                            net::Time now) {
  if (!IsLimited(family, type)) return true;
  const uint64_t time = kEpoch + now / net::kMicrosecond;
  // In this order: a destination's token isn't spent on a message that the whole forbids.
  return AllowGlobally(time) && AllowTo(family, destination, time, kBurst);
}

bool IcmpRateLimiter::AllowUnroutable(const net::IpAddress& source, net::Time now) {
  return AllowTo(Family::kIpv4, source, kEpoch + now / net::kMicrosecond, kUnroutableBurst);
}

// 0, 1 or 2 by chance. (splitmix64, whose state is a counter.)
uint32_t IcmpRateLimiter::Price() {
  constexpr uint64_t kStep = 0x9e3779b97f4a7c15;
  const uint64_t number = Mix(chance_.fetch_add(kStep, std::memory_order_relaxed));
  return static_cast<uint32_t>(((number >> 32) * 3) >> 32);
}

bool IcmpRateLimiter::AllowGlobally(uint64_t time) {
  const uint32_t price = Price();
  uint64_t before = global_.load(std::memory_order_relaxed);
  for (;;) {
    uint64_t filled = before >> kTokenBits;
    auto tokens = static_cast<uint32_t>(before & ((1U << kTokenBits) - 1));
    // A worker's clock may be behind another's.
    const uint64_t passed =
        before == 0 ? kSecond : std::min(time - std::min(time, filled), kSecond);
    if (passed >= kGlobalStep) {
      tokens += static_cast<uint32_t>(kGlobalPerSecond * passed / kSecond);
      tokens = std::min(tokens, kGlobalBurst);
      filled = time;
    }
    if (tokens == 0) return false;
    const uint64_t after = filled << kTokenBits | (tokens - std::min(tokens, price));
    if (global_.compare_exchange_weak(before, after, std::memory_order_relaxed)) return true;
  }
}

bool IcmpRateLimiter::AllowTo(Family family, const net::IpAddress& destination, uint64_t time,
                              uint64_t burst) {
  const uint64_t interval = family == Family::kIpv4 ? kIpv4Interval : kIpv6Interval;
  const uint64_t hash = HashOf(destination);
  const uint64_t tag = hash >> (64 - kTagBits);
  auto& set = buckets_[hash % kSets];
  for (;;) {
    // The destination's own bucket, or the one that is emptied first.
    Bucket* bucket = nullptr;
    uint64_t before = UINT64_MAX;
    bool known = false;
    for (Bucket& candidate : set) {
      const uint64_t word = candidate.load(std::memory_order_relaxed);
      known = word != 0 && (word & ((1U << kTagBits) - 1)) == tag;
      if (!known && word >= before) continue;
      bucket = &candidate;
      before = word;
      if (known) break;
    }
    // A destination that nothing is known about has its whole burst.
    const uint64_t since = (time - (before >> kTagBits)) & kTimeMask;
    // A worker's clock may be behind another's.
    const uint64_t earned = since > kTimeMask / 2 ? 0 : since;
    const uint64_t credit = known ? std::min(earned, burst * interval) : burst * interval;
    if (credit < interval) return false;
    const uint64_t after = ((time - credit + interval) & kTimeMask) << kTagBits | tag;
    if (bucket->compare_exchange_weak(before, after, std::memory_order_relaxed)) return true;
  }
}

uint64_t IcmpRateLimiter::HashOf(const net::IpAddress& destination) const {
  uint64_t hash = hash_key_;
  for (int i = 0; i < 4; ++i) {
    hash = (hash ^ destination.Word(i)) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  }
  return Mix(hash);
}

}  // namespace postern::route

#include <algorithm>

#include "dataplane/net/wire.h"
#include "dataplane/route/icmp_error.h"

namespace postern::route {
namespace {

using net::Family;

constexpr uint32_t kGlobalPerSecond = 1000;  // icmp_msgs_per_sec
constexpr uint32_t kGlobalBurst = 50;        // icmp_msgs_burst
constexpr net::Time kGlobalStep = net::kSecond / 50;
constexpr net::Time kIpv4Interval = net::kSecond;      // icmp_ratelimit
constexpr net::Time kIpv6Interval = net::kSecond / 4;  // icmpv6_time >> 2
constexpr net::Time kBurst = 6;                        // XRLIM_BURST_FACTOR

// Linux' default icmp_ratemask 0x1818, and icmpv6_ratemask "0-1,3-127".
bool IsLimited(Family family, uint8_t type) {
  if (family == Family::kIpv6) return type < 128 && type != net::kIcmpv6PacketTooBig;
  return type == net::kIcmpUnreachable || type == net::kIcmpSourceQuench ||
         type == net::kIcmpTimeExceeded || type == net::kIcmpParameterProblem;
}

}  // namespace

IcmpRateLimiter::IcmpRateLimiter(uint64_t seed) : rng_(seed), hash_key_(rng_.Next()) {}

bool IcmpRateLimiter::Allow(Family family, const net::IpAddress& destination, uint8_t type,
                            net::Time now) {
  if (!IsLimited(family, type)) return true;
  while (busy_.test_and_set(std::memory_order_acquire)) {
  }
  const bool allowed = Decide(family, destination, now);
  busy_.clear(std::memory_order_release);
  return allowed;
}

bool IcmpRateLimiter::Decide(Family family, const net::IpAddress& destination, net::Time now) {
  // In this order: a destination's token isn't spent on a message that the whole forbids.
  return AllowGlobally(now) && AllowTo(family, destination, now);
}

bool IcmpRateLimiter::AllowGlobally(net::Time now) {
  const net::Time passed =
      started_ ? std::min(now - std::min(now, global_last_), net::kSecond) : net::kSecond;
  if (passed >= kGlobalStep) {
    global_tokens_ += static_cast<uint32_t>(kGlobalPerSecond * passed / net::kSecond);
    global_tokens_ = std::min(global_tokens_, kGlobalBurst);
    global_last_ = now;
    started_ = true;
  }
  if (global_tokens_ == 0) return false;
  global_tokens_ -= std::min(global_tokens_, rng_.Below(3));
  return true;
}

bool IcmpRateLimiter::AllowTo(Family family, const net::IpAddress& destination, net::Time now) {
  const net::Time interval = family == Family::kIpv4 ? kIpv4Interval : kIpv6Interval;
  Bucket& bucket = BucketOf(destination, now);
  bucket.tokens += now - std::min(now, bucket.last);
  bucket.tokens = std::min(bucket.tokens, kBurst * interval);
  bucket.last = now;
  if (bucket.tokens < interval) return false;
  bucket.tokens -= interval;
  return true;
}

IcmpRateLimiter::Bucket& IcmpRateLimiter::BucketOf(const net::IpAddress& destination,
                                                   net::Time now) {
  uint64_t hash = hash_key_;
  for (int i = 0; i < 4; ++i) {
    hash = (hash ^ destination.Word(i)) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  }
  Bucket* set = &buckets_[hash % (kBuckets / kWays) * kWays];
  Bucket* oldest = set;
  for (size_t i = 0; i < kWays; ++i) {
    if (set[i].used && set[i].destination == destination) return set[i];
    if (!set[i].used || (oldest->used && set[i].last < oldest->last)) oldest = &set[i];
  }
  // A destination that nothing is known about has its whole burst.
  *oldest = Bucket{destination, now, kBurst * net::kSecond, true};
  return *oldest;
}

}  // namespace postern::route

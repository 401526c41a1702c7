// ICMP and ICMPv6 errors that the appliance itself sends, and TCP resets for REJECT.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "dataplane/net/packet.h"
#include "dataplane/net/time.h"

namespace postern::route {

struct IcmpError {
  uint8_t type = 0;
  uint8_t code = 0;
  uint32_t argument = 0;  // next-hop MTU (frag needed, packet too big) or pointer
};

// RFC 1122 3.2.2 and RFC 4443 2.4: no error about an ICMP error, a later IPv4 fragment, a
// multicast or broadcast (frame or destination), or a source that isn't one host.
// Packet too big and the parameter problem about an unknown option also answer IPv6 multicasts
// (RFC 4443 2.4 e.3).
bool MayAnswerWithError(const net::Packet& offending, const IcmpError& what);

// Makes the error about `offending` from `source` (an address of the appliance): IPv4 quotes as
// much as fits into 576 bytes, IPv6 into 1280, as Linux does. `error` gets a fresh buffer with an
// Ethernet header's room; parsed. False when no buffer is left or the packet may not be answered.
// `ip_id`: IPv4's identification; the pointer of a parameter problem counts
// bytes.
bool BuildIcmpError(net::BufferPool* pool, const net::Packet& offending, const IcmpError& what,
                    const net::IpAddress& source, uint16_t ip_id, net::Packet* error);

// nf_send_reset: a RST for `offending` (TCP, not itself a RST, whole header, valid checksum).
// seq/ack as Linux chooses them; IPv4 has DF set and the id 0, whatever `ip_id` says.
bool BuildTcpReset(net::BufferPool* pool, const net::Packet& offending, uint16_t ip_id,
                   net::Packet* reset);

// How many errors the appliance sends (icmp_global_allow and inet_peer_xrlim_allow of Linux 6.1).
//
// Over all: 1000 messages a second with a burst of 50, each message costing 0, 1 or 2 tokens by
// chance, so that nobody can count them from outside (SAD DNS). For each destination one message a
// second with a burst of 6 (IPv6: four a second, the kernel's rate towards a /64). Only the types
// of icmp_ratemask and icmpv6_ratemask are limited, and never the messages of path MTU discovery.
//
// Fixed room: a destination has four buckets to live in, and the one with the most credit gives
// way. A bucket knows its destination by 24 bits of a keyed hash.
//
// Any thread: the workers share one, so that their number doesn't show in what is sent. No locks:
// each of the two decisions changes one word by compare-and-swap, so that no credit is spent twice.
class IcmpRateLimiter {
 public:
  explicit IcmpRateLimiter(uint64_t seed);
  // `type` of an ICMP or ICMPv6 message to `destination`. True: it may be sent, and has been
  // counted. The caller leaves out IPv4's fragmentation-needed, which the type alone doesn't tell.
  bool Allow(net::Family family, const net::IpAddress& destination, uint8_t type, net::Time now);
  // ip_error: what an IPv4 packet from `source` is told of a destination without a route has to
  // pass here first, limits or none. It spends of the same credit, but of no more than five
  // messages.
  bool AllowUnroutable(const net::IpAddress& source, net::Time now);

 private:
  static constexpr size_t kWays = 4;
  static constexpr size_t kSets = 256;
  // The time at which the bucket would have been empty (48 bits, microseconds of ours), below it
  // 16 bits of the destination's hash. 0: nobody's.
  using Bucket = std::atomic<uint64_t>;

  uint32_t Price();
  bool AllowGlobally(uint64_t time);
  // `burst`: how much credit counts.
  bool AllowTo(net::Family family, const net::IpAddress& destination, uint64_t time,
               uint64_t burst);
  uint64_t HashOf(const net::IpAddress& destination) const;

  // Immutable after construction.
  uint64_t hash_key_;
  // Written by all workers.
  std::atomic<uint64_t> chance_;
  std::atomic<uint64_t> global_{0};  // 56 bits of time when it was filled, 8 of tokens; 0: never
  std::array<std::array<Bucket, kWays>, kSets> buckets_{};
};

}  // namespace postern::route

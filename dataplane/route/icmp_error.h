// ICMP and ICMPv6 errors that the appliance itself sends, and TCP resets for REJECT.
#pragma once

#include <cstdint>

#include "dataplane/net/packet.h"
#include "dataplane/net/random.h"
#include "dataplane/net/time.h"

namespace postern::route {

struct IcmpError {
  uint8_t type = 0;
  uint8_t code = 0;
  uint32_t argument = 0;  // next-hop MTU (frag needed, packet too big) or pointer
};

// RFC 1122 3.2.2 and RFC 4443 2.4: no error about an ICMP error, a later fragment, a
// multicast or broadcast (frame or destination), or a source that isn't one host.
bool MayAnswerWithError(const net::Packet& offending);

// Makes the error about `offending` from `source` (an address of the appliance): IPv4 quotes as much as
// fits into 576 bytes, IPv6 into 1280, as Linux does. `error` gets a fresh buffer with an
// Ethernet header's room; parsed. False when no buffer is left or the packet may not be answered.
bool BuildIcmpError(net::BufferPool* pool, const net::Packet& offending, const IcmpError& what,
                    const net::IpAddress& source, uint16_t ip_id, net::Packet* error);

// nf_send_reset: a RST for `offending` (TCP, not itself a RST, whole header, valid checksum). seq/ack
// as Linux chooses them.
bool BuildTcpReset(net::BufferPool* pool, const net::Packet& offending, uint16_t ip_id,
                   net::Packet* reset);

// Linux' icmp_ratelimit: per destination a token bucket (1 a second, burst 6) for the types of
// icmp_ratemask, and over all 1000 a second with a burst of 50 less a random few (SAD DNS).
// One thread; fixed room.
class IcmpRateLimiter {
 public:
  explicit IcmpRateLimiter(uint64_t seed);
  bool Allow(net::Family family, const net::IpAddress& destination, uint8_t type, net::Time now);

 private:
  struct Bucket {
    net::IpAddress destination;
    net::Time last = 0;
    uint32_t tokens = 0;
    bool used = false;
  };
  static constexpr size_t kBuckets = 1024;
  net::Rng rng_;
  net::Time global_last_ = 0;
  uint32_t global_tokens_ = 50;
  Bucket buckets_[kBuckets];
};

}  // namespace postern::route

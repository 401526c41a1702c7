// The next hops that shortcuts lead to, each once: what is written and checked for every packet
// that goes there.
//
// Filled by the slow path, emptied as a whole when a route or a port changes; whoever remembered a
// place then has an old epoch. What it says of the neighbour holds while `generation` is that of
// the neighbours; afterwards it has to be asked for again. Threads: one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/net/packet.h"
#include "dataplane/net/wire.h"

namespace postern::pipeline {

struct alignas(64) NextHop {
  net::EthernetHeader ethernet{};
  net::PortId out_port = net::kNoPort;
  net::Family family = net::Family::kIpv4;
  uint32_t mtu = 0;
  uint32_t generation = 0;  // NeighborTable::generation() when `ethernet` was written
  net::IpAddress address;
  std::optional<net::IpAddress> source;  // IPv4: MASQUERADE's address towards it
};
static_assert(sizeof(NextHop) == 64);

class NextHops {
 public:
  static constexpr uint16_t kNone = 0xffff;

  NextHops() : hops_(kRoom), buckets_(kBuckets, kNone) {}

  void Clear() {
    if (size_ == 0) return;
    size_ = 0;
    buckets_.assign(kBuckets, kNone);
  }
  // The place of this next hop, which is from now on as `hop` says; kNone where there is no room.
  uint16_t Intern(const NextHop& hop) {
    const uint32_t bucket = BucketOf(hop.out_port, hop.family, hop.address);
    const uint16_t known = buckets_[bucket];
    if (known == kNone && size_ == kRoom) return kNone;
    if (known == kNone) buckets_[bucket] = size_++;
    hops_[buckets_[bucket]] = hop;
    return buckets_[bucket];
  }
  // kNone: nobody has interned it.
  uint16_t Find(net::PortId out_port, net::Family family, const net::IpAddress& address) const {
    return buckets_[BucketOf(out_port, family, address)];
  }
  NextHop& At(uint16_t place) { return hops_[place]; }

 private:
  static constexpr uint16_t kRoom = 4096;
  static constexpr uint32_t kBuckets = 2 * kRoom;

  static uint32_t HashOf(net::PortId out_port, net::Family family, const net::IpAddress& address) {
    std::array<uint64_t, 2> words = address.Words();
    words[1] ^= uint64_t{out_port} << 48 ^ static_cast<uint64_t>(family) << 32;
    return static_cast<uint32_t>((words[0] * 31 + words[1]) * 0x9e3779b97f4a7c15U >> 40);
  }
  // The bucket that has this next hop, or the free one that would have it.
  uint32_t BucketOf(net::PortId out_port, net::Family family, const net::IpAddress& address) const {
    uint32_t bucket = HashOf(out_port, family, address) % kBuckets;
    for (; buckets_[bucket] != kNone; bucket = (bucket + 1) % kBuckets) {
      const NextHop& other = hops_[buckets_[bucket]];
      if (other.address.Words() == address.Words() && other.family == family &&
          other.out_port == out_port) {
        break;
      }
    }
    return bucket;
  }

  std::vector<NextHop> hops_;
  std::vector<uint16_t> buckets_;
  uint16_t size_ = 0;
};

}  // namespace postern::pipeline

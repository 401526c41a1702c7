// The next hops that shortcuts lead to, each once: what is written and checked for every packet
// that goes there.
//
// Filled by the slow path, emptied as a whole when a route or a port changes; whoever remembered a
// place then has an old epoch. What it says of the neighbour holds while `generation` is that of
// the neighbours; afterwards it has to be asked for again. Threads: one.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
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
};

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
    uint32_t bucket = HashOf(hop) % kBuckets;
    while (buckets_[bucket] != kNone) {
      NextHop& other = hops_[buckets_[bucket]];
      if (other.address == hop.address && other.family == hop.family &&
          other.out_port == hop.out_port) {
        other = hop;
        return buckets_[bucket];
      }
      bucket = (bucket + 1) % kBuckets;
    }
    if (size_ == kRoom) return kNone;
    hops_[size_] = hop;
    buckets_[bucket] = size_;
    return size_++;
  }
  NextHop& At(uint16_t place) { return hops_[place]; }

 private:
  static constexpr uint16_t kRoom = 4096;
  static constexpr uint32_t kBuckets = 2 * kRoom;

  static uint32_t HashOf(const NextHop& hop) {
    uint64_t words[2];
    std::memcpy(words, hop.address.bytes.data(), sizeof(words));
    words[1] ^= uint64_t{hop.out_port} << 48 ^ static_cast<uint64_t>(hop.family) << 32;
    return static_cast<uint32_t>((words[0] * 31 + words[1]) * 0x9e3779b97f4a7c15U >> 40);
  }

  std::vector<NextHop> hops_;
  std::vector<uint16_t> buckets_;
  uint16_t size_ = 0;
};

}  // namespace postern::pipeline

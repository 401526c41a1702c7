// What the present rules say to whole classes of packets.
//
// A class is all that a walk can read but addresses, ports and what differs from packet to packet:
// family, protocol, direction, status, in and out port, TCP flags. Where a walk has looked at
// nothing else (rules::kDependsTuple), every packet of the class takes the same path.
//
// Filled by walks, emptied with every snapshot. A place is used by the last class that came to it.
// Threads: one.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/net/packet.h"
#include "dataplane/rules/worker_rules.h"

namespace postern::pipeline {

class PathClasses {
 public:
  struct Path {
    uint16_t path = rules::kNoPath;
    bool flags_matter = false;  // a rule has read the TCP flags
  };

  // Never 0.
  static constexpr uint64_t Key(uint64_t status_and_in_port, net::PortId out_port,
                                net::Family family, uint8_t protocol, net::Direction direction,
                                uint8_t tcp_flags) {
    return (status_and_in_port & 0xff'ffff) | uint64_t{tcp_flags} << 24 |
           uint64_t{static_cast<uint8_t>(out_port)} << 32 | uint64_t{protocol} << 40 |
           static_cast<uint64_t>(direction) << 48 |
           uint64_t{family == net::Family::kIpv6 ? 1U : 0U} << 49 | uint64_t{1} << 63;
  }

  void Clear() { places_ = {}; }
  void Set(uint64_t key, Path path) { places_[PlaceOf(key)] = {key, path}; }
  // Null: no packet of this class has walked.
  const Path* Find(uint64_t key) const {
    const Place& place = places_[PlaceOf(key)];
    return place.key == key ? &place.path : nullptr;
  }

 private:
  struct Place {
    uint64_t key = 0;
    Path path;
  };
  static constexpr unsigned kBits = 8;
  static constexpr size_t PlaceOf(uint64_t key) {
    return static_cast<size_t>(key * 0x9e3779b97f4a7c15U >> (64 - kBits));
  }
  std::array<Place, size_t{1} << kBits> places_{};
};

}  // namespace postern::pipeline

// What the present rules say to whole classes of packets.
//
// A class is all that a walk can read but addresses, ports and what differs from packet to packet:
// family, protocol, direction, status, in and out port, TCP flags. Where a walk has looked at
// nothing else (rules::kDependsTuple), every packet of the class takes the same path.
//
// Filled by walks, emptied with every snapshot. A class has two places; of those that want one the
// last two have it.
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

  // Never 0. What is without its TCP flags as yet is the key of all flags.
  static constexpr uint64_t Key(uint64_t status_and_in_port, net::PortId out_port,
                                net::Family family, uint8_t protocol, net::Direction direction) {
    return (status_and_in_port & 0xff'ffff) | uint64_t{static_cast<uint8_t>(out_port)} << 32 |
           uint64_t{protocol} << 40 | static_cast<uint64_t>(direction) << 48 |
           uint64_t{family == net::Family::kIpv6 ? 1U : 0U} << 49 | uint64_t{1} << 63;
  }

  void Clear() { places_ = {}; }
  // `tcp_flags`: those of the packet that has walked.
  void Set(uint64_t key, uint8_t tcp_flags, Path path) {
    if (path.flags_matter) key = WithFlags(key, tcp_flags);
    Place* first = &places_[PlaceOf(key)];
    Place* second = &places_[PlaceOf(key) ^ 1];
    if (first->key != key && first->key != 0) {
      if (second->key == key || second->key == 0) {
        first = second;
      } else {
        *second = *first;
      }
    }
    *first = {key, path};
  }
  // Null: no packet of this class has walked.
  const Path* Find(uint64_t key, uint8_t tcp_flags) const {
    const Path* of_all = Find(key);
    return of_all != nullptr ? of_all : Find(WithFlags(key, tcp_flags));
  }

 private:
  struct Place {
    uint64_t key = 0;
    Path path;
  };
  static constexpr unsigned kBits = 9;
  static constexpr uint64_t WithFlags(uint64_t key, uint8_t tcp_flags) {
    return key | uint64_t{tcp_flags} << 24 | uint64_t{1} << 50;
  }
  // The first of a class' two places.
  static constexpr size_t PlaceOf(uint64_t key) {
    return static_cast<size_t>(key * 0x9e3779b97f4a7c15U >> (64 - kBits));
  }
  const Path* Find(uint64_t key) const {
    const size_t first = PlaceOf(key);
    if (places_[first].key == key) return &places_[first].path;
    return places_[first ^ 1].key == key ? &places_[first ^ 1].path : nullptr;
  }
  std::array<Place, size_t{1} << kBits> places_{};
};

}  // namespace postern::pipeline

// What the present rules say to whole classes of packets.
//
// A class is all that a walk can read but addresses, ports and what differs from packet to packet:
// family, protocol, direction, status, in and out port, TCP flags. Where a walk has looked at
// nothing else (rules::kDependsTuple), every packet of the class takes the same path.
//
// Filled by walks, emptied with every snapshot.
// Threads: one.
#pragma once

#include <cstdint>

#include "dataplane/net/packet.h"
#include "dataplane/pipeline/two_places.h"
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

  void Clear() { paths_.Clear(); }
  // `tcp_flags`: those of the packet that has walked.
  void Set(uint64_t key, uint8_t tcp_flags, Path path) {
    if (path.flags_matter) key = WithFlags(key, tcp_flags);
    paths_.Set({key}, path);
  }
  // Null: no packet of this class has walked.
  const Path* Find(uint64_t key, uint8_t tcp_flags) const {
    const Path* of_all = paths_.Find({key});
    return of_all != nullptr ? of_all : paths_.Find({WithFlags(key, tcp_flags)});
  }

 private:
  struct Class {
    uint64_t key = 0;
    friend bool operator==(const Class&, const Class&) = default;
    constexpr uint64_t Mixed() const { return key * 0x9e3779b97f4a7c15U; }
  };
  static constexpr uint64_t WithFlags(uint64_t key, uint8_t tcp_flags) {
    return key | uint64_t{tcp_flags} << 24 | uint64_t{1} << 50;
  }
  TwoPlaces<Class, Path, 9> paths_;
};

}  // namespace postern::pipeline

// What the present rules say to the first packets of connections.
//
// An opening is all that a walk can read of a first packet that nobody has translated: the ports
// that it comes and leaves by, family, protocol, TCP flags, and the class of its tuple, which says
// between which bounds of the rules its addresses and ports lie (rules/classify/tuple_classes.h).
// Where a walk has read nothing else, every first packet of the opening is told the same.
//
// Filled by walks, emptied with every snapshot.
// Threads: one.
#pragma once

#include <cstdint>

#include "dataplane/net/nat_range.h"
#include "dataplane/net/packet.h"
#include "dataplane/pipeline/two_places.h"
#include "dataplane/rules/worker_rules.h"

namespace postern::pipeline {

class Openings {
 public:
  struct Key {
    uint64_t way = 0;  // 0: none
    uint64_t tuple = 0;
    friend bool operator==(const Key&, const Key&) = default;
    constexpr uint64_t Mixed() const {
      return (way ^ tuple * 0xff51afd7ed558ccdU) * 0x9e3779b97f4a7c15U;
    }
  };
  static constexpr Key KeyOf(net::PortId in_port, net::PortId out_port, const net::ParsedPacket& ip,
                             uint64_t tuple_class) {
    return {uint64_t{static_cast<uint8_t>(in_port)} |
                uint64_t{static_cast<uint8_t>(out_port)} << 8 | uint64_t{ip.protocol} << 16 |
                uint64_t{ip.tcp_flags} << 24 |
                uint64_t{ip.family == net::Family::kIpv6 ? 1U : 0U} << 32 | uint64_t{1} << 63,
            tuple_class};
  }

  struct Answer {
    uint16_t path = rules::kNoPath;
    bool masquerade = false;
    const net::NatRange* source = nullptr;  // the rule set's; null: the source stays
  };

  void Clear() { answers_.Clear(); }
  void Set(const Key& key, const Answer& answer) { answers_.Set(key, answer); }
  // Null: none of these has walked.
  const Answer* Find(const Key& key) const { return answers_.Find(key); }

 private:
  TwoPlaces<Key, Answer, 10> answers_;
};

}  // namespace postern::pipeline

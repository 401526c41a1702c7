// IPv6 hop-by-hop options as a router reads them, before anything else (ip6_parse_tlv). Those of
// destination headers are for the receiver alone.
#pragma once

#include <optional>

#include "dataplane/net/packet.h"

namespace postern::pipeline {

struct HopByHopView {
  bool good = true;
  // What to tell the sender about a packet that isn't good: the ICMPv6 parameter problem's code and
  // pointer, in bytes from the header's start. Nothing: not a word.
  struct Problem {
    uint8_t code = 0;
    uint32_t pointer = 0;
  };
  std::optional<Problem> problem;
};

// Good for IPv4 and for a packet without a hop-by-hop header. `packet` has been parsed.
HopByHopView ReadHopByHop(const net::Packet& packet);

}  // namespace postern::pipeline

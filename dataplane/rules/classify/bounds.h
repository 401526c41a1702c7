// What a packet must look like for a rule to be consulted at all, as far as an index can use it.
//
// The kernel looks at a rule's -s -d -i -o -p first and then at its matches from left to right, and
// stops at the first that says no. A rule may be left out for a packet only where that walk is
// certain to end with a plain no before anything is changed (a token taken, a connection
// counted) or the packet is dropped on the spot. So bounds are taken from a rule's head and from
// those matches at its beginning that only read; what comes behind one that does more sets none.
//
// A bound depends on addresses, ports, protocol, interfaces and ctstate alone. All of these are the
// same for every packet that may follow a remembered path, so that a rule that was left out adds
// nothing to what the path depends on.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/rules/ip_part.h"
#include "dataplane/rules/model.h"

namespace postern::rules {

// A set of values of one byte: protocols, ports of the appliance, states.
using ValueSet = std::array<uint64_t, 4>;

struct PortBounds {
  // The port is in one of them; empty: it may be any. Points into the rule.
  std::span<const PortRange> ranges;
  // A packet that ends before its ports (or a later fragment) might not get a plain no.
  bool needs_cut_packets = true;
};

struct PrefixBound {
  IpAddress address;
  unsigned length = 0;  // 0: any address
};

struct RuleBounds {
  PrefixBound source, destination;
  PortBounds source_port, destination_port;
  ValueSet protocols{}, in_ports{}, out_ports{};
  ValueSet states{};  // by StateValue()
};

// Interfaces are numbered by PortId; where a hook has none on that side:
inline constexpr uint8_t kNoInterface = net::kLoopbackPort + 1;

// The place of one CtStateBit in RuleBounds::states.
constexpr uint8_t StateValue(uint16_t state_bit) {
  uint8_t value = 0;
  while ((state_bit >>= 1) != 0) ++value;
  return value;
}

// `part` is what the rule's head was compiled to. `by_state`: the state of a packet can't change
// while it walks the chain (NOTRACK changes it in the raw table). Points into `rule`.
RuleBounds BoundsOf(const Rule& rule, const IpPart& part, bool by_state);

}  // namespace postern::rules

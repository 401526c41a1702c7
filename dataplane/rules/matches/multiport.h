// -m multiport (xt_multiport).
#pragma once

#include "dataplane/net/byte_order.h"
#include "dataplane/rules/matches/answer.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

// The list stays in the rule set's model.
struct CompiledMultiport {
  const MultiportMatch* match = nullptr;
};

inline Answer Matches(const CompiledMultiport& compiled, const WalkContext& context,
                      uint16_t* depends) {
  struct Ports {
    net::Be16 source;
    net::Be16 destination;
  };
  const net::Packet& packet = *context.packet;
  const MultiportMatch& match = *compiled.match;
  if (packet.ip.fragment_offset != 0) {
    *depends |= kDependsPacket;
    return Answer::kNo;
  }
  const auto* ports = TransportHeader<Ports>(packet);
  if (ports == nullptr) return Answer::kHotdrop;
  const uint16_t source = ports->source.Host();
  const uint16_t destination = ports->destination.Host();
  bool found = false;
  for (const PortRange& range : match.ports) {
    found = (match.which != MultiportMatch::Which::kDestination && range.Contains(source)) ||
            (match.which != MultiportMatch::Which::kSource && range.Contains(destination));
    if (found) break;
  }
  return AnswerOf(found != match.invert);
}

}  // namespace postern::rules

// -m icmp and -m icmp6.
#pragma once

#include "dataplane/net/wire.h"
#include "dataplane/rules/matches/answer.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

// Type 255 stands for any type with IPv4 only; icmp6 takes it as it is.
struct CompiledIcmp {
  uint8_t type = 0;
  uint8_t first_code = 0;
  uint8_t last_code = 0xff;
  bool invert = false;
  bool any_type = false;
};

inline Answer Matches(const CompiledIcmp& match, const WalkContext& context, uint16_t* depends) {
  const net::Packet& packet = *context.packet;
  *depends |= kDependsPacket;
  if (packet.ip.fragment_offset != 0) return Answer::kNo;
  const auto* header = TransportHeader<net::IcmpHeader>(packet);
  if (header == nullptr) return Answer::kHotdrop;
  const bool equal =
      match.any_type || (header->type == match.type && match.first_code <= header->code &&
                         header->code <= match.last_code);
  return AnswerOf(equal != match.invert);
}

}  // namespace postern::rules

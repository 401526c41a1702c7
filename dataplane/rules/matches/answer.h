// What a match says about a packet, and how it reads a transport header.
#pragma once

#include <cstdint>

#include "dataplane/net/packet.h"

namespace postern::rules {

// kHotdrop: the match was asked something that the packet is too short or too odd for; the packet
// is dropped and the walk ends, as xt_action_param::hotdrop has it.
enum class Answer : uint8_t { kNo, kYes, kHotdrop };

constexpr Answer AnswerOf(bool matched) { return matched ? Answer::kYes : Answer::kNo; }

// What stands `offset` bytes into the transport header of a packet that isn't a later fragment, or
// null when the datagram ends before it does.
template <typename Field>
const Field* TransportField(const net::Packet& packet, uint32_t offset) {
  if (packet.ip.L4Length() < offset + sizeof(Field)) return nullptr;
  return packet.At<Field>(packet.ip.l4_offset + offset);
}
template <typename Header>
const Header* TransportHeader(const net::Packet& packet) {
  return TransportField<Header>(packet, 0);
}

}  // namespace postern::rules

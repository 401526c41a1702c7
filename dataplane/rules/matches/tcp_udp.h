// -m tcp and -m udp (xt_tcpudp).
//
// A later fragment never matches. A first fragment or whole datagram that is too short for the
// header is dropped at once, as is a TCP fragment eight bytes in, which can only mean to overwrite
// the flags of the first one.
#pragma once

#include "dataplane/net/wire.h"
#include "dataplane/rules/matches/answer.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

// Whether the option stands among the TCP options; a cut list makes kHotdrop.
inline Answer FindTcpOption(const net::Packet& packet, const net::TcpHeader& header,
                            uint8_t option) {
  const uint32_t header_length = header.HeaderLength();
  if (header_length < sizeof(net::TcpHeader)) return Answer::kHotdrop;
  if (packet.ip.L4Length() < header_length) return Answer::kHotdrop;
  const uint32_t end = packet.ip.l4_offset + header_length;
  uint32_t at = packet.ip.l4_offset + static_cast<uint32_t>(sizeof(net::TcpHeader));
  while (at < end) {
    const uint8_t* kind = packet.At<uint8_t>(at);
    if (kind == nullptr) return Answer::kHotdrop;
    if (*kind == option) return Answer::kYes;
    // End of list and no-operation are single bytes; the kernel walks over both.
    if (*kind < 2) {
      ++at;
      continue;
    }
    const uint8_t* length = at + 1 < end ? packet.At<uint8_t>(at + 1) : nullptr;
    at += length == nullptr || *length == 0 ? 1 : *length;
  }
  return Answer::kNo;
}

inline Answer Matches(const TcpMatch& match, const WalkContext& context, uint16_t* depends) {
  const net::Packet& packet = *context.packet;
  if (packet.ip.fragment_offset != 0) {
    *depends |= kDependsPacket;
    return packet.ip.fragment_offset == 8 ? Answer::kHotdrop : Answer::kNo;
  }
  const auto* header = TransportHeader<net::TcpHeader>(packet);
  if (header == nullptr) return Answer::kHotdrop;
  if (match.source.Contains(header->source_port.Host()) == match.invert_source) return Answer::kNo;
  if (match.destination.Contains(header->destination_port.Host()) == match.invert_destination) {
    return Answer::kNo;
  }
  if (match.flag_mask != 0 || match.invert_flags) {
    *depends |= kDependsTcpFlags;
    const bool equal = (header->flags & match.flag_mask) == match.flag_compare;
    if (equal == match.invert_flags) return Answer::kNo;
  }
  if (match.option == 0) return Answer::kYes;
  *depends |= kDependsPacket;
  const Answer found = FindTcpOption(packet, *header, match.option);
  if (found == Answer::kHotdrop) return found;
  return AnswerOf((found == Answer::kYes) != match.invert_option);
}

inline Answer Matches(const UdpMatch& match, const WalkContext& context, uint16_t* depends) {
  const net::Packet& packet = *context.packet;
  if (packet.ip.fragment_offset != 0) {
    *depends |= kDependsPacket;
    return Answer::kNo;
  }
  const auto* header = TransportHeader<net::UdpHeader>(packet);
  if (header == nullptr) return Answer::kHotdrop;
  return AnswerOf(match.source.Contains(header->source_port.Host()) != match.invert_source &&
                  match.destination.Contains(header->destination_port.Host()) !=
                      match.invert_destination);
}

}  // namespace postern::rules

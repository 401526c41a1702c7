// -m tcp and -m udp, as iptables 1.8.9 hands them to the kernel.
//
// Ports and flags become loads of nf_tables: a packet that ends before the bytes in question, or a
// later fragment, doesn't match, inverted or not. Only -m tcp or -m udp without any option and a
// --tcp-option stay with xt_tcpudp: there a header that isn't whole drops the packet at once, as
// does a TCP fragment eight bytes in, which can only mean to overwrite the flags of the first one.
#pragma once

#include <cstddef>

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

// --sport and --dport; a range of all ports loads nothing.
template <typename Match>
bool PortsMatch(const Match& match, const net::Packet& packet) {
  if (!match.source.IsAll()) {
    const auto* port = TransportField<net::Be16>(packet, 0);
    if (port == nullptr || match.source.Contains(port->Host()) == match.invert_source) return false;
  }
  if (!match.destination.IsAll()) {
    const auto* port = TransportField<net::Be16>(packet, sizeof(net::Be16));
    if (port == nullptr || match.destination.Contains(port->Host()) == match.invert_destination) {
      return false;
    }
  }
  return true;
}

inline bool FlagsMatch(const TcpMatch& match, const net::Packet& packet, uint16_t* depends) {
  if (match.flag_mask == 0 && !match.invert_flags) return true;
  *depends |= kDependsTcpFlags;
  const auto* flags = TransportField<uint8_t>(packet, offsetof(net::TcpHeader, flags));
  if (flags == nullptr) return false;
  return ((*flags & match.flag_mask) == match.flag_compare) != match.invert_flags;
}

inline Answer Matches(const TcpMatch& match, const WalkContext& context, uint16_t* depends) {
  const net::Packet& packet = *context.packet;
  const bool asks_option = match.option != 0 || match.invert_option;
  const bool whole_header = asks_option || match == TcpMatch{};
  if (packet.ip.fragment_offset != 0) {
    *depends |= kDependsPacket;
    return whole_header && packet.ip.fragment_offset == 8 ? Answer::kHotdrop : Answer::kNo;
  }
  const auto* header = TransportHeader<net::TcpHeader>(packet);
  if (header == nullptr) {
    *depends |= kDependsPacket;
    if (whole_header) return Answer::kHotdrop;
  }
  if (!PortsMatch(match, packet) || !FlagsMatch(match, packet, depends)) return Answer::kNo;
  if (!asks_option) return Answer::kYes;
  // xt_tcpudp takes "not all ports" at its word.
  if ((match.source.IsAll() && match.invert_source) ||
      (match.destination.IsAll() && match.invert_destination)) {
    return Answer::kNo;
  }
  *depends |= kDependsPacket;
  const Answer found = FindTcpOption(packet, *header, match.option);
  if (found == Answer::kHotdrop) return found;
  return AnswerOf((found == Answer::kYes) != match.invert_option);
}

inline Answer Matches(const UdpMatch& match, const WalkContext& context, uint16_t* depends) {
  const net::Packet& packet = *context.packet;
  const bool whole_header = match == UdpMatch{};
  if (packet.ip.fragment_offset != 0) {
    *depends |= kDependsPacket;
    return Answer::kNo;
  }
  if (whole_header) {
    return TransportHeader<net::UdpHeader>(packet) == nullptr ? Answer::kHotdrop : Answer::kYes;
  }
  return AnswerOf(PortsMatch(match, packet));
}

}  // namespace postern::rules

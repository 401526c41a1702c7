#include "dataplane/net/parse.h"

#include "dataplane/net/checksum.h"
#include "dataplane/net/tuple.h"

namespace postern::net {

namespace {

constexpr ParseResult Invalid(DropReason reason) { return {FrameKind::kInvalid, reason}; }
constexpr ParseResult kGood{FrameKind::kIp, DropReason::kNone};

constexpr unsigned kMaxExtensionHeaders = 8;
constexpr uint32_t kSctpHeaderLength = 12;  // RFC 9260 3.1
constexpr uint32_t kDccpHeaderLength = 12;  // RFC 4340 5.1, the short form
constexpr uint8_t kIpOptionEnd = 0;
constexpr uint8_t kIpOptionNop = 1;
constexpr uint8_t kIpOptionLooseRoute = 131;
constexpr uint8_t kIpOptionStrictRoute = 137;

ParseResult ParseArp(const Packet& packet) {
  const auto* arp = packet.At<ArpHeader>(sizeof(EthernetHeader));
  if (arp == nullptr || arp->hardware_type.Host() != 1 ||
      arp->protocol_type.Host() != kEtherTypeIpv4 || arp->hardware_length != 6 ||
      arp->protocol_length != 4) {
    return Invalid(DropReason::kArpMalformed);
  }
  return {FrameKind::kArp, DropReason::kNone};
}

// Whether there is a source route among `length` bytes of IPv4 options, as far as their lengths
// make sense (RFC 791 3.1). What is wrong with them is asked when the packet is routed.
bool FindSourceRoute(const uint8_t* options, uint32_t length) {
  uint32_t at = 0;
  while (at < length) {
    const uint8_t kind = options[at];
    if (kind == kIpOptionEnd) return false;
    if (kind == kIpOptionNop) {
      ++at;
      continue;
    }
    if (kind == kIpOptionLooseRoute || kind == kIpOptionStrictRoute) return true;
    if (length - at < 2 || options[at + 1] < 2) return false;
    at += options[at + 1];
  }
  return false;
}

ParseResult ParseIpv4(Packet* packet) {
  ParsedPacket& ip = packet->ip;
  const auto* header = packet->At<Ipv4Header>(ip.l3_offset);
  if (header == nullptr) return Invalid(DropReason::kIpTruncated);
  const uint16_t header_length = header->HeaderLength();
  if (header->Version() != 4 || header_length < sizeof(Ipv4Header)) {
    return Invalid(DropReason::kIpHeaderInvalid);
  }
  const uint32_t available = packet->length - ip.l3_offset;
  if (available < header_length) return Invalid(DropReason::kIpTruncated);
  if (OnesSum(header, header_length) != 0xffff) return Invalid(DropReason::kIpChecksum);
  const uint16_t total = header->total_length.Host();
  if (available < total) return Invalid(DropReason::kIpTruncated);
  if (total < header_length) return Invalid(DropReason::kIpHeaderInvalid);

  ip.has_options = header_length > sizeof(Ipv4Header);
  if (ip.has_options) {
    ip.source_routed =
        FindSourceRoute(reinterpret_cast<const uint8_t*>(header) + sizeof(Ipv4Header),
                        header_length - uint32_t{sizeof(Ipv4Header)});
  }
  ip.family = Family::kIpv4;
  ip.protocol = header->protocol;
  ip.tos = header->tos;
  ip.ttl = header->ttl;
  ip.l3_length = total;
  ip.l4_offset = static_cast<uint16_t>(ip.l3_offset + header_length);
  ip.source = IpAddress::FromWire(Family::kIpv4, header->source);
  ip.destination = IpAddress::FromWire(Family::kIpv4, header->destination);
  const uint16_t fragment = header->fragment.Host();
  ip.fragment_offset = static_cast<uint16_t>((fragment & kIpv4OffsetMask) * 8);
  ip.more_fragments = (fragment & kIpv4MoreFragments) != 0;
  ip.dont_fragment = (fragment & kIpv4DontFragment) != 0;
  ip.fragment = ip.fragment_offset != 0 || ip.more_fragments;
  ip.fragment_id = header->id.Host();
  ParseTransport(packet);
  return kGood;
}

ParseResult ParseIpv6(Packet* packet) {
  ParsedPacket& ip = packet->ip;
  const auto* header = packet->At<Ipv6Header>(ip.l3_offset);
  if (header == nullptr) return Invalid(DropReason::kIpTruncated);
  if (header->Version() != 6) return Invalid(DropReason::kIpHeaderInvalid);
  // A jumbogram (RFC 2675) says 0 and has a hop-by-hop header, which is then found cut short.
  const uint32_t total = uint32_t{sizeof(Ipv6Header)} + header->payload_length.Host();
  if (packet->length - ip.l3_offset < total) return Invalid(DropReason::kIpTruncated);

  const uint32_t first = ip.l3_offset + uint32_t{sizeof(Ipv6Header)};
  Ipv6Chain chain;
  if (!WalkIpv6Chain(*packet, header->next_header, first, ip.l3_offset + total, &chain)) {
    return Invalid(DropReason::kIpv6HeaderChain);
  }
  ip.family = Family::kIpv6;
  ip.protocol = chain.protocol;
  ip.tos = header->TrafficClass();
  ip.ttl = header->hop_limit;
  ip.l3_length = total;
  ip.l4_offset = static_cast<uint16_t>(chain.offset);
  ip.source = IpAddress::FromWire(Family::kIpv6, header->source);
  ip.destination = IpAddress::FromWire(Family::kIpv6, header->destination);
  ip.has_options = chain.offset != first;
  ip.source_routed = chain.source_routed;
  if (chain.fragment_offset != 0) {
    const auto* fragment = packet->At<Ipv6FragmentHeader>(chain.fragment_offset);
    const uint16_t offset_flags = fragment->offset_flags.Host();
    ip.fragment = true;
    ip.fragment_header_offset = static_cast<uint16_t>(chain.fragment_offset);
    ip.fragment_offset = offset_flags & 0xfff8;
    ip.more_fragments = (offset_flags & 1) != 0;
    ip.fragment_id = fragment->id.Host();
  }
  ParseTransport(packet);
  return kGood;
}

// What netfilter's *_error functions ask of a transport header, one function a protocol. `l4` has
// at least the fixed header, `length` counts it and what follows within the datagram.

bool ReadTcp(const uint8_t* l4, uint32_t length, ParsedPacket* ip) {
  const auto* tcp = reinterpret_cast<const TcpHeader*>(l4);
  ip->tcp_flags = tcp->flags;
  const uint16_t header_length = tcp->HeaderLength();
  if (header_length < sizeof(TcpHeader) || header_length > length) return false;
  ip->payload_offset = static_cast<uint16_t>(ip->l4_offset + header_length);
  return true;
}

bool ReadUdp(const uint8_t* l4, uint32_t length, ParsedPacket* ip) {
  const uint16_t said = reinterpret_cast<const UdpHeader*>(l4)->length.Host();
  ip->payload_offset = static_cast<uint16_t>(ip->l4_offset + sizeof(UdpHeader));
  return said >= sizeof(UdpHeader) && said <= length;
}

bool ReadUdpLite(const uint8_t* l4, uint32_t length, ParsedPacket* ip) {
  const auto* udp = reinterpret_cast<const UdpHeader*>(l4);
  ip->payload_offset = static_cast<uint16_t>(ip->l4_offset + sizeof(UdpHeader));
  const uint16_t coverage = udp->length.Host();  // RFC 3828 3.1
  if (coverage != 0 && (coverage < sizeof(UdpHeader) || coverage > length)) return false;
  return udp->checksum.Host() != 0;
}

bool ReadIcmp(const uint8_t* l4, ParsedPacket* ip) {
  const auto* icmp = reinterpret_cast<const IcmpHeader*>(l4);
  ip->icmp_type = icmp->type;
  ip->icmp_code = icmp->code;
  if (!IsIcmpError(ip->family, icmp->type)) ip->icmp_id = icmp->id.Host();
  ip->payload_offset = static_cast<uint16_t>(ip->l4_offset + sizeof(IcmpHeader));
  // netfilter tracks ICMP over IPv4 and ICMPv6 over IPv6 only.
  return (ip->protocol == kProtoIcmp) == (ip->family == Family::kIpv4);
}

uint32_t FixedHeaderLength(uint8_t protocol) {
  switch (protocol) {
    case kProtoTcp:
      return sizeof(TcpHeader);
    case kProtoUdp:
    case kProtoUdpLite:
      return sizeof(UdpHeader);
    case kProtoIcmp:
    case kProtoIcmpv6:
      return sizeof(IcmpHeader);
    case kProtoSctp:
      return kSctpHeaderLength;
    case kProtoDccp:
      return kDccpHeaderLength;
    default:
      return 0;
  }
}

}  // namespace

std::optional<uint16_t> GreKey(const uint8_t* gre, uint32_t available) {
  if (available < 4) return 0;
  const bool enhanced = (gre[1] & 0x07) == 1;
  if (!enhanced || available < 8) return 0;
  constexpr uint16_t kPpp = 0x880b;
  if (reinterpret_cast<const Be16*>(gre + 2)->Host() != kPpp) return std::nullopt;
  return reinterpret_cast<const Be16*>(gre + 6)->Host();
}

ParseResult Parse(Packet* packet) {
  const auto* ethernet = packet->At<EthernetHeader>(0);
  if (ethernet == nullptr) return Invalid(DropReason::kFrameTooShort);
  const uint16_t type = ethernet->type.Host();
  switch (type) {
    case kEtherTypeIpv4:
    case kEtherTypeIpv6:
      packet->ip.l3_offset = sizeof(EthernetHeader);
      return ParseIp(packet, type);
    case kEtherTypeArp:
      return ParseArp(*packet);
    case kEtherTypeVlan:
    case kEtherTypeQinQ:
      return Invalid(DropReason::kVlanTagged);
    default:
      return Invalid(DropReason::kUnknownEtherType);
  }
}

ParseResult ParseIp(Packet* packet, uint16_t ether_type) {
  const uint16_t l3_offset = packet->ip.l3_offset;
  packet->ip = ParsedPacket{};
  packet->ip.l3_offset = l3_offset;
  if (ether_type == kEtherTypeIpv4) return ParseIpv4(packet);
  if (ether_type == kEtherTypeIpv6) return ParseIpv6(packet);
  return Invalid(DropReason::kUnknownEtherType);
}

void ParseTransport(Packet* packet) {
  ParsedPacket& ip = packet->ip;
  ip.l4_header = ip.l4_valid = false;
  ip.tcp_flags = ip.icmp_type = ip.icmp_code = 0;
  ip.source_port = ip.destination_port = ip.icmp_id = ip.gre_key = 0;
  ip.payload_offset = ip.l4_offset;
  if (ip.fragment_offset != 0) return;

  const uint8_t* l4 = packet->L4();
  const uint32_t length = ip.L4Length();
  if ((HasPorts(ip.protocol) || ip.protocol == kProtoDccp) && length >= 4) {
    ip.source_port = reinterpret_cast<const Be16*>(l4)->Host();
    ip.destination_port = reinterpret_cast<const Be16*>(l4 + 2)->Host();
  }
  const uint32_t fixed = FixedHeaderLength(ip.protocol);
  if (length < fixed) {
    ip.l4_valid = ip.protocol == kProtoDccp;
    return;
  }
  ip.l4_header = true;
  switch (ip.protocol) {
    case kProtoTcp:
      ip.l4_valid = ReadTcp(l4, length, &ip);
      break;
    case kProtoUdp:
      ip.l4_valid = ReadUdp(l4, length, &ip);
      break;
    case kProtoUdpLite:
      ip.l4_valid = ReadUdpLite(l4, length, &ip);
      break;
    case kProtoSctp:
      ip.payload_offset = static_cast<uint16_t>(ip.l4_offset + kSctpHeaderLength);
      ip.l4_valid = true;
      break;
    case kProtoIcmp:
    case kProtoIcmpv6:
      ip.l4_valid = ReadIcmp(l4, &ip);
      break;
    case kProtoGre: {
      const auto key = GreKey(l4, length);
      ip.gre_key = key.value_or(0);
      ip.l4_valid = key.has_value();
      break;
    }
    default:
      // "No next header" has no transport that could be tracked (ipv6_skip_exthdr fails).
      ip.l4_valid = ip.family == Family::kIpv4 || ip.protocol != kProtoNoNext;
  }
}

namespace {

bool IsExtension(uint8_t protocol) {
  switch (protocol) {
    case kProtoHopByHop:
    case kProtoRouting:
    case kProtoDestinationOptions:
    case kProtoFragment:
    case kProtoAh:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool WalkIpv6Chain(const Packet& packet, uint8_t next, uint32_t offset, uint32_t end,
                   Ipv6Chain* chain) {
  if (end > packet.length || offset > end) return false;
  for (unsigned depth = 0;; ++depth) {
    chain->protocol = next;
    chain->offset = offset;
    if (!IsExtension(next)) return true;
    if (depth == kMaxExtensionHeaders || end - offset < 8) return false;
    const uint8_t* header = packet.data + offset;
    uint32_t length = (uint32_t{header[1]} + 1) * 8;
    if (next == kProtoAh) length = (uint32_t{header[1]} + 2) * 4;  // RFC 4302 2.2
    if (next == kProtoFragment) {
      // Two fragment headers serve only to hide the transport header.
      if (chain->fragment_offset != 0) return false;
      length = sizeof(Ipv6FragmentHeader);
      chain->fragment_offset = offset;
      const auto* fragment = reinterpret_cast<const Ipv6FragmentHeader*>(header);
      chain->later_fragment = (fragment->offset_flags.Host() & 0xfff8) != 0;
    }
    if (next == kProtoRouting && header[2] == 0) chain->source_routed = true;  // RFC 5095
    if (end - offset < length) {
      // ipv6_skip_exthdr follows the protocol number all the same, and finds nothing there.
      // ipv6_rcv reads the hop-by-hop options and drops the packet.
      if (next == kProtoHopByHop || IsExtension(header[0])) return false;
      chain->protocol = header[0];
      chain->offset = end;
      return true;
    }
    next = header[0];
    offset += length;
    if (chain->later_fragment) {
      chain->protocol = next;
      chain->offset = offset;
      return true;
    }
  }
}

}  // namespace postern::net

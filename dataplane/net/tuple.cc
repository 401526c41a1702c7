#include "dataplane/net/tuple.h"

#include <cstdio>

#include "dataplane/net/parse.h"

namespace postern::net {

namespace {

// The type that answers an ICMP type, or -1.
int AnswerType(uint8_t protocol, uint8_t type) {
  if (protocol == kProtoIcmp) {
    switch (type) {
      case kIcmpEchoRequest:
        return kIcmpEchoReply;
      case kIcmpEchoReply:
        return kIcmpEchoRequest;
      case kIcmpTimestampRequest:
        return kIcmpTimestampReply;
      case kIcmpTimestampReply:
        return kIcmpTimestampRequest;
      case kIcmpInfoRequest:
        return kIcmpInfoReply;
      case kIcmpInfoReply:
        return kIcmpInfoRequest;
      case kIcmpAddressRequest:
        return kIcmpAddressReply;
      case kIcmpAddressReply:
        return kIcmpAddressRequest;
      default:
        return -1;
    }
  }
  switch (type) {
    case kIcmpv6EchoRequest:
      return kIcmpv6EchoReply;
    case kIcmpv6EchoReply:
      return kIcmpv6EchoRequest;
    case kIcmpv6NodeInfoQuery:
      return kIcmpv6NodeInfoReply;
    case kIcmpv6NodeInfoReply:
      return kIcmpv6NodeInfoQuery;
    default:
      return -1;
  }
}

bool IsIcmp(uint8_t protocol) { return protocol == kProtoIcmp || protocol == kProtoIcmpv6; }

uint16_t IcmpKey(uint8_t type, uint8_t code) { return static_cast<uint16_t>((type << 8) | code); }

// The protocol keys of a quoted transport header at `l4`, of which `available` bytes are quoted.
// netfilter asks for the 4 bytes of the ports, or the 8 of an ICMP header.
bool ReadQuotedKeys(const uint8_t* l4, uint32_t available, Tuple* tuple) {
  if (HasPorts(tuple->protocol)) {
    if (available < 4) return false;
    tuple->source_key = reinterpret_cast<const Be16*>(l4)->Host();
    tuple->destination_key = reinterpret_cast<const Be16*>(l4 + 2)->Host();
  } else if (IsIcmp(tuple->protocol)) {
    if (available < sizeof(IcmpHeader)) return false;
    const auto* icmp = reinterpret_cast<const IcmpHeader*>(l4);
    tuple->source_key = icmp->id.Host();
    tuple->destination_key = IcmpKey(icmp->type, icmp->code);
  } else if (tuple->protocol == kProtoGre) {
    const auto key = GreKey(l4, available);
    if (!key) return false;
    tuple->destination_key = *key;
  }
  return true;
}

// Finds the transport header of the IPv4 packet quoted at `l3`; nothing else than addresses
// and protocol goes into the tuple. As netfilter, which doesn't ask for the version.
bool ReadQuotedIpv4(const Packet& packet, uint32_t l3, uint32_t end, Tuple* tuple, uint32_t* l4) {
  if (end - l3 < sizeof(Ipv4Header)) return false;
  const auto* header = packet.At<Ipv4Header>(l3);
  if (header == nullptr) return false;
  if (header->HeaderLength() < sizeof(Ipv4Header) || end - l3 < header->HeaderLength()) {
    return false;
  }
  if ((header->fragment.Host() & kIpv4OffsetMask) != 0) return false;
  tuple->source = IpAddress::FromWire(Family::kIpv4, header->source);
  tuple->destination = IpAddress::FromWire(Family::kIpv4, header->destination);
  tuple->protocol = header->protocol;
  *l4 = l3 + header->HeaderLength();
  return true;
}

bool ReadQuotedIpv6(const Packet& packet, uint32_t l3, uint32_t end, Tuple* tuple, uint32_t* l4) {
  if (end - l3 < sizeof(Ipv6Header)) return false;
  const auto* header = packet.At<Ipv6Header>(l3);
  if (header == nullptr) return false;
  Ipv6Chain chain;
  if (!WalkIpv6Chain(packet, header->next_header, l3 + sizeof(Ipv6Header), end, &chain)) {
    return false;
  }
  if (chain.later_fragment || chain.protocol == kProtoNoNext) return false;
  tuple->source = IpAddress::FromWire(Family::kIpv6, header->source);
  tuple->destination = IpAddress::FromWire(Family::kIpv6, header->destination);
  tuple->protocol = chain.protocol;
  *l4 = chain.offset;
  return true;
}

constexpr uint32_t kRedirectFixedPart = 32;  // target and destination, RFC 4861 section 4.5
constexpr uint32_t kRedirectedHeaderOption = 8;

// An ICMPv6 redirect as a router of the link sends it, with the packet that it is about as its
// first option (RFC 4861 sections 8.1 and 4.6.3). `body` follows the ICMP header.
bool IsCredibleRedirect(const Packet& packet, uint32_t body) {
  const ParsedPacket& ip = packet.ip;
  if (ip.icmp_code != 0 || ip.ttl != 255 || !IsLinkLocal(ip.family, ip.source)) return false;
  const uint32_t end = ip.l3_offset + ip.l3_length;
  const uint32_t option = body + kRedirectFixedPart;
  if (end < option || end - option < 2) return false;
  constexpr uint8_t kRedirectedHeader = 4;
  return packet.data[option] == kRedirectedHeader && packet.data[option + 1] != 0;
}

}  // namespace

Tuple Ipv4Key::ToTuple() const {
  Tuple tuple;
  tuple.source = IpAddress::FromRaw(source);
  tuple.destination = IpAddress::FromRaw(destination);
  tuple.SetKeys(Tuple::KeysOf(ByteSwap(source_key), ByteSwap(destination_key),
                              static_cast<uint8_t>(protocol), Family::kIpv4, zone));
  return tuple;
}

std::optional<Tuple> MirrorIcmp(const Tuple& tuple) {
  Tuple out = tuple;
  out.source = tuple.destination;
  out.destination = tuple.source;
  const int answer = AnswerType(tuple.protocol, tuple.IcmpType());
  if (answer < 0) return std::nullopt;
  out.destination_key = IcmpKey(static_cast<uint8_t>(answer), tuple.IcmpCode());
  return out;
}

std::optional<Tuple> TupleOf(const ParsedPacket& packet) {
  if (!packet.l4_valid) return std::nullopt;
  if (HasPorts(packet.protocol)) return TupleOfPorts(packet);
  Tuple tuple;
  tuple.source = packet.source;
  tuple.destination = packet.destination;
  tuple.protocol = packet.protocol;
  tuple.family = packet.family;
  if (IsIcmp(packet.protocol)) {
    if (IsIcmpError(packet.family, packet.icmp_type)) return std::nullopt;
    tuple.source_key = packet.icmp_id;
    tuple.destination_key = IcmpKey(packet.icmp_type, packet.icmp_code);
  } else if (packet.protocol == kProtoGre) {
    tuple.destination_key = packet.gre_key;
  }
  return tuple;
}

bool HasPorts(uint8_t protocol) {
  switch (protocol) {
    case kProtoTcp:
    case kProtoUdp:
    case kProtoUdpLite:
    case kProtoSctp:
      return true;
    default:
      return false;
  }
}

bool IsIcmpError(Family family, uint8_t type) {
  if (family == Family::kIpv6) return type < 128;  // RFC 4443 2.1
  switch (type) {
    case kIcmpUnreachable:
    case kIcmpSourceQuench:
    case kIcmpRedirect:
    case kIcmpTimeExceeded:
    case kIcmpParameterProblem:
      return true;
    default:
      return false;
  }
}

bool QuotesPacket(const ParsedPacket& ip) {
  if (!ip.l4_valid || !IsIcmp(ip.protocol)) return false;
  return IsIcmpError(ip.family, ip.icmp_type) ||
         (ip.family == Family::kIpv6 && ip.icmp_type == kIcmpv6Redirect);
}

std::optional<QuotedPacket> ParseQuoted(const Packet& packet) {
  const ParsedPacket& ip = packet.ip;
  if (!QuotesPacket(ip)) return std::nullopt;
  uint32_t l3 = ip.l4_offset + uint32_t{sizeof(IcmpHeader)};
  const uint32_t end = ip.l3_offset + ip.l3_length;
  if (end > packet.length || l3 > end) return std::nullopt;
  if (!IsIcmpError(ip.family, ip.icmp_type)) {
    if (!IsCredibleRedirect(packet, l3)) return std::nullopt;
    l3 += kRedirectFixedPart + kRedirectedHeaderOption;
    if (l3 > end) return std::nullopt;
  }
  QuotedPacket quoted;
  quoted.tuple.family = ip.family;
  uint32_t l4 = 0;
  const bool found = ip.family == Family::kIpv4
                         ? ReadQuotedIpv4(packet, l3, end, &quoted.tuple, &l4)
                         : ReadQuotedIpv6(packet, l3, end, &quoted.tuple, &l4);
  if (!found || !ReadQuotedKeys(packet.data + l4, end - l4, &quoted.tuple)) return std::nullopt;
  quoted.l3_offset = static_cast<uint16_t>(l3);
  quoted.l4_offset = static_cast<uint16_t>(l4);
  return quoted;
}

std::string ToString(const Tuple& tuple) {
  std::string text = "src=" + ToString(tuple.family, tuple.source) +
                     " dst=" + ToString(tuple.family, tuple.destination);
  if (HasPorts(tuple.protocol)) {
    text += " sport=" + std::to_string(tuple.source_key) +
            " dport=" + std::to_string(tuple.destination_key);
  } else if (IsIcmp(tuple.protocol)) {
    text += " type=" + std::to_string(tuple.IcmpType()) +
            " code=" + std::to_string(tuple.IcmpCode()) + " id=" + std::to_string(tuple.source_key);
  } else if (tuple.protocol == kProtoGre) {
    char keys[40];
    std::snprintf(keys, sizeof(keys), " srckey=0x%x dstkey=0x%x", tuple.source_key,
                  tuple.destination_key);
    text += keys;
  }
  return text;
}

}  // namespace postern::net

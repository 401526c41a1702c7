#include "dataplane/route/icmp_error.h"

#include <algorithm>
#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/net/wire.h"

namespace postern::route {
namespace {

using net::Family;
using net::Packet;

constexpr uint32_t kEthernetLength = sizeof(net::EthernetHeader);
constexpr uint32_t kMaxIpv4Error = 576;   // RFC 1812 4.3.2.3
constexpr uint32_t kMaxIpv6Error = 1280;  // RFC 4443 2.4 (c)
constexpr uint8_t kDefaultTtl = 64;
constexpr uint8_t kTosMask = 0x1e;  // the TOS bits of RFC 1349, without precedence
constexpr uint8_t kPrecedenceInternetControl = 0xc0;  // RFC 1812 4.3.2.5
constexpr uint8_t kHighestKnownIcmpType = 18;

// Linux takes any ICMP type that isn't a query or an answer for an error.
bool IsIpv4Query(uint8_t type) {
  return type == net::kIcmpEchoReply || type == net::kIcmpEchoRequest ||
         (type >= net::kIcmpTimestampRequest && type <= kHighestKnownIcmpType);
}

bool IsOneHost(Family family, const net::IpAddress& address) {
  if (address.IsZero() || net::IsMulticast(family, address)) return false;
  return family == Family::kIpv6 || address.AsV4() != 0xffffffff;
}

// IPV6_ADDR_UNICAST: an IPv4 address in IPv6 (::ffff:0:0/96) doesn't have it.
bool IsUnicast(Family family, const net::IpAddress& address) {
  static constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return IsOneHost(family, address) &&
         (family == Family::kIpv4 ||
          !std::equal(kMapped.begin(), kMapped.end(), address.bytes.begin()));
}

// RFC 4443 2.4 (e.3): what a host must learn even about a multicast.
bool MayAnswerMulticast(const Packet& offending, const IcmpError& what) {
  constexpr uint8_t kUnknownOption = 2;
  if (offending.ip.family == Family::kIpv4) return false;
  return what.type == net::kIcmpv6PacketTooBig ||
         (what.type == net::kIcmpv6ParameterProblem && what.code == kUnknownOption);
}

bool MayAnswer(const Packet& offending, const IcmpError& what) {
  const net::ParsedPacket& ip = offending.ip;
  const bool v4 = ip.family == Family::kIpv4;
  const bool later = ip.fragment_offset != 0;
  if (later && v4) return false;
  if (!IsOneHost(ip.family, ip.source)) return false;
  const auto* ethernet = offending.At<net::EthernetHeader>(0);
  const bool group = net::IsMulticast(ip.family, ip.destination) ||
                     (v4 && ip.destination.AsV4() == 0xffffffff) ||
                     (offending.in_port != net::kNoPort && ethernet != nullptr &&
                      ethernet->destination.IsMulticast());
  if (group && !MayAnswerMulticast(offending, what)) return false;
  // What a later IPv6 fragment is part of doesn't show (is_ineligible).
  if (later || ip.protocol != (v4 ? net::kProtoIcmp : net::kProtoIcmpv6)) return true;
  // Cut short before the type, it may be an error.
  if (ip.L4Length() < 1) return false;
  const uint8_t type = *offending.L4();
  return v4 ? IsIpv4Query(type) : (type & 0x80) != 0;
}

// A frame for `l3_length` bytes of IP, with an Ethernet header that the neighbour table fills.
bool NewFrame(net::BufferPool* pool, Family family, uint32_t l3_length, Packet* packet) {
  Packet fresh;
  if (!pool->Allocate(kEthernetLength + l3_length, &fresh)) return false;
  std::memset(fresh.data, 0, kEthernetLength + l3_length);
  fresh.At<net::EthernetHeader>(0)->type =
      family == Family::kIpv4 ? net::kEtherTypeIpv4 : net::kEtherTypeIpv6;
  fresh.ip.l3_offset = kEthernetLength;
  *packet = fresh;
  return true;
}

struct Ipv4Fields {
  uint8_t tos = 0;
  uint16_t id = 0;
  uint16_t fragment = 0;
  uint8_t protocol = 0;
};

void PutIpv4(Packet* packet, const Ipv4Fields& fields, const net::IpAddress& source,
             const net::IpAddress& destination) {
  auto* header = packet->At<net::Ipv4Header>(kEthernetLength);
  header->version_ihl = 0x45;
  header->tos = fields.tos;
  header->total_length = static_cast<uint16_t>(packet->length - kEthernetLength);
  header->id = fields.id;
  header->fragment = fields.fragment;
  header->ttl = kDefaultTtl;
  header->protocol = fields.protocol;
  source.ToWire(Family::kIpv4, header->source);
  destination.ToWire(Family::kIpv4, header->destination);
  net::SetIpv4Checksum(header);
}

void PutIpv6(Packet* packet, uint8_t next_header, const net::IpAddress& source,
             const net::IpAddress& destination) {
  auto* header = packet->At<net::Ipv6Header>(kEthernetLength);
  header->version_class_flow = 0x60000000;
  header->payload_length =
      static_cast<uint16_t>(packet->length - kEthernetLength - sizeof(net::Ipv6Header));
  header->next_header = next_header;
  header->hop_limit = kDefaultTtl;
  source.ToWire(Family::kIpv6, header->source);
  destination.ToWire(Family::kIpv6, header->destination);
}

// Parses what was built and completes its checksum.
bool Finish(net::BufferPool* pool, Packet* packet) {
  if (net::Parse(packet).kind != net::FrameKind::kIp) {
    pool->Free(packet);
    return false;
  }
  net::SetTransportChecksum(packet);
  return true;
}

// The second word of the message. RFC 792: the pointer is its first byte.
uint32_t ArgumentWord(Family family, const IcmpError& what) {
  const bool pointer = family == Family::kIpv4 && what.type == net::kIcmpParameterProblem;
  return pointer ? what.argument << 24 : what.argument;
}

}  // namespace

bool MayAnswerWithError(const Packet& offending, const IcmpError& what) {
  return MayAnswer(offending, what);
}

bool BuildIcmpError(net::BufferPool* pool, const Packet& offending, const IcmpError& what,
                    const net::IpAddress& source, uint16_t ip_id, Packet* error) {
  if (!MayAnswer(offending, what)) return false;
  const net::ParsedPacket& ip = offending.ip;
  const bool v4 = ip.family == Family::kIpv4;
  const uint32_t header = v4 ? sizeof(net::Ipv4Header) : sizeof(net::Ipv6Header);
  const uint32_t room = (v4 ? kMaxIpv4Error : kMaxIpv6Error) - header - sizeof(net::IcmpHeader);
  const uint32_t quoted = std::min(ip.l3_length, room);
  Packet built;
  if (!NewFrame(pool, ip.family, header + sizeof(net::IcmpHeader) + quoted, &built)) {
    return false;
  }
  if (v4) {
    const uint8_t tos = static_cast<uint8_t>((ip.tos & kTosMask) | kPrecedenceInternetControl);
    PutIpv4(&built, {tos, ip_id, 0, net::kProtoIcmp}, source, ip.source);
  } else {
    PutIpv6(&built, net::kProtoIcmpv6, source, ip.source);
  }
  uint8_t* message = built.data + kEthernetLength + header;
  message[0] = what.type;
  message[1] = what.code;
  const auto argument = net::Be32::FromHost(ArgumentWord(ip.family, what));
  std::memcpy(message + 4, argument.bytes, sizeof(argument.bytes));
  std::memcpy(message + sizeof(net::IcmpHeader), offending.L3(), quoted);
  if (!Finish(pool, &built)) return false;
  *error = built;
  return true;
}

bool BuildTcpReset(net::BufferPool* pool, const Packet& offending, uint16_t /*ip_id*/,
                   Packet* reset) {
  const net::ParsedPacket& ip = offending.ip;
  const bool v4 = ip.family == Family::kIpv4;
  if (ip.fragment_offset != 0 || ip.protocol != net::kProtoTcp || !ip.l4_header) return false;
  if (!IsUnicast(ip.family, ip.source) || !IsUnicast(ip.family, ip.destination)) return false;
  const auto* tcp = offending.At<net::TcpHeader>(ip.l4_offset);
  if (tcp == nullptr || (tcp->flags & net::kTcpRst) != 0) return false;
  if (!offending.checksum_verified && !net::TransportChecksumValid(offending)) return false;

  const uint32_t header = v4 ? sizeof(net::Ipv4Header) : sizeof(net::Ipv6Header);
  Packet built;
  if (!NewFrame(pool, ip.family, header + sizeof(net::TcpHeader), &built)) return false;
  // Linux: DF set, and so the id may be 0 (RFC 6864).
  if (v4) {
    PutIpv4(&built, {0, 0, net::kIpv4DontFragment, net::kProtoTcp}, ip.destination, ip.source);
  } else {
    PutIpv6(&built, net::kProtoTcp, ip.destination, ip.source);
  }
  auto* out = built.At<net::TcpHeader>(kEthernetLength + header);
  out->source_port = tcp->destination_port;
  out->destination_port = tcp->source_port;
  out->offset_reserved = 5 << 4;
  out->flags = net::kTcpRst;
  if ((tcp->flags & net::kTcpAck) != 0) {  // RFC 9293 3.10.7.1
    out->sequence = tcp->acknowledgement;
  } else {
    const uint32_t syn = (tcp->flags & net::kTcpSyn) != 0 ? 1 : 0;
    const uint32_t fin = (tcp->flags & net::kTcpFin) != 0 ? 1 : 0;
    out->acknowledgement = tcp->sequence.Host() + syn + fin + ip.L4Length() - tcp->HeaderLength();
    out->flags = net::kTcpRst | net::kTcpAck;
  }
  if (!Finish(pool, &built)) return false;
  // skb_checksum_help, which does what nf_send_reset leaves to the card: never 0. IPv6's may be.
  if (v4 && out->checksum.Host() == 0) out->checksum = uint16_t{0xffff};
  *reset = built;
  return true;
}

}  // namespace postern::route

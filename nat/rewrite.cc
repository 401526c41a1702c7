#include "nat/rewrite.h"

#include <algorithm>
#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"

namespace postern::nat {

using net::Be16;
using net::Be32;
using net::Family;
using net::IpAddress;
using net::Manip;
using net::Packet;
using net::Tuple;

namespace {

constexpr uint32_t kQuotedBytes = 8;  // of transport that an ICMP error quotes at least (RFC 792)
constexpr uint32_t kSctpChecksumOffset = 8;
constexpr uint32_t kGreCallIdOffset = 6;

// The packet, or the one that it quotes, with the bytes that are known to be there.
struct Headers {
  uint8_t* l3 = nullptr;
  uint8_t* l4 = nullptr;
  uint32_t available = 0;  // bytes from l4
  Family family = Family::kIpv4;
  uint8_t protocol = 0;
};

uint8_t* AddressAt(const Headers& headers, Manip manip) {
  if (headers.family == Family::kIpv4) {
    auto* ipv4 = reinterpret_cast<net::Ipv4Header*>(headers.l3);
    return manip == Manip::kSource ? ipv4->source : ipv4->destination;
  }
  auto* ipv6 = reinterpret_cast<net::Ipv6Header*>(headers.l3);
  return manip == Manip::kSource ? ipv6->source : ipv6->destination;
}

// `checksum` after the address at `old_bytes` has become `now`.
uint16_t UpdateForAddress(uint16_t checksum, Family family, const uint8_t* old_bytes,
                          const IpAddress& now) {
  const int words = family == Family::kIpv4 ? 1 : 4;
  for (int i = 0; i < words; ++i) {
    const uint32_t before = reinterpret_cast<const Be32*>(old_bytes + 4 * i)->Host();
    checksum = net::UpdateChecksum32(checksum, before, now.Word(i));
  }
  return checksum;
}

// A translation of one half of a packet to that of `target`.
class Translation {
 public:
  Translation(const Headers& headers, Manip manip, const Tuple& target)
      : headers_(headers),
        manip_(manip),
        address_(manip == Manip::kSource ? target.source : target.destination),
        key_(manip == Manip::kSource ? target.source_key : target.destination_key),
        icmp_id_(target.source_key) {}

  // Transport before addresses, because its checksum covers the old ones. False, nothing
  // written: the transport header is too short.
  bool Transport() const;
  void Address() const;

 private:
  template <typename T>
  T* At(uint32_t offset) const {
    return reinterpret_cast<T*>(headers_.l4 + offset);
  }
  uint16_t ForAddress(uint16_t checksum) const {
    return UpdateForAddress(checksum, headers_.family, AddressAt(headers_, manip_), address_);
  }
  Be16* Port() const { return At<Be16>(manip_ == Manip::kSource ? 0 : 2); }

  bool Ports(uint32_t header_length, uint32_t checksum_offset) const;
  bool Udp() const;
  bool Sctp() const;
  bool Icmp() const;
  bool Icmpv6() const;
  bool Gre() const;

  const Headers& headers_;
  const Manip manip_;
  const IpAddress& address_;
  const uint16_t key_;
  const uint16_t icmp_id_;
};

bool Translation::Transport() const {
  switch (headers_.protocol) {
    case net::kProtoTcp:
      return Ports(sizeof(net::TcpHeader), offsetof(net::TcpHeader, checksum));
    case net::kProtoUdp:
    case net::kProtoUdpLite:
      return Udp();
    case net::kProtoSctp:
      return Sctp();
    case net::kProtoIcmp:
      return Icmp();
    case net::kProtoIcmpv6:
      return Icmpv6();
    case net::kProtoGre:
      return Gre();
    default:
      return true;
  }
}

void Translation::Address() const {
  uint8_t* at = AddressAt(headers_, manip_);
  if (headers_.family == Family::kIpv4) {
    auto* ipv4 = reinterpret_cast<net::Ipv4Header*>(headers_.l3);
    ipv4->checksum = UpdateForAddress(ipv4->checksum.Host(), Family::kIpv4, at, address_);
  }
  address_.ToWire(headers_.family, at);
}

// TCP. The checksum may lie beyond what an ICMP error quotes.
bool Translation::Ports(uint32_t header_length, uint32_t checksum_offset) const {
  if (headers_.available < kQuotedBytes) return false;
  const uint16_t before = Port()->Host();
  *Port() = key_;
  if (headers_.available < header_length) return true;
  Be16* checksum = At<Be16>(checksum_offset);
  *checksum = net::UpdateChecksum(ForAddress(checksum->Host()), before, key_);
  return true;
}

bool Translation::Udp() const {
  if (headers_.available < sizeof(net::UdpHeader)) return false;
  auto* udp = At<net::UdpHeader>(0);
  const uint16_t before = Port()->Host();
  *Port() = key_;
  // RFC 768: zero means that there is none, which UDP-Lite doesn't allow.
  if (udp->checksum.Host() == 0 && headers_.protocol == net::kProtoUdp) return true;
  const uint16_t sum = net::UpdateChecksum(ForAddress(udp->checksum.Host()), before, key_);
  udp->checksum = sum == 0 ? 0xffff : sum;
  return true;
}

bool Translation::Sctp() const {
  if (headers_.available < kQuotedBytes) return false;
  *Port() = key_;
  if (headers_.available < kSctpChecksumOffset + 4) return true;
  const auto crc = net::SctpChecksum(headers_.l4, headers_.available);
  std::copy(crc.begin(), crc.end(), headers_.l4 + kSctpChecksumOffset);
  return true;
}

bool Translation::Icmp() const {
  if (headers_.available < sizeof(net::IcmpHeader)) return false;
  auto* icmp = At<net::IcmpHeader>(0);
  // Only queries have an id there.
  const Tuple query{.destination_key = static_cast<uint16_t>(icmp->type << 8),
                    .protocol = net::kProtoIcmp};
  if (!net::Mirror(query)) return true;
  icmp->checksum = net::UpdateChecksum(icmp->checksum.Host(), icmp->id.Host(), icmp_id_);
  icmp->id = icmp_id_;
  return true;
}

bool Translation::Icmpv6() const {
  if (headers_.available < sizeof(net::IcmpHeader)) return false;
  auto* icmp = At<net::IcmpHeader>(0);
  uint16_t checksum = ForAddress(icmp->checksum.Host());
  if (icmp->type == net::kIcmpv6EchoRequest || icmp->type == net::kIcmpv6EchoReply) {
    checksum = net::UpdateChecksum(checksum, icmp->id.Host(), icmp_id_);
    icmp->id = icmp_id_;
  }
  icmp->checksum = checksum;
  return true;
}

// The call id of enhanced GRE is the receiver's (RFC 2637 4.1): there is none for the source.
bool Translation::Gre() const {
  if (headers_.available < kGreCallIdOffset + 2) return false;
  if (manip_ == Manip::kSource) return true;
  const unsigned version = headers_.l4[1] & 0x07;
  if (version > 1) return false;
  if (version == 1) *At<Be16>(kGreCallIdOffset) = key_;
  return true;
}

// What was parsed follows what was written.
void Follow(net::ParsedPacket* ip, Manip manip, const Tuple& target) {
  const bool source = manip == Manip::kSource;
  (source ? ip->source : ip->destination) = source ? target.source : target.destination;
}

void FollowTransport(net::ParsedPacket* ip, Manip manip, const Tuple& target) {
  if (net::HasPorts(ip->protocol)) {
    if (manip == Manip::kSource) {
      ip->source_port = target.source_key;
    } else {
      ip->destination_port = target.destination_key;
    }
  } else if (ip->protocol == net::kProtoIcmp || ip->protocol == net::kProtoIcmpv6) {
    if (!net::IsIcmpError(ip->family, ip->icmp_type)) ip->icmp_id = target.source_key;
  } else if (ip->protocol == net::kProtoGre && manip == Manip::kDestination) {
    ip->gre_key = target.destination_key;
  }
}

// The datagram lies within the frame, and its headers within the datagram.
bool Proven(const Packet& packet) {
  const net::ParsedPacket& ip = packet.ip;
  const uint32_t header =
      ip.family == Family::kIpv4 ? sizeof(net::Ipv4Header) : sizeof(net::Ipv6Header);
  return ip.l3_offset <= packet.length && ip.l3_length <= packet.length - ip.l3_offset &&
         ip.l3_length >= header && ip.l4_offset >= ip.l3_offset + header &&
         uint32_t{ip.l4_offset} - ip.l3_offset <= ip.l3_length;
}

Headers OuterHeaders(Packet* packet) {
  return {packet->L3(), packet->L4(), packet->ip.L4Length(), packet->ip.family,
          packet->ip.protocol};
}

// TCP or UDP over IPv4 with a whole header, as nearly every packet is: all sums at once.
bool HasWholePorts(const net::ParsedPacket& ip) {
  if (ip.family != Family::kIpv4 || ip.fragment_offset != 0) return false;
  return (ip.protocol == net::kProtoTcp && ip.L4Length() >= sizeof(net::TcpHeader)) ||
         (ip.protocol == net::kProtoUdp && ip.L4Length() >= sizeof(net::UdpHeader));
}

void RewritePorts(Packet* packet, Manip manip, const Tuple& target) {
  const bool source = manip == Manip::kSource;
  auto* header = reinterpret_cast<net::Ipv4Header*>(packet->L3());
  uint8_t* const address = source ? header->source : header->destination;
  uint8_t* const port = packet->L4() + (source ? 0 : 2);
  const IpAddress& to = source ? target.source : target.destination;
  const auto new_address = net::LoadRaw<uint32_t>(to.bytes.data());
  const uint16_t new_port = net::ByteSwap(source ? target.source_key : target.destination_key);
  const uint64_t addresses =
      uint64_t{static_cast<uint32_t>(~net::LoadRaw<uint32_t>(address))} + new_address;
  const uint64_t all = addresses + static_cast<uint16_t>(~net::LoadRaw<uint16_t>(port)) + new_port;
  std::memcpy(address, &new_address, sizeof(new_address));
  std::memcpy(port, &new_port, sizeof(new_port));
  const auto update = [](void* field, uint64_t delta) {
    const uint16_t now = net::ApplyDelta(net::LoadRaw<uint16_t>(field), delta);
    std::memcpy(field, &now, sizeof(now));
    return now;
  };
  update(&header->checksum, addresses);
  const bool udp = packet->ip.protocol == net::kProtoUdp;
  uint8_t* const field = packet->L4() + (udp ? offsetof(net::UdpHeader, checksum)
                                             : offsetof(net::TcpHeader, checksum));
  // RFC 768: zero says that there is none.
  if (udp && net::LoadRaw<uint16_t>(field) == 0) return;
  if (update(field, all) == 0 && udp) std::memset(field, 0xff, sizeof(uint16_t));
}

}  // namespace

bool Rewrite(Packet* packet, Manip manip, const Tuple& target) {
  if (!Proven(*packet)) return false;
  if (HasWholePorts(packet->ip)) {
    RewritePorts(packet, manip, target);
    FollowTransport(&packet->ip, manip, target);
    Follow(&packet->ip, manip, target);
    return true;
  }
  const Headers headers = OuterHeaders(packet);
  const Translation translation(headers, manip, target);
  if (packet->ip.fragment_offset == 0) {
    if (!translation.Transport()) return false;
    FollowTransport(&packet->ip, manip, target);
  }
  translation.Address();
  Follow(&packet->ip, manip, target);
  return true;
}

bool RewriteIcmpError(Packet* packet, Manip manip, const Tuple& target) {
  if (!Proven(*packet)) return false;
  const auto quoted = net::ParseQuoted(*packet);
  const auto reverse = net::Mirror(target);
  if (!quoted || !reverse || !net::TransportChecksumValid(*packet)) return false;
  // The gateway that it names would be nonsense on the other side.
  if (packet->ip.family == Family::kIpv4 && packet->ip.icmp_type == net::kIcmpRedirect) {
    return false;
  }

  const uint32_t end = packet->ip.l3_offset + packet->ip.l3_length;
  const Headers inner{packet->data + quoted->l3_offset, packet->data + quoted->l4_offset,
                      end - quoted->l4_offset, packet->ip.family, quoted->tuple.protocol};
  const Manip opposite = manip == Manip::kSource ? Manip::kDestination : Manip::kSource;
  const Translation quotation(inner, opposite, *reverse);
  if (!quotation.Transport()) return false;
  quotation.Address();

  const Headers outer = OuterHeaders(packet);
  Translation(outer, manip, target).Address();
  Follow(&packet->ip, manip, target);
  // The checksum was right and covers everything that has changed.
  net::SetTransportChecksum(packet);
  return true;
}

}  // namespace postern::nat

// Plain packets: what the established path takes.
//
// A plain packet is a TCP or UDP datagram in one piece, with a hop left, over IPv4 without options
// or IPv6 without extension headers, whose IP header Parse() would find right. Everything else
// about it (its transport header, its checksum) is still unknown. Reading it gives no ParsedPacket
// but its tuple at once: to almost all packets nothing else of the headers matters.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "dataplane/net/checksum.h"
#include "dataplane/net/tuple.h"
#include "dataplane/net/wire.h"

namespace postern::net {

inline constexpr uint32_t kPlainL3 = sizeof(EthernetHeader);

constexpr uint32_t LeastTransport(uint8_t protocol) {
  return protocol == kProtoTcp ? sizeof(TcpHeader) : sizeof(UdpHeader);
}

// `frame` begins with the Ethernet header, whose type says IPv4; `length` counts it. False, and
// *key is undefined: not plain.
inline bool ReadPlainIpv4(const uint8_t* frame, uint32_t length, Ipv4Key* key) {
  if (length < kPlainL3 + sizeof(Ipv4Header) + sizeof(UdpHeader)) return false;
  const uint8_t* header = frame + kPlainL3;
  const auto first = LoadRaw<uint64_t>(header);       // version … fragment
  const auto second = LoadRaw<uint64_t>(header + 8);  // TTL … source
  const auto destination = LoadRaw<uint32_t>(header + 16);
  constexpr uint64_t kVersionAndLength = 0x45;
  // All of the fragment field but DF and the reserved bit, as it lies in a little-endian word.
  constexpr uint64_t kFragmented = uint64_t{0xff3f} << 48;
  if ((first & (0xff | kFragmented)) != kVersionAndLength) return false;
  const auto ttl = static_cast<uint8_t>(second);
  const auto protocol = static_cast<uint8_t>(second >> 8);
  if (ttl <= 1 || (protocol != kProtoUdp && protocol != kProtoTcp)) return false;
  const uint32_t total = ByteSwap(static_cast<uint16_t>(first >> 16));
  if (total > length - kPlainL3 || total < sizeof(Ipv4Header) + LeastTransport(protocol)) {
    return false;
  }
  // The sum can't be 0, so it folds to 0xffff exactly where it is a multiple of that.
  if ((RawWords(first) + RawWords(second) + destination) % 0xffff != 0) return false;
  key->source = static_cast<uint32_t>(second >> 32);
  key->destination = destination;
  std::memcpy(&key->source_key, header + sizeof(Ipv4Header), 4);
  key->zone = 0;
  key->protocol = protocol;
  return true;
}

// The same for IPv6.
inline bool ReadPlainIpv6(const uint8_t* frame, uint32_t length, Tuple* tuple) {
  if (length < kPlainL3 + sizeof(Ipv6Header) + sizeof(UdpHeader)) return false;
  const auto* header = reinterpret_cast<const Ipv6Header*>(frame + kPlainL3);
  const uint8_t protocol = header->next_header;
  if (header->Version() != 6 || header->hop_limit <= 1 ||
      (protocol != kProtoUdp && protocol != kProtoTcp)) {
    return false;
  }
  const uint32_t payload = header->payload_length.Host();
  if (payload > length - kPlainL3 - sizeof(Ipv6Header) || payload < LeastTransport(protocol)) {
    return false;
  }
  const uint8_t* ports = frame + kPlainL3 + sizeof(Ipv6Header);
  std::memcpy(tuple->source.bytes.data(), header->source, 16);
  std::memcpy(tuple->destination.bytes.data(), header->destination, 16);
  tuple->source_key = ByteSwap(LoadRaw<uint16_t>(ports));
  tuple->destination_key = ByteSwap(LoadRaw<uint16_t>(ports + 2));
  tuple->protocol = protocol;
  tuple->family = Family::kIpv6;
  tuple->zone = 0;
  return true;
}

// All that Parse() finds in a plain packet, whose `data` and `length` are set. False, and
// packet->ip is undefined: the transport header's own lengths make no sense (not l4_valid).
template <Family kFamily>
inline bool ReadPlainHeaders(Packet* packet) {
  constexpr uint32_t kHeader = kFamily == Family::kIpv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  const uint8_t* l3 = packet->data + kPlainL3;
  // In place: a copy would wait for the stores of its parts.
  ParsedPacket& ip = packet->ip;
  static_assert(std::is_trivially_copyable_v<ParsedPacket>);
  std::memset(static_cast<void*>(&ip), 0, sizeof(ip));
  ip.family = kFamily;
  ip.l3_offset = kPlainL3;
  ip.l4_offset = kPlainL3 + kHeader;
  if constexpr (kFamily == Family::kIpv4) {
    const auto* header = reinterpret_cast<const Ipv4Header*>(l3);
    ip.protocol = header->protocol;
    ip.tos = header->tos;
    ip.ttl = header->ttl;
    ip.l3_length = header->total_length.Host();
    ip.source = IpAddress::FromWire(kFamily, header->source);
    ip.destination = IpAddress::FromWire(kFamily, header->destination);
    ip.dont_fragment = (header->fragment.Host() & kIpv4DontFragment) != 0;
    ip.fragment_id = header->id.Host();
  } else {
    const auto* header = reinterpret_cast<const Ipv6Header*>(l3);
    ip.protocol = header->next_header;
    ip.tos = header->TrafficClass();
    ip.ttl = header->hop_limit;
    ip.l3_length = kHeader + header->payload_length.Host();
    ip.source = IpAddress::FromWire(kFamily, header->source);
    ip.destination = IpAddress::FromWire(kFamily, header->destination);
  }
  const uint8_t* l4 = l3 + kHeader;
  const uint32_t length = ip.l3_length - kHeader;
  ip.source_port = ByteSwap(LoadRaw<uint16_t>(l4));
  ip.destination_port = ByteSwap(LoadRaw<uint16_t>(l4 + 2));
  uint32_t header_length = sizeof(UdpHeader);
  if (ip.protocol == kProtoTcp) {
    const auto* tcp = reinterpret_cast<const TcpHeader*>(l4);
    header_length = tcp->HeaderLength();
    if (header_length < sizeof(TcpHeader) || header_length > length) return false;
    ip.tcp_flags = tcp->flags;
  } else {
    const uint32_t said = reinterpret_cast<const UdpHeader*>(l4)->length.Host();
    if (said < sizeof(UdpHeader) || said > length) return false;
  }
  ip.payload_offset = static_cast<uint16_t>(ip.l4_offset + header_length);
  ip.l4_header = ip.l4_valid = true;
  return true;
}

}  // namespace postern::net

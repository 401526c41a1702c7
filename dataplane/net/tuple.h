// What identifies one direction of a connection, as in netfilter's
// nf_conntrack_tuple.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "dataplane/net/address.h"
#include "dataplane/net/packet.h"

namespace postern::net {

enum class Direction : uint8_t { kOriginal = 0, kReply = 1 };
constexpr Direction Opposite(Direction d) {
  return d == Direction::kOriginal ? Direction::kReply : Direction::kOriginal;
}

// Addresses and protocol keys. All bytes are significant (padding is zero), so
// tuples compare and hash as memory.
struct Tuple {
  IpAddress source;
  IpAddress destination;
  uint16_t source_key = 0;       // port; ICMP: query id; GRE: key; else 0. Host order.
  uint16_t destination_key = 0;  // port; ICMP: type << 8 | code; GRE: key; else 0. Host order.
  uint8_t protocol = 0;
  Family family = Family::kIpv4;
  uint16_t zone = 0;

  // The last five members, which are read and written as one word: in parts, who reads the whole
  // soon afterwards would have to wait.
  uint64_t Keys() const {
    uint64_t keys;
    std::memcpy(&keys, &source_key, sizeof(keys));
    return keys;
  }
  void SetKeys(uint64_t keys) { std::memcpy(&source_key, &keys, sizeof(keys)); }
  static constexpr uint64_t KeysOf(uint16_t source_key, uint16_t destination_key, uint8_t protocol,
                                   Family family, uint16_t zone) {
    return uint64_t{source_key} | uint64_t{destination_key} << 16 | uint64_t{protocol} << 32 |
           uint64_t{static_cast<uint8_t>(family)} << 40 | uint64_t{zone} << 48;
  }

  uint8_t IcmpType() const { return static_cast<uint8_t>(destination_key >> 8); }
  uint8_t IcmpCode() const { return static_cast<uint8_t>(destination_key); }
  // Word by word: a call of memcmp costs more than the comparison.
  friend bool operator==(const Tuple& a, const Tuple& b) {
    uint64_t differs = 0;
    for (size_t at = 0; at < sizeof(Tuple); at += sizeof(uint64_t)) {
      uint64_t left;
      uint64_t right;
      std::memcpy(&left, reinterpret_cast<const uint8_t*>(&a) + at, sizeof(left));
      std::memcpy(&right, reinterpret_cast<const uint8_t*>(&b) + at, sizeof(right));
      differs |= left ^ right;
    }
    return differs == 0;
  }
};
static_assert(sizeof(Tuple) == 40 && offsetof(Tuple, source_key) == 32);

// An IPv4 tuple in 16 bytes, all significant, as a connection table keeps it. The first 12 stand as
// they do in a packet without IP options: addresses, then TCP's or UDP's ports (an ICMP id, type
// and code in their places), in wire order.
struct alignas(16) Ipv4Key {
  uint32_t source = 0;
  uint32_t destination = 0;
  uint16_t source_key = 0;
  uint16_t destination_key = 0;
  uint16_t zone = 0;
  uint16_t protocol = 0;

  Ipv4Key() = default;
  explicit Ipv4Key(const Tuple& tuple)
      : source_key(ByteSwap(tuple.source_key)),
        destination_key(ByteSwap(tuple.destination_key)),
        zone(tuple.zone),
        protocol(tuple.protocol) {
    std::memcpy(&source, tuple.source.bytes.data(), sizeof(source));
    std::memcpy(&destination, tuple.destination.bytes.data(), sizeof(destination));
  }
  Tuple ToTuple() const;
};
static_assert(sizeof(Ipv4Key) == 16);

// The tuple of the answers to one that has no ICMP type: both ends change places.
inline Tuple MirrorEnds(const Tuple& tuple) {
  Tuple out;
  out.source = tuple.destination;
  out.destination = tuple.source;
  const uint64_t keys = tuple.Keys();
  out.SetKeys((keys & ~uint64_t{0xffff'ffff}) | std::rotl(static_cast<uint32_t>(keys), 16));
  return out;
}
std::optional<Tuple> MirrorIcmp(const Tuple& tuple);

// The tuple of the answers to `tuple`. Nothing for an ICMP type that has no
// answer (netfilter: invert_tuple fails and the packet is INVALID).
inline std::optional<Tuple> Mirror(const Tuple& tuple) {
  const bool icmp = tuple.protocol == kProtoIcmp || tuple.protocol == kProtoIcmpv6;
  return icmp ? MirrorIcmp(tuple) : MirrorEnds(tuple);
}

// The tuple of a parsed packet whose ports are there.
inline Tuple TupleOfPorts(const ParsedPacket& packet) {
  Tuple tuple;
  tuple.source = packet.source;
  tuple.destination = packet.destination;
  tuple.SetKeys(Tuple::KeysOf(packet.source_port, packet.destination_port, packet.protocol,
                              packet.family, 0));
  return tuple;
}

// The tuple of a parsed packet. Nothing where the transport header is cut short,
// for later fragments and for ICMP errors.
std::optional<Tuple> TupleOf(const ParsedPacket& packet);

// True for TCP, UDP, UDP-Lite and SCTP: the protocols that are told apart by ports. Rules see
// DCCP's ports too, but conntrack and NAT don't: Linux 6.16 gave up tracking it.
bool HasPorts(uint8_t protocol);

// True for the ICMP (or ICMPv6) types that quote a packet.
bool IsIcmpError(Family family, uint8_t type);

// True for an ICMP error, and for an ICMPv6 redirect, which may quote a packet too.
bool QuotesPacket(const ParsedPacket& ip);

// The tuple of the packet that an ICMP error quotes, and where the quoted headers
// stand (offsets from the frame's start). Nothing where too little is quoted.
struct QuotedPacket {
  Tuple tuple;
  uint16_t l3_offset = 0;
  uint16_t l4_offset = 0;
};
std::optional<QuotedPacket> ParseQuoted(const Packet& packet);

// "src=192.0.2.1 dst=198.51.100.2 sport=1234 dport=80", as conntrack -L prints it.
std::string ToString(const Tuple& tuple);

}  // namespace postern::net

// The established path: packets whose way is known, in stages over a burst.
//
// Theory of operation. Every packet of an established connection meets the same rules, the same
// route, the same translation and the same neighbour as the one before it. So when the slow path
// (hooks.cc) has sent a packet, it leaves a Shortcut in the connection (ctrack/connection.h), one a
// direction: what to write into the packet, which path's counter to raise, where to send it. A
// burst is then handled in stages, so that waiting for memory overlaps:
//
//   recognise   plain packets (net/plain.h) and their tuples, straight from the frame; their hashes,
//               and their buckets are asked for
//   look up     the buckets, and the connections' lines are asked for; who has nobody is known
//   resolve     the connections, eight at a time, while the others come
//   follow      each in turn: compare one number, prove the transport checksum, let the protocol
//               look, rewrite, count, send. Whatever is unusual goes the slow way at its turn.
//
// The one number (ShortcutKey) holds the pipeline's epoch, which ends with each snapshot; the
// connection's status bits; the port that the packet came in by; and its TCP flags where a rule has
// read them. After a change of rules alone a shortcut is right but for its path, and is renewed
// where the new rules can't tell this connection from one that has walked them (renewal.cc). A
// change among the neighbours concerns the next hops, each of which is looked up again when it is
// next used.
//
// Invariants: packets of a burst are handled in their order. Until a packet is known to be able to
// follow its shortcut nothing is written to it or to its connection, so the slow path sees it as it
// came. What both do to packet, connection and counters is the same (tests/pipeline's equivalence
// test compares them).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "ctrack/connection.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"

namespace postern::pipeline {

// What a shortcut's key must be. `tcp_flags` 0 where no rule on the way reads them.
constexpr uint64_t ShortcutKey(uint32_t epoch, uint32_t status, net::PortId in_port,
                               uint8_t tcp_flags) {
  return uint64_t{epoch} | uint64_t{static_cast<uint16_t>(status)} << 32 |
         uint64_t{static_cast<uint8_t>(in_port)} << 48 | uint64_t{tcp_flags} << 56;
}

// One less in the TTL's place of its 16-bit word.
inline constexpr uint64_t kTtlDelta = 0xfffe;

// The Internet checksum of a plain packet's transport is right, or there is none.
inline bool PlainChecksumValid(uint64_t addresses, uint8_t protocol, const uint8_t* l4,
                               uint32_t length) {
  if (protocol == net::kProtoUdp &&
      net::LoadRaw<uint16_t>(l4 + offsetof(net::UdpHeader, checksum)) == 0) {
    return true;
  }
  // The pseudo header's last words: protocol and length.
  const uint64_t rest =
      uint64_t{net::ByteSwap(static_cast<uint16_t>(length))} + (uint64_t{protocol} << 8);
  return (addresses + rest + net::RawSum(l4, length)) % 0xffff == 0;
}

// TCP's or UDP's checksum after words have changed by `delta` in all.
inline void AddToTransportSum(uint8_t* l4, uint8_t protocol, uint64_t delta) {
  const bool udp = protocol == net::kProtoUdp;
  uint8_t* field =
      l4 + (udp ? offsetof(net::UdpHeader, checksum) : offsetof(net::TcpHeader, checksum));
  const auto before = net::LoadRaw<uint16_t>(field);
  if (udp && before == 0) return;  // RFC 768: there is none
  uint16_t after = net::ApplyDelta(before, delta);
  if (udp && after == 0) after = 0xffff;
  std::memcpy(field, &after, sizeof(after));
}

// An IPv4 packet becomes one that `answers` answer: its addresses and ports are theirs, swapped;
// its checksums follow and its TTL is one less.
inline void TranslateIpv4(uint8_t* l3, uint8_t protocol, const ctrack::WireEnds& answers) {
  auto* ip = reinterpret_cast<net::Ipv4Header*>(l3);
  uint8_t* l4 = l3 + sizeof(net::Ipv4Header);
  // 2^16 is 1 modulo 0xffff, so words of any size add up to the same sum.
  const auto old_addresses = net::LoadRaw<uint64_t>(ip->source);
  const auto new_addresses = net::LoadRaw<uint64_t>(&answers.source);
  const auto old_ports = net::LoadRaw<uint32_t>(l4);
  const auto new_ports = net::LoadRaw<uint32_t>(&answers.source_port);
  const uint64_t addresses = net::RawWords(~old_addresses) + net::RawWords(new_addresses);
  const uint64_t ports = uint64_t{static_cast<uint32_t>(~old_ports)} + new_ports;
  const uint64_t swapped_addresses = std::rotl(new_addresses, 32);
  const uint32_t swapped_ports = std::rotl(new_ports, 16);
  std::memcpy(ip->source, &swapped_addresses, 8);
  std::memcpy(l4, &swapped_ports, 4);
  const uint16_t header =
      net::ApplyDelta(net::LoadRaw<uint16_t>(&ip->checksum), addresses + kTtlDelta);
  std::memcpy(&ip->checksum, &header, sizeof(header));
  --ip->ttl;
  AddToTransportSum(l4, protocol, addresses + ports);
}

// The same for an IPv6 packet, which has no checksum of its own.
inline void TranslateIpv6(uint8_t* l3, uint8_t protocol, const net::Tuple& answers) {
  auto* ip = reinterpret_cast<net::Ipv6Header*>(l3);
  uint8_t* l4 = l3 + sizeof(net::Ipv6Header);
  const auto old_ports = net::LoadRaw<uint32_t>(l4);
  const uint32_t new_ports = uint32_t{net::ByteSwap(answers.destination_key)} |
                             uint32_t{net::ByteSwap(answers.source_key)} << 16;
  uint64_t delta = uint64_t{static_cast<uint32_t>(~old_ports)} + new_ports;
  for (size_t at = offsetof(net::Ipv6Header, source); at < sizeof(net::Ipv6Header); at += 8) {
    delta += net::RawWords(~net::LoadRaw<uint64_t>(l3 + at));
  }
  for (const net::IpAddress& address : {answers.source, answers.destination}) {
    for (const uint64_t word : address.Words()) delta += net::RawWords(word);
  }
  std::memcpy(ip->source, answers.destination.bytes.data(), sizeof(ip->source));
  std::memcpy(ip->destination, answers.source.bytes.data(), sizeof(ip->destination));
  std::memcpy(l4, &new_ports, sizeof(new_ports));
  --ip->hop_limit;
  AddToTransportSum(l4, protocol, delta);
}

inline void LowerTtl(net::Ipv4Header* ip) {
  const uint16_t header = net::ApplyDelta(net::LoadRaw<uint16_t>(&ip->checksum), kTtlDelta);
  std::memcpy(&ip->checksum, &header, sizeof(header));
  --ip->ttl;
}

}  // namespace postern::pipeline

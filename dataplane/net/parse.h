// From bytes to ParsedPacket: the only place that reads a frame for the first time.
#pragma once

#include <optional>

#include "dataplane/net/packet.h"
#include "dataplane/net/verdict.h"

namespace postern::net {

enum class FrameKind : uint8_t { kIp, kArp, kInvalid };

struct ParseResult {
  FrameKind kind = FrameKind::kInvalid;
  DropReason reason = DropReason::kNone;  // why kInvalid
};

// Reads Ethernet, IPv4 or IPv6 (extension headers to a depth of 8) and the
// transport header into packet->ip. Checks what ip_rcv and ipv6_rcv check:
// version, lengths, the IPv4 header checksum. A frame longer than its datagram is
// padding; a shorter one is truncated. A transport header that is cut short or
// inconsistent leaves ip.l4_valid false: the rules still see such a packet, and
// conntrack calls it INVALID.
ParseResult Parse(Packet* packet);

// Reads the datagram again from packet->ip.l3_offset, after reassembly or rewriting of lengths.
ParseResult ParseIp(Packet* packet, uint16_t ether_type);

// The transport header again, after ports or flags were rewritten.
void ParseTransport(Packet* packet);

// Walks IPv6 extension headers from `offset`, `next` being the first one's number,
// to the transport header or a later fragment's payload. False when the chain is
// cut short, deeper than 8 headers or has two fragment headers. AH counts as an extension header,
// as in netfilter; ESP, mobility and "no next header" (59) end the chain.
struct Ipv6Chain {
  uint8_t protocol = 0;
  uint32_t offset = 0;           // of the transport header
  uint32_t fragment_offset = 0;  // where a fragment header stands, or 0
  bool later_fragment = false;   // the fragment header's offset isn't 0
  bool source_routed = false;    // a routing header of type 0
};
bool WalkIpv6Chain(const Packet& packet, uint8_t next, uint32_t offset, uint32_t end,
                   Ipv6Chain* chain);

// The tuple key of a GRE header of which `available` bytes are there: the call id of enhanced GRE
// (RFC 2637 4.1), 0 for any other. Nothing for enhanced GRE that carries no PPP, which netfilter
// calls INVALID.
std::optional<uint16_t> GreKey(const uint8_t* gre, uint32_t available);

}  // namespace postern::net

// A TCP segment as the window tracker reads it, and its options.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "ctrack/tcp_table.h"
#include "dataplane/net/packet.h"

namespace postern::ctrack {

// Sequence numbers compare modulo 2^32 (RFC 9293 3.4).
constexpr bool Before(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }
constexpr bool After(uint32_t a, uint32_t b) { return Before(b, a); }

struct TcpSegment {
  uint32_t seq = 0;
  uint32_t ack = 0;
  uint32_t end = 0;     // seq + payload, SYN and FIN counting one each
  uint16_t window = 0;  // as it stands in the header, unscaled
  uint8_t flags = 0;
  TcpEvent event = TcpEvent::kNone;
  std::span<const uint8_t> options;

  bool Has(uint8_t flag) const { return (flags & flag) != 0; }
};

// `length` bytes of TCP, header and payload, of which the header says no more than there are.
inline TcpSegment ReadSegment(const net::TcpHeader* header, uint32_t length) {
  TcpSegment segment;
  segment.seq = header->sequence.Host();
  segment.ack = header->acknowledgement.Host();
  segment.window = header->window.Host();
  segment.flags = header->flags;
  segment.event = EventOf(header->flags);
  const uint32_t header_length = header->HeaderLength();
  segment.end = segment.seq + (length - header_length) + (segment.Has(net::kTcpSyn) ? 1 : 0) +
                (segment.Has(net::kTcpFin) ? 1 : 0);
  segment.options = {reinterpret_cast<const uint8_t*>(header + 1),
                     header_length - sizeof(net::TcpHeader)};
  return segment;
}

// `packet` has a valid TCP header (ip.l4_valid).
inline TcpSegment ReadSegment(const net::Packet& packet) {
  return ReadSegment(reinterpret_cast<const net::TcpHeader*>(packet.L4()), packet.ip.L4Length());
}

// What nearly every segment of an established connection carries: nothing, or two NOPs and a
// timestamp.
inline bool AtMostTimestamp(std::span<const uint8_t> options) {
  constexpr uint8_t kAlignedTimestamp[] = {1, 1, 8, 10};
  return options.empty() || (options.size() == 12 && std::memcmp(options.data(), kAlignedTimestamp,
                                                                 sizeof(kAlignedTimestamp)) == 0);
}

// What a SYN says of its sender. `present`: there were options at all; netfilter keeps what it
// knew before where a segment has none.
struct SynOptions {
  bool present = false;
  bool sack_permitted = false;
  bool window_scale = false;
  uint8_t scale = 0;  // 0..14
};
SynOptions ReadSynOptions(std::span<const uint8_t> options);

// The highest right edge among the SACK blocks and `ack` (RFC 2018).
uint32_t HighestSack(std::span<const uint8_t> options, uint32_t ack);

}  // namespace postern::ctrack

#include "ctrack/tcp_segment.h"

#include <algorithm>
#include <cstring>

#include "dataplane/net/byte_order.h"

namespace postern::ctrack {

namespace {

constexpr uint8_t kOptionEnd = 0;
constexpr uint8_t kOptionNop = 1;
constexpr uint8_t kOptionWindowScale = 3;
constexpr uint8_t kOptionSackPermitted = 4;
constexpr uint8_t kOptionSack = 5;
constexpr uint8_t kMaxScale = 14;  // RFC 7323 2.3

// Calls `visit(kind, body)` for every option until it says false, the list ends or an option's
// length can't be.
template <typename Visit>
void ForEachOption(std::span<const uint8_t> options, Visit visit) {
  while (!options.empty()) {
    const uint8_t kind = options[0];
    if (kind == kOptionEnd) return;
    if (kind == kOptionNop) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2) return;
    const uint8_t length = options[1];
    if (length < 2 || length > options.size()) return;
    if (!visit(kind, options.subspan(2, length - 2U))) return;
    options = options.subspan(length);
  }
}

// What nearly every segment of an established connection carries: two NOPs and a timestamp.
bool OnlyTimestamp(std::span<const uint8_t> options) {
  constexpr uint8_t kAlignedTimestamp[] = {kOptionNop, kOptionNop, 8, 10};
  return options.size() == 12 &&
         std::memcmp(options.data(), kAlignedTimestamp, sizeof(kAlignedTimestamp)) == 0;
}

}  // namespace

TcpSegment ReadSegment(const net::Packet& packet) {
  const auto* header = reinterpret_cast<const net::TcpHeader*>(packet.L4());
  TcpSegment segment;
  segment.seq = header->sequence.Host();
  segment.ack = header->acknowledgement.Host();
  segment.window = header->window.Host();
  segment.flags = header->flags;
  segment.event = EventOf(header->flags);
  const uint32_t header_length = header->HeaderLength();
  segment.end = segment.seq + (packet.ip.L4Length() - header_length) +
                (segment.Has(net::kTcpSyn) ? 1 : 0) + (segment.Has(net::kTcpFin) ? 1 : 0);
  segment.options = {packet.L4() + sizeof(net::TcpHeader), header_length - sizeof(net::TcpHeader)};
  return segment;
}

SynOptions ReadSynOptions(std::span<const uint8_t> options) {
  SynOptions out;
  out.present = !options.empty();
  ForEachOption(options, [&out](uint8_t kind, std::span<const uint8_t> body) {
    if (kind == kOptionSackPermitted && body.empty()) out.sack_permitted = true;
    if (kind == kOptionWindowScale && body.size() == 1) {
      out.window_scale = true;
      out.scale = std::min(body[0], kMaxScale);
    }
    return true;
  });
  return out;
}

uint32_t HighestSack(std::span<const uint8_t> options, uint32_t ack) {
  if (options.empty() || OnlyTimestamp(options)) return ack;
  uint32_t highest = ack;
  ForEachOption(options, [&highest](uint8_t kind, std::span<const uint8_t> body) {
    constexpr size_t kBlock = 8;
    if (kind != kOptionSack || body.empty() || body.size() % kBlock != 0) return true;
    for (size_t at = 0; at < body.size(); at += kBlock) {
      const uint32_t right = reinterpret_cast<const net::Be32*>(&body[at + 4])->Host();
      if (After(right, highest)) highest = right;
    }
    return false;
  });
  return highest;
}

}  // namespace postern::ctrack

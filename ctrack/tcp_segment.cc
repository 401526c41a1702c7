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

}  // namespace

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
  if (AtMostTimestamp(options)) return ack;
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

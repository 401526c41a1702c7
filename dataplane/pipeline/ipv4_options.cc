#include "dataplane/pipeline/ipv4_options.h"

#include <algorithm>
#include <utility>

#include "dataplane/net/checksum.h"

namespace postern::pipeline {
namespace {

constexpr uint8_t kEnd = 0;
constexpr uint8_t kNoop = 1;
constexpr uint8_t kRecordRoute = 7;
constexpr uint8_t kTimestamp = 68;
constexpr uint8_t kLooseRoute = 131;
constexpr uint8_t kCipso = 134;
constexpr uint8_t kStrictRoute = 137;
constexpr uint8_t kRouterAlert = 148;

// What may be there once.
struct Seen {
  bool source_route = false;
  bool record_route = false;
  bool timestamp = false;
};

// The place in a list of routes (RFC 791) or times that is next to be filled; behind the end of a
// full list. The offset of what is wrong with it, 0 if nothing is.
uint8_t WrongInList(const uint8_t* option, uint8_t size, uint8_t first, uint8_t entry) {
  constexpr uint8_t kAtPointer = 2;
  const unsigned pointer = option[kAtPointer];
  if (pointer < first) return kAtPointer;
  return pointer <= size && pointer + entry - 1U > size ? kAtPointer : 0;
}

uint8_t WrongInTimestamp(const uint8_t* option, uint8_t size) {
  constexpr uint8_t kMinimum = 4, kFirst = 5;
  constexpr uint8_t kWithAddress = 1, kPrespecified = 3;
  if (size < kMinimum) return 1;
  const uint8_t flag = option[3] & 0x0f;
  const bool addresses = flag == kWithAddress || flag == kPrespecified;
  // A full list counts those who found no room, up to 15.
  if (option[2] > size && flag != kPrespecified && option[3] >> 4 == 15) return 3;
  return WrongInList(option, size, kFirst, addresses ? 8 : 4);
}

// The offset within an option of what is wrong with it; nothing if it is right. As
// __ip_options_compile judges.
std::optional<uint8_t> WrongIn(const uint8_t* option, uint8_t size, Seen* seen) {
  constexpr uint8_t kListMinimum = 3, kFirstRoute = 4, kAddress = 4;
  uint8_t wrong = 0;
  bool again = false;
  switch (option[0]) {
    case kLooseRoute:
    case kStrictRoute:
      wrong = size < kListMinimum ? 1 : option[2] < kFirstRoute ? 2 : 0;
      if (wrong == 0) again = std::exchange(seen->source_route, true);
      break;
    case kRecordRoute:
      again = std::exchange(seen->record_route, true);
      wrong = size < kListMinimum ? 1 : WrongInList(option, size, kFirstRoute, kAddress);
      break;
    case kTimestamp:
      again = std::exchange(seen->timestamp, true);
      wrong = WrongInTimestamp(option, size);
      break;
    case kRouterAlert:
      wrong = size < 4 ? 1 : 0;  // RFC 2113 2.1
      break;
    case kCipso:
      wrong = size < 8 ? 1 : 2;  // no domain of interpretation is known here
      break;
    default:
      break;
  }
  if (again) return 0;
  return wrong != 0 ? std::optional(wrong) : std::nullopt;
}

}  // namespace

Ipv4OptionsView ReadIpv4Options(const net::Packet& packet) {
  Ipv4OptionsView view;
  if (packet.ip.family != net::Family::kIpv4 || !packet.ip.has_options) return view;
  const auto* header = packet.At<net::Ipv4Header>(packet.ip.l3_offset);
  if (header == nullptr) return view;
  const auto* bytes = reinterpret_cast<const uint8_t*>(header);
  const uint8_t end = static_cast<uint8_t>(header->HeaderLength());
  Seen seen;
  for (uint8_t at = sizeof(net::Ipv4Header); at < end && bytes[at] != kEnd;) {
    if (bytes[at] == kNoop) {
      ++at;
      continue;
    }
    const uint8_t left = static_cast<uint8_t>(end - at);
    if (left < 2 || bytes[at + 1] < 2 || bytes[at + 1] > left) {
      view.wrong_at = at;
      return view;
    }
    if (const auto wrong = WrongIn(bytes + at, bytes[at + 1], &seen)) {
      view.wrong_at = static_cast<uint8_t>(at + *wrong);
      return view;
    }
    at = static_cast<uint8_t>(at + bytes[at + 1]);
  }
  view.source_route = seen.source_route;
  return view;
}

void BlankBehindEnd(net::Packet* packet) {
  auto* header = packet->At<net::Ipv4Header>(packet->ip.l3_offset);
  auto* bytes = reinterpret_cast<uint8_t*>(header);
  const uint32_t end = header->HeaderLength();
  uint32_t at = sizeof(net::Ipv4Header);
  while (at < end && bytes[at] != kEnd) at += bytes[at] == kNoop ? 1U : bytes[at + 1];
  const bool blank = std::all_of(bytes + std::min(at, end), bytes + end,
                                 [](uint8_t byte) { return byte == kEnd; });
  if (blank) return;
  std::fill(bytes + at, bytes + end, kEnd);
  net::SetIpv4Checksum(header);
}

}  // namespace postern::pipeline

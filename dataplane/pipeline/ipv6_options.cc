#include "dataplane/pipeline/ipv6_options.h"

#include "dataplane/net/wire.h"

namespace postern::pipeline {
namespace {

constexpr uint8_t kPad1 = 0;
constexpr uint8_t kPadN = 1;
constexpr uint8_t kRouterAlert = 5;  // RFC 2711
constexpr uint8_t kCalipso = 7;      // RFC 5570
constexpr uint8_t kIoam = 0x31;      // RFC 9486
constexpr uint8_t kJumbo = 0xc2;     // RFC 2675
constexpr unsigned kMaxPadding = 7;  // more aligns nothing (RFC 4942 2.1.9.5)
constexpr unsigned kMaxOptions = 8;  // net.ipv6.max_hbh_opts_number

constexpr uint8_t kHeaderField = 0, kUnknownOption = 2;  // RFC 4443 3.4

constexpr HopByHopView kBad{false, std::nullopt};
HopByHopView BadAt(uint8_t code, uint32_t pointer) {
  return {false, HopByHopView::Problem{code, pointer}};
}

// RFC 8200 4.2: the type's two highest bits say what to do with an option that nobody knows.
HopByHopView Unknown(uint8_t type, uint32_t at, bool group) {
  switch (type >> 6) {
    case 0:
      return {};
    case 1:
      return kBad;
    case 3:
      if (group) return kBad;
      break;
    default:
      break;
  }
  return BadAt(kUnknownOption, at);
}

// A jumbogram is larger than any frame here, so that one is wrong in any case.
HopByHopView Jumbo(const uint8_t* option, uint32_t at, bool has_length) {
  if (option[1] != 4 || (at & 3) != 2) return kBad;
  const auto* length = reinterpret_cast<const net::Be32*>(option + 2);
  if (length->Host() <= 0xffff) return BadAt(kHeaderField, at + 2);
  return has_length ? BadAt(kHeaderField, at) : kBad;
}

bool AllZero(const uint8_t* bytes, unsigned size) {
  for (unsigned i = 0; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

HopByHopView ReadOption(const uint8_t* header, uint32_t at, bool group) {
  const uint8_t* option = header + at;
  switch (option[0]) {
    case kRouterAlert:
      return option[1] == 2 ? HopByHopView{} : kBad;
    case kIoam:
      return (at & 3) == 0 ? HopByHopView{} : kBad;
    case kJumbo: {
      const auto* fixed = reinterpret_cast<const net::Ipv6Header*>(header);
      return Jumbo(option, at, fixed->payload_length.Host() != 0);
    }
    case kCalipso:
      return kBad;  // no domain of interpretation is known here
    default:
      return Unknown(option[0], at, group);
  }
}

}  // namespace

HopByHopView ReadHopByHop(const net::Packet& packet) {
  const net::ParsedPacket& ip = packet.ip;
  if (ip.family != net::Family::kIpv6 || !ip.has_options) return {};
  const auto* fixed = packet.At<net::Ipv6Header>(ip.l3_offset);
  if (fixed == nullptr || fixed->next_header != net::kProtoHopByHop) return {};
  // The parser has found the whole header.
  const uint8_t* header = packet.L3();
  const uint32_t end =
      uint32_t{sizeof(net::Ipv6Header)} + (uint32_t{header[sizeof(net::Ipv6Header) + 1]} + 1) * 8;
  const bool group = net::IsMulticast(ip.family, ip.destination);
  unsigned padding = 0, options = 0;
  for (uint32_t at = sizeof(net::Ipv6Header) + 2; at < end;) {
    if (header[at] == kPad1) {
      if (++padding > kMaxPadding) return kBad;
      ++at;
      continue;
    }
    if (end - at < 2) return kBad;
    const uint32_t size = uint32_t{header[at + 1]} + 2;
    if (size > end - at) return kBad;
    if (header[at] == kPadN) {
      padding += size;
      if (padding > kMaxPadding || !AllZero(header + at + 2, size - 2)) return kBad;
    } else {
      if (++options > kMaxOptions) return kBad;
      padding = 0;
      if (HopByHopView view = ReadOption(header, at, group); !view.good) return view;
    }
    at += size;
  }
  return {};
}

}  // namespace postern::pipeline

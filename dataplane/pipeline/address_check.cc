#include "dataplane/pipeline/address_check.h"

namespace postern::pipeline {
namespace {

using net::DropReason;
using net::Family;

DropReason CheckV4(const net::ParsedPacket& ip) {
  constexpr uint8_t kIgmp = 2;
  if (net::IsOrdinaryIpv4(ip.source) && net::IsOrdinaryIpv4(ip.destination)) {
    return DropReason::kNone;
  }
  const uint32_t source = ip.source.AsV4();
  const uint32_t destination = ip.destination.AsV4();
  if (net::IsMulticast(ip.family, ip.source) || source == 0xffffffff) {
    return DropReason::kMartianSource;
  }
  if (net::IsMulticast(ip.family, ip.destination)) {
    // IGMP queriers may be without an address (RFC 4541 2.1.1), and what stays on the link anyway.
    const bool stays = destination >> 8 == 0xe00000 || ip.protocol == kIgmp;
    const bool nobody = ip.source.IsZero() && !stays;
    return nobody || net::IsLoopback(ip.family, ip.source) ? DropReason::kMartianSource
                                                           : DropReason::kNone;
  }
  // A DHCP client's first packet: 0.0.0.0 to 255.255.255.255.
  if (destination == 0xffffffff || (source == 0 && destination == 0)) {
    return net::IsLoopback(ip.family, ip.source) ? DropReason::kMartianSource : DropReason::kNone;
  }
  if (ip.source.IsZero()) return DropReason::kMartianSource;
  if (ip.destination.IsZero()) return DropReason::kMartianDestination;
  if (net::IsLoopback(ip.family, ip.destination)) return DropReason::kMartianDestination;
  if (net::IsLoopback(ip.family, ip.source)) return DropReason::kMartianSource;
  return DropReason::kNone;
}

}  // namespace

DropReason CheckOnArrival(const net::ParsedPacket& ip) {
  if (ip.family == Family::kIpv4) return DropReason::kNone;
  if (net::IsMulticast(ip.family, ip.source) || net::IsLoopback(ip.family, ip.source)) {
    return DropReason::kMartianSource;
  }
  if (net::IsLoopback(ip.family, ip.destination)) return DropReason::kMartianDestination;
  if (net::IsMulticast(ip.family, ip.destination)) {
    // RFC 4291 2.7: scopes 0 (reserved) and 1 (interface-local) never come over a wire.
    const uint8_t scope = ip.destination.bytes[1] & 0x0f;
    if (scope <= 1) return DropReason::kMartianDestination;
  }
  return DropReason::kNone;
}

DropReason CheckOnRouting(const net::ParsedPacket& ip) {
  return ip.family == Family::kIpv4 ? CheckV4(ip) : DropReason::kNone;
}

}  // namespace postern::pipeline

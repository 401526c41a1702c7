#include "dataplane/pipeline/address_check.h"

namespace postern::pipeline {
namespace {

using net::DropReason;
using net::Family;

DropReason CheckV4(const net::ParsedPacket& ip, bool local_source) {
  const uint32_t source = ip.source.AsV4();
  const uint32_t destination = ip.destination.AsV4();
  const auto is_zero_net = [](uint32_t a) { return (a >> 24) == 0; };
  if (net::IsMulticast(ip.family, ip.source) || source == 0xffffffff) {
    return DropReason::kMartianSource;
  }
  // A DHCP client's first packet: 0.0.0.0 to 255.255.255.255.
  if (destination == 0xffffffff || (source == 0 && destination == 0)) {
    const bool ours = local_source || net::IsLoopback(ip.family, ip.source);
    return ours ? DropReason::kMartianSource : DropReason::kNone;
  }
  if (is_zero_net(source)) return DropReason::kMartianSource;
  if (is_zero_net(destination)) return DropReason::kMartianDestination;
  if (net::IsLoopback(ip.family, ip.destination)) return DropReason::kMartianDestination;
  if (net::IsLoopback(ip.family, ip.source)) return DropReason::kMartianSource;
  // fib_validate_source: our own address can't come from outside (accept_local = 0).
  return local_source ? DropReason::kMartianSource : DropReason::kNone;
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

DropReason CheckOnRouting(const net::Packet& packet, bool local_source) {
  if (packet.ip.family == Family::kIpv4) return CheckV4(packet.ip, local_source);
  return DropReason::kNone;
}

}  // namespace postern::pipeline

#include "ctrack/invalid.h"

#include "dataplane/net/wire.h"

namespace postern::ctrack {

namespace {

constexpr uint32_t kPortBytes = 4;

InvalidWhy UdpLite(const net::Packet& packet) {
  const auto* udp = reinterpret_cast<const net::UdpHeader*>(packet.L4());
  const uint32_t coverage = udp->length.Host();  // RFC 3828 3.1
  const bool covers =
      coverage == 0 || (coverage >= sizeof(net::UdpHeader) && coverage <= packet.ip.L4Length());
  return covers ? InvalidWhy::kChecksumMissing : InvalidWhy::kCoverage;
}

}  // namespace

InvalidWhy WhyMalformed(const net::Packet& packet) {
  const net::ParsedPacket& ip = packet.ip;
  if (ip.fragment_offset != 0) return InvalidWhy::kNone;
  // Where it isn't even long enough for ports, no connection is looked for and nothing said.
  const bool ports = ip.L4Length() >= kPortBytes;
  const InvalidWhy too_short = ports ? InvalidWhy::kShort : InvalidWhy::kNone;
  switch (ip.protocol) {
    case net::kProtoTcp:
      return ip.l4_header ? InvalidWhy::kTruncated : InvalidWhy::kNone;
    case net::kProtoUdp:
      return ip.l4_header ? InvalidWhy::kTruncated : too_short;
    case net::kProtoUdpLite:
      return ip.l4_header ? UdpLite(packet) : too_short;
    case net::kProtoSctp:
      return too_short;
    case net::kProtoIcmp:
    case net::kProtoIcmpv6: {
      const bool own = (ip.protocol == net::kProtoIcmp) == (ip.family == net::Family::kIpv4);
      return own && !ip.l4_header ? InvalidWhy::kShort : InvalidWhy::kNone;
    }
    default:
      return InvalidWhy::kNone;
  }
}

InvalidWhy WhyNothingQuoted(const net::Packet& packet) {
  constexpr uint32_t kFixedPart = 40;  // RFC 4861 4.5
  constexpr uint32_t kOptionHead = 2;
  const net::ParsedPacket& ip = packet.ip;
  if (ip.family != net::Family::kIpv6 || ip.icmp_type != net::kIcmpv6Redirect) {
    return InvalidWhy::kNone;
  }
  if (ip.L4Length() < kFixedPart) return InvalidWhy::kRedirectShort;
  if (ip.icmp_code != 0) return InvalidWhy::kNone;
  if (ip.ttl != 255 || !net::IsLinkLocal(ip.family, ip.source)) return InvalidWhy::kRedirectSource;
  const bool option = ip.L4Length() >= kFixedPart + kOptionHead;
  return option && packet.L4()[kFixedPart + 1] != 0 ? InvalidWhy::kNone
                                                    : InvalidWhy::kRedirectOptions;
}

}  // namespace postern::ctrack

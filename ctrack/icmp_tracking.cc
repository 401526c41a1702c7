#include "ctrack/icmp_tracking.h"

#include "dataplane/net/wire.h"

namespace postern::ctrack {

L4Result TrackIcmp(const L4Input& in) {
  switch (in.connection.original().IcmpType()) {
    case net::kIcmpEchoRequest:
    case net::kIcmpTimestampRequest:
    case net::kIcmpInfoRequest:
    case net::kIcmpAddressRequest:
      return Accept(in.settings.icmp_timeout);
    default:
      return {};
  }
}

L4Result TrackIcmpv6(const L4Input& in) {
  switch (in.connection.original().IcmpType()) {
    case net::kIcmpv6EchoRequest:
    case net::kIcmpv6NodeInfoQuery:
      return Accept(in.settings.icmpv6_timeout);
    default:
      return {};
  }
}

bool IsUntrackedIcmpv6(uint8_t type) {
  // RFC 4286, whose termination (153) netfilter doesn't know.
  constexpr uint8_t kMulticastRouterAdvert = 151, kMulticastRouterSolicit = 152;
  switch (type) {
    case kMulticastRouterAdvert:
    case kMulticastRouterSolicit:
    case net::kIcmpv6MldQuery:
    case net::kIcmpv6MldReport:
    case net::kIcmpv6MldReduction:
    case net::kIcmpv6RouterSolicit:
    case net::kIcmpv6RouterAdvert:
    case net::kIcmpv6NeighborSolicit:
    case net::kIcmpv6NeighborAdvert:
    case net::kIcmpv6MldReportV2:
      return true;
    default:
      return false;
  }
}

}  // namespace postern::ctrack

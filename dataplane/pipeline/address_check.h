// Which addresses may appear where: what ip_route_input and ipv6_rcv refuse.
#pragma once

#include "dataplane/net/packet.h"
#include "dataplane/net/verdict.h"

namespace postern::pipeline {

// Refused on arrival, before any hook (ipv6_rcv). kNone: fine.
net::DropReason CheckOnArrival(const net::ParsedPacket& ip);

// Refused when the packet is routed, after PREROUTING (ip_route_input_slow, ip_mc_validate_source):
// sources and destinations that nobody has, whatever the routes.
net::DropReason CheckOnRouting(const net::ParsedPacket& ip);

}  // namespace postern::pipeline

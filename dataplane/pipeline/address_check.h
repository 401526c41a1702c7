// Which addresses may appear where: what ip_route_input and ipv6_rcv refuse.
#pragma once

#include "dataplane/net/packet.h"
#include "dataplane/net/verdict.h"

namespace postern::pipeline {

// Refused on arrival, before any hook (ipv6_rcv). kNone: fine.
net::DropReason CheckOnArrival(const net::ParsedPacket& ip);

// Refused when the packet is routed, after PREROUTING (ip_route_input_slow): martian sources and
// destinations. `local_source`: the source is an address of the appliance itself.
net::DropReason CheckOnRouting(const net::Packet& packet, bool local_source);

}  // namespace postern::pipeline

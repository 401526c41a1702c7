// Which of its addresses the appliance speaks from (MASQUERADE, ICMP errors) or gives to a packet
// that REDIRECT keeps here.
#pragma once

#include <optional>
#include <span>

#include "dataplane/net/address.h"
#include "dataplane/route/route_table.h"

namespace postern::route {

// inet_select_addr: the port's first address on the next hop's subnet, else its first, else any
// other port's first. Nothing where nobody has one. `out`: may be kLoopbackPort, which has none.
std::optional<IpAddress> Ipv4Source(std::span<const PortConfig> ports, PortId out,
                                    const IpAddress& next_hop);

// ipv6_dev_get_saddr, which is RFC 6724 section 5 over the addresses of all ports; of equals the
// one that was configured last. `destination`: of the packet, whatever the next hop.
std::optional<IpAddress> Ipv6Source(std::span<const PortConfig> ports, PortId out,
                                    const IpAddress& destination);

// nf_nat_redirect: the IPv4 address that the port got first; the IPv6 one of the destination's
// scope that it got last.
std::optional<IpAddress> RedirectAddress(const PortConfig& port, Family family,
                                         const IpAddress& destination);

}  // namespace postern::route

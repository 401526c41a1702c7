// Where packets go: local addresses, connected and static routes, longest prefix first.
//
// Immutable; made by the control thread, published with the configuration.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/net/address.h"
#include "dataplane/net/packet.h"

namespace postern::route {

using net::Family;
using net::IpAddress;
using net::MacAddress;
using net::PortId;
using net::Prefix;

// A data port as the router sees it.
struct PortConfig {
  PortId id = 0;
  std::string name;
  MacAddress mac;
  MacAddress host_mac;  // of the twin interface in the host's kernel
  uint16_t mtu = 1500;
  bool host = true;               // has a twin
  std::vector<Prefix> addresses;  // with host bits; IPv6 link-local is added by RouteTable
};

struct StaticRoute {
  Prefix prefix;
  std::optional<IpAddress> via;
  PortId port = net::kNoPort;  // kNoPort: the port whose subnet holds `via`
  friend bool operator==(const StaticRoute&, const StaticRoute&) = default;
};

struct StaticNeighbor {
  Family family = Family::kIpv4;
  IpAddress address;
  MacAddress mac;
  PortId port = 0;
  friend bool operator==(const StaticNeighbor&, const StaticNeighbor&) = default;
};

enum class RouteKind : uint8_t { kUnreachable, kUnicast, kLocal, kBroadcast, kMulticast };

struct RouteResult {
  RouteKind kind = RouteKind::kUnreachable;
  PortId port = net::kNoPort;  // out port; the port that has the address for kLocal
  IpAddress next_hop;          // gateway, or the destination itself
};

// Longest prefix match over numbered next hops. Two implementers: TrieFib (here) and the rte_fib
// adapter in dataplane/dpdk.
class Fib {
 public:
  static constexpr uint32_t kNone = 0;
  virtual ~Fib() = default;
  virtual void Add(const Prefix& prefix, uint32_t next_hop) = 0;  // next_hop > 0
  virtual uint32_t Lookup(Family family, const IpAddress& address) const = 0;
};
std::unique_ptr<Fib> MakeTrieFib();

class RouteTable {
 public:
  // `generation` tells remembered next hops apart.
  RouteTable(std::vector<PortConfig> ports, std::vector<StaticRoute> routes,
             std::unique_ptr<Fib> fib, uint32_t generation);
  ~RouteTable();

  // `in_port`: where the packet came from (or is sent from by the host): the link that a link-local
  // or multicast destination means. kMulticast, 255.255.255.255 and loopback addresses (kLocal)
  // give it back as the port.
  RouteResult Lookup(Family family, const IpAddress& destination,
                     PortId in_port = net::kNoPort) const;
  // An address of the appliance itself (any port; the kernel's weak host model).
  bool IsLocal(Family family, const IpAddress& address) const;
  // The port itself has the address, its link-local one included (IPv6 answers per link).
  bool IsLocalTo(PortId port_id, const IpAddress& address) const;
  // The address means the routers of one of the port's IPv6 subnets (RFC 4291 2.6.1), so us too.
  bool IsRouterAnycast(PortId port_id, const IpAddress& address) const;
  // The address is a neighbour's: link-local, on a subnet of the port, or routed to it directly.
  bool IsOnLink(PortId port_id, Family family, const IpAddress& address) const;
  // The address that the appliance uses as a source out of `port` (MASQUERADE, ICMP errors),
  // towards an IPv4 next hop or an IPv6 destination: source_selection.h.
  std::optional<IpAddress> SourceFor(PortId port, Family family, const IpAddress& towards) const;
  // The preferred source of the IPv4 unicast route to `destination`, as ICMP errors have it.
  std::optional<IpAddress> Ipv4SourceOf(const RouteResult& route,
                                        const IpAddress& destination) const;
  // The port's address that REDIRECT gives to a packet for `destination`.
  std::optional<IpAddress> RedirectTo(PortId port, Family family,
                                      const IpAddress& destination) const;
  const std::vector<PortConfig>& ports() const;
  // An empty configuration for a port that isn't there.
  const PortConfig& port(PortId id) const;
  bool HasPort(PortId id) const;
  uint32_t generation() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Modified EUI-64 link-local address (RFC 4291).
IpAddress LinkLocalAddress(const MacAddress& mac);

}  // namespace postern::route

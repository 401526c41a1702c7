#include "dataplane/route/route_table.h"

#include <algorithm>

namespace postern::route {
namespace {

IpAddress SubnetBroadcast(const Prefix& subnet) {
  IpAddress address = subnet.address;
  const IpAddress mask = net::PrefixMask(Family::kIpv4, subnet.length);
  for (size_t i = 0; i < 4; ++i) {
    address.bytes[i] = static_cast<uint8_t>(address.bytes[i] | ~mask.bytes[i]);
  }
  return address;
}

unsigned Width(Family family) { return family == Family::kIpv4 ? 32 : 128; }

}  // namespace

IpAddress LinkLocalAddress(const MacAddress& mac) {
  IpAddress address;
  auto& b = address.bytes;
  b[0] = 0xfe;
  b[1] = 0x80;
  b[8] = mac.bytes[0] ^ 0x02;  // RFC 4291 appendix A: the universal bit is inverted
  b[9] = mac.bytes[1];
  b[10] = mac.bytes[2];
  b[11] = 0xff;
  b[12] = 0xfe;
  b[13] = mac.bytes[3];
  b[14] = mac.bytes[4];
  b[15] = mac.bytes[5];
  return address;
}

struct RouteTable::Impl {
  struct NextHop {
    RouteKind kind = RouteKind::kUnreachable;
    PortId port = net::kNoPort;
    bool connected = false;  // the destination itself is the next hop
    IpAddress gateway;
  };

  void Add(const Prefix& prefix, const NextHop& hop) {
    next_hops.push_back(hop);
    fib->Add(prefix, static_cast<uint32_t>(next_hops.size() - 1));
  }

  void AddPort(const PortConfig& port) {
    for (const Prefix& address : port.addresses) {
      const auto width = static_cast<uint8_t>(Width(address.family));
      Prefix subnet = address;
      subnet.address = address.address & net::PrefixMask(address.family, address.length);
      if (address.length < width) {
        Add(subnet, {RouteKind::kUnicast, port.id, true, {}});
      }
      // RFC 3021: a /31 has no broadcast address.
      if (address.family == Family::kIpv4 && address.length < 31) {
        Add({Family::kIpv4, SubnetBroadcast(subnet), 32},
            {RouteKind::kBroadcast, port.id, true, {}});
      }
    }
  }

  void AddStatic(const StaticRoute& route) {
    NextHop hop{RouteKind::kUnicast, route.port, !route.via.has_value(), {}};
    if (route.via) {
      hop.gateway = *route.via;
      if (hop.port == net::kNoPort) hop.port = PortTowards(route.prefix.family, *route.via);
    }
    if (hop.port == net::kNoPort) return;
    Prefix prefix = route.prefix;
    prefix.address = prefix.address & net::PrefixMask(prefix.family, prefix.length);
    Add(prefix, hop);
  }

  PortId PortTowards(Family family, const IpAddress& gateway) const {
    for (const PortConfig& port : ports) {
      for (const Prefix& address : port.addresses) {
        if (address.family == family && address.Contains(gateway)) return port.id;
      }
    }
    return net::kNoPort;
  }

  std::vector<PortConfig> ports;      // by PortId
  std::vector<IpAddress> link_local;  // by PortId
  const PortConfig no_port;
  std::unique_ptr<Fib> fib;
  std::vector<NextHop> next_hops{NextHop{}};  // by the Fib's number; 0 is none
  uint32_t generation = 0;
};

RouteTable::RouteTable(std::vector<PortConfig> ports, std::vector<StaticRoute> routes,
                       std::unique_ptr<Fib> fib, uint32_t generation)
    : impl_(std::make_unique<Impl>()) {
  impl_->ports = std::move(ports);
  impl_->fib = std::move(fib);
  impl_->generation = generation;
  for (const PortConfig& port : impl_->ports) {
    impl_->link_local.push_back(LinkLocalAddress(port.mac));
    impl_->AddPort(port);
  }
  for (const StaticRoute& route : routes) impl_->AddStatic(route);
  // Last, so that nothing shadows them: addresses of the appliance itself.
  for (const PortConfig& port : impl_->ports) {
    for (const Prefix& address : port.addresses) {
      const auto width = static_cast<uint8_t>(Width(address.family));
      impl_->Add({address.family, address.address, width}, {RouteKind::kLocal, port.id, true, {}});
    }
  }
}

RouteTable::~RouteTable() = default;

RouteResult RouteTable::Lookup(Family family, const IpAddress& destination, PortId in_port) const {
  RouteResult result;
  result.next_hop = destination;
  result.port = in_port;
  if (net::IsMulticast(family, destination)) {
    result.kind = RouteKind::kMulticast;
    return result;
  }
  if (family == Family::kIpv4 && destination.AsV4() == 0xffffffff) {
    result.kind = RouteKind::kBroadcast;
    return result;
  }
  if (net::IsLinkLocal(family, destination)) {
    if (in_port >= impl_->ports.size()) return {};
    result.kind =
        destination == impl_->link_local[in_port] ? RouteKind::kLocal : RouteKind::kUnicast;
    return result;
  }
  const Impl::NextHop& hop = impl_->next_hops[impl_->fib->Lookup(family, destination)];
  result.kind = hop.kind;
  result.port = hop.port;
  if (!hop.connected) result.next_hop = hop.gateway;
  return result;
}

bool RouteTable::IsLocal(Family family, const IpAddress& address) const {
  if (net::IsLinkLocal(family, address)) {
    return std::find(impl_->link_local.begin(), impl_->link_local.end(), address) !=
           impl_->link_local.end();
  }
  return impl_->next_hops[impl_->fib->Lookup(family, address)].kind == RouteKind::kLocal;
}

bool RouteTable::IsLocalTo(PortId port_id, const IpAddress& address) const {
  if (!HasPort(port_id)) return false;
  if (address == impl_->link_local[port_id]) return true;
  const auto& addresses = impl_->ports[port_id].addresses;
  return std::any_of(addresses.begin(), addresses.end(),
                     [&](const Prefix& own) { return own.address == address; });
}

bool RouteTable::IsOnLink(PortId port_id, Family family, const IpAddress& address) const {
  if (net::IsLinkLocal(family, address)) return HasPort(port_id);
  const Impl::NextHop& hop = impl_->next_hops[impl_->fib->Lookup(family, address)];
  return hop.kind == RouteKind::kUnicast && hop.connected && hop.port == port_id;
}

std::optional<IpAddress> RouteTable::SourceFor(PortId port_id, Family family,
                                               const IpAddress& next_hop) const {
  if (port_id >= impl_->ports.size()) return std::nullopt;
  if (net::IsLinkLocal(family, next_hop)) {
    // RFC 6724 rule 2: a link-local peer is spoken to from a link-local address.
    return impl_->link_local[port_id];
  }
  for (const Prefix& address : impl_->ports[port_id].addresses) {
    if (address.family == family && address.Contains(next_hop)) return address.address;
  }
  if (const auto first = FirstAddress(port_id, family)) return first;
  // inet_select_addr: an unnumbered port borrows an address of another one.
  for (const PortConfig& port : impl_->ports) {
    if (const auto borrowed = FirstAddress(port.id, family)) return borrowed;
  }
  return std::nullopt;
}

std::optional<IpAddress> RouteTable::FirstAddress(PortId port_id, Family family) const {
  if (port_id >= impl_->ports.size()) return std::nullopt;
  for (const Prefix& address : impl_->ports[port_id].addresses) {
    if (address.family == family) return address.address;
  }
  return std::nullopt;
}

const std::vector<PortConfig>& RouteTable::ports() const { return impl_->ports; }
const PortConfig& RouteTable::port(PortId id) const {
  return HasPort(id) ? impl_->ports[id] : impl_->no_port;
}
bool RouteTable::HasPort(PortId id) const { return id < impl_->ports.size(); }
uint32_t RouteTable::generation() const { return impl_->generation; }

}  // namespace postern::route

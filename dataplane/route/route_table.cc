// All that can be a longest prefix match is in the FIB, local and broadcast addresses as host
// routes, as in the kernel's local table. What depends on the link (link-local, multicast, the
// limited broadcast) is answered before it.
#include "dataplane/route/route_table.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "dataplane/route/source_selection.h"

namespace postern::route {
namespace {

constexpr uint32_t kLimitedBroadcast = 0xffffffff;
constexpr uint16_t kNoIndex = 0xffff;

// What a FIB entry leads to. Without a gateway the destination is the next hop.
struct Hop {
  RouteKind kind = RouteKind::kUnreachable;
  PortId port = net::kNoPort;
  std::optional<IpAddress> gateway;
};

using PrefixKey = std::tuple<Family, IpAddress, uint8_t>;

PrefixKey KeyOf(Family family, const IpAddress& address, uint8_t length) {
  return {family, address & net::PrefixMask(family, length), length};
}

// Tells most strangers from our own addresses.
uint64_t BitOf(const IpAddress& ipv4) {
  return uint64_t{1} << (ipv4.AsV4() * uint32_t{0x9e3779b9} >> 26);
}

uint8_t Width(Family family) { return family == Family::kIpv4 ? 32 : 128; }

// The last address of an IPv4 subnet; nothing where the prefix leaves no room for one (RFC 3021).
std::optional<IpAddress> SubnetBroadcast(const Prefix& subnet) {
  if (subnet.family != Family::kIpv4 || subnet.length >= 31) return std::nullopt;
  return IpAddress::V4(subnet.address.AsV4() |
                       ~net::PrefixMask(Family::kIpv4, subnet.length).AsV4());
}

// RFC 4291 2.6.1: the subnet's address means its routers. Not where the prefix leaves no room for
// hosts (RFC 6164 5.1).
std::optional<IpAddress> RouterAnycast(const Prefix& subnet) {
  constexpr uint8_t kPointToPoint = 127;
  if (subnet.family != Family::kIpv6 || subnet.length >= kPointToPoint) return std::nullopt;
  const IpAddress anycast = subnet.address & net::PrefixMask(Family::kIpv6, subnet.length);
  return anycast.IsZero() ? std::nullopt : std::optional(anycast);
}

}  // namespace

struct RouteTable::Impl {
  std::vector<PortConfig> ports;
  std::vector<IpAddress> link_local;  // parallel to ports
  std::vector<uint16_t> index_of;     // by PortId
  const PortConfig nobody{};
  std::unique_ptr<Fib> fib;
  std::vector<Hop> hops{1};  // FIB next hop n is hops[n]
  uint32_t generation = 0;
  uint64_t own_ipv4 = 0;  // which BitOf() the own IPv4 addresses have

  uint16_t IndexOf(PortId id) const { return id < index_of.size() ? index_of[id] : kNoIndex; }
  const PortConfig* Find(PortId id) const {
    const uint16_t index = IndexOf(id);
    return index == kNoIndex ? nullptr : &ports[index];
  }
  // The port has this IPv6 address, its link-local or a configured one.
  bool HasOwn(uint16_t index, const IpAddress& address) const {
    if (link_local[index] == address) return true;
    for (const Prefix& own : ports[index].addresses) {
      if (own.family == Family::kIpv6 && own.address == address) return true;
    }
    return false;
  }
  PortId PortTowards(Family family, const IpAddress& gateway) const;
  void AddPorts(std::map<PrefixKey, Hop>* entries) const;
  void FillFib(const std::vector<StaticRoute>& routes);
  RouteResult LookupLinkLocal(const IpAddress& destination, PortId in_port) const;
};

// The port whose subnet holds `gateway`, the longest prefix first.
PortId RouteTable::Impl::PortTowards(Family family, const IpAddress& gateway) const {
  PortId best = net::kNoPort;
  int best_length = -1;
  for (const PortConfig& candidate : ports) {
    for (const Prefix& own : candidate.addresses) {
      if (own.family == family && own.length > best_length && own.Contains(gateway)) {
        best = candidate.id;
        best_length = own.length;
      }
    }
  }
  return best;
}

// The kernel asks its local table first, and a subnet's own route stands before a static one.
void RouteTable::Impl::AddPorts(std::map<PrefixKey, Hop>* entries) const {
  std::map<PrefixKey, Hop> connected, broadcasts, anycasts, local;
  for (const PortConfig& p : ports) {
    for (const Prefix& own : p.addresses) {
      if (net::IsLinkLocal(own.family, own.address)) continue;  // per link: LookupLinkLocal
      connected.emplace(KeyOf(own.family, own.address, own.length),
                        Hop{RouteKind::kUnicast, p.id, std::nullopt});
      local.emplace(KeyOf(own.family, own.address, Width(own.family)),
                    Hop{RouteKind::kLocal, p.id, std::nullopt});
      if (const auto anycast = RouterAnycast(own)) {
        anycasts.emplace(KeyOf(own.family, *anycast, Width(own.family)),
                         Hop{RouteKind::kLocal, p.id, std::nullopt});
      }
      if (const auto broadcast = SubnetBroadcast(own)) {
        broadcasts.emplace(KeyOf(own.family, *broadcast, 32),
                           Hop{RouteKind::kBroadcast, p.id, std::nullopt});
      }
    }
  }
  for (const auto& layer : {connected, broadcasts, anycasts, local}) {
    for (const auto& [key, hop] : layer) (*entries)[key] = hop;
  }
}

void RouteTable::Impl::FillFib(const std::vector<StaticRoute>& routes) {
  std::map<PrefixKey, Hop> entries;
  for (const StaticRoute& route : routes) {
    const Family family = route.prefix.family;
    Hop hop{RouteKind::kUnicast, route.port, route.via};
    if (hop.port == net::kNoPort && route.via) hop.port = PortTowards(family, *route.via);
    if (Find(hop.port) == nullptr) continue;
    // The first of two routes with one prefix counts.
    entries.emplace(KeyOf(family, route.prefix.address, route.prefix.length), hop);
  }
  AddPorts(&entries);
  for (const auto& [key, hop] : entries) {
    hops.push_back(hop);
    fib->Add(Prefix{std::get<0>(key), std::get<1>(key), std::get<2>(key)},
             static_cast<uint32_t>(hops.size() - 1));
  }
}

RouteResult RouteTable::Impl::LookupLinkLocal(const IpAddress& destination, PortId in_port) const {
  const uint16_t index = IndexOf(in_port);
  if (index != kNoIndex) {
    const RouteKind kind = HasOwn(index, destination) ? RouteKind::kLocal : RouteKind::kUnicast;
    return {kind, in_port, destination};
  }
  for (uint16_t i = 0; i < ports.size(); ++i) {
    if (HasOwn(i, destination)) return {RouteKind::kLocal, ports[i].id, destination};
  }
  return {};
}

RouteTable::RouteTable(std::vector<PortConfig> ports, std::vector<StaticRoute> routes,
                       std::unique_ptr<Fib> fib, uint32_t generation)
    : impl_(std::make_unique<Impl>()) {
  impl_->ports = std::move(ports);
  impl_->fib = std::move(fib);
  impl_->generation = generation;
  for (size_t i = 0; i < impl_->ports.size(); ++i) {
    const PortConfig& config = impl_->ports[i];
    impl_->link_local.push_back(LinkLocalAddress(config.mac));
    if (impl_->index_of.size() <= config.id) impl_->index_of.resize(config.id + 1U, kNoIndex);
    impl_->index_of[config.id] = static_cast<uint16_t>(i);
    for (const Prefix& own : config.addresses) {
      if (own.family == Family::kIpv4) impl_->own_ipv4 |= BitOf(own.address);
    }
  }
  impl_->FillFib(routes);
}

RouteTable::~RouteTable() = default;

RouteResult RouteTable::Lookup(Family family, const IpAddress& destination, PortId in_port) const {
  if (net::IsMulticast(family, destination)) return {RouteKind::kMulticast, in_port, destination};
  if (family == Family::kIpv4) {
    const uint32_t host_order = destination.AsV4();
    if (host_order == kLimitedBroadcast) return {RouteKind::kBroadcast, in_port, destination};
    // RFC 1122 3.2.1.3: "this host" is no destination. The rest of 0/8 is as any other.
    if (host_order == 0) return {};
  } else {
    if (net::IsLinkLocal(family, destination)) return impl_->LookupLinkLocal(destination, in_port);
    if (destination.IsZero()) return {};
  }
  // By lo: nobody's on the wire, where it is refused on arrival.
  if (net::IsLoopback(family, destination)) return {RouteKind::kLocal, in_port, destination};
  const Hop& hop = impl_->hops[impl_->fib->Lookup(family, destination)];
  return {hop.kind, hop.port, hop.gateway.value_or(destination)};
}

bool RouteTable::IsLocal(Family family, const IpAddress& address) const {
  if (family == Family::kIpv4 && (impl_->own_ipv4 & BitOf(address)) == 0) {
    return net::IsLoopback(family, address);
  }
  return Lookup(family, address).kind == RouteKind::kLocal;
}

bool RouteTable::IsLocalTo(PortId port_id, const IpAddress& address) const {
  const uint16_t index = impl_->IndexOf(port_id);
  return index != kNoIndex && impl_->HasOwn(index, address);
}

bool RouteTable::IsRouterAnycast(PortId port_id, const IpAddress& address) const {
  const PortConfig* config = impl_->Find(port_id);
  if (config == nullptr) return false;
  for (const Prefix& own : config->addresses) {
    if (RouterAnycast(own) == address) return true;
  }
  return false;
}

bool RouteTable::IsOnLink(PortId port_id, Family family, const IpAddress& address) const {
  const PortConfig* config = impl_->Find(port_id);
  if (config == nullptr) return false;
  if (net::IsLinkLocal(family, address)) return true;
  for (const Prefix& own : config->addresses) {
    if (own.family == family && own.Contains(address)) return true;
  }
  const RouteResult route = Lookup(family, address);
  return route.kind == RouteKind::kUnicast && route.port == port_id && route.next_hop == address;
}

std::optional<IpAddress> RouteTable::SourceFor(PortId port_id, Family family,
                                               const IpAddress& towards) const {
  if (impl_->Find(port_id) == nullptr && port_id != net::kLoopbackPort) return std::nullopt;
  return family == Family::kIpv4 ? Ipv4Source(impl_->ports, port_id, towards)
                                 : Ipv6Source(impl_->ports, port_id, towards);
}

// A subnet's own route prefers the address that has brought it (fib_add_ifaddr).
std::optional<IpAddress> RouteTable::Ipv4SourceOf(const RouteResult& route,
                                                  const IpAddress& destination) const {
  const PortConfig* config = impl_->Find(route.port);
  const Prefix* subnet = nullptr;
  if (config != nullptr && route.next_hop == destination) {
    for (const Prefix& own : config->addresses) {
      if (own.family != Family::kIpv4 || !own.Contains(route.next_hop)) continue;
      if (subnet == nullptr || own.length > subnet->length) subnet = &own;
    }
  }
  return subnet != nullptr ? subnet->address : SourceFor(route.port, Family::kIpv4, route.next_hop);
}

std::optional<IpAddress> RouteTable::RedirectTo(PortId port_id, Family family,
                                                const IpAddress& destination) const {
  const PortConfig* config = impl_->Find(port_id);
  return config == nullptr ? std::nullopt : RedirectAddress(*config, family, destination);
}

const std::vector<PortConfig>& RouteTable::ports() const { return impl_->ports; }

const PortConfig& RouteTable::port(PortId id) const {
  const PortConfig* config = impl_->Find(id);
  return config == nullptr ? impl_->nobody : *config;
}

bool RouteTable::HasPort(PortId id) const { return impl_->Find(id) != nullptr; }

uint32_t RouteTable::generation() const { return impl_->generation; }

// RFC 4291 appendix A: ff:fe in the middle, the universal/local bit turned.
IpAddress LinkLocalAddress(const MacAddress& mac) {
  const auto& m = mac.bytes;
  IpAddress address;
  address.bytes = {0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<uint8_t>(m[0] ^ 2),
                   m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
  return address;
}

}  // namespace postern::route

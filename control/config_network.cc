#include "control/config_network.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/config_ports.h"
#include "control/suggest.h"

namespace postern::control {
namespace {

using libconfig::Setting;
using net::Family;
using net::IpAddress;
using net::Prefix;

std::optional<Family> FamilyOf(std::string_view address) {
  if (net::ParseAddress(Family::kIpv4, address)) return Family::kIpv4;
  if (net::ParseAddress(Family::kIpv6, address)) return Family::kIpv6;
  return std::nullopt;
}

unsigned Width(Family family) { return family == Family::kIpv4 ? 32 : 128; }

// Routes and neighbours, which the ports' addresses must suit.
class NetworkReader {
 public:
  NetworkReader(GroupReader* root, Config* config) : root_(root), config_(config) {}

  void Read() {
    addresses_ = ReadPorts(root_, config_);
    ReadRoutes();
    ReadNeighbors();
  }

 private:
  // Why an address can't be a router's or a neighbour's. `port`: by which it is reached, or
  // kNoPort.
  std::string HostError(Family family, const IpAddress& address, net::PortId port) const {
    if (address.IsZero() || net::IsLoopback(family, address)) return "is no neighbour's address";
    if (net::IsMulticast(family, address)) return "is a multicast address";
    // Every port's link has link-local addresses of its own.
    const bool link_local = family == Family::kIpv6 && net::IsLinkLocal(family, address);
    for (const PortAddress& own : addresses_) {
      if (own.prefix.family != family || !own.prefix.Contains(address)) continue;
      if (link_local && port != net::kNoPort && own.port != port) continue;
      if (own.prefix.address == address) return "is the appliance's own address";
      if (std::string error = NoHost(own.prefix, address); !error.empty()) return error;
    }
    return "";
  }

  // Why no route can lead to a prefix.
  std::string DestinationError(const Prefix& prefix) const {
    if (prefix.length != 0 && net::IsMulticast(prefix.family, prefix.address)) {
      return "is of multicast addresses";
    }
    if (net::IsLoopback(prefix.family, prefix.address)) return "is of loopback addresses";
    for (const PortAddress& own : addresses_) {
      const bool alone = prefix.length == Width(prefix.family);
      if (alone && prefix.family == own.prefix.family && prefix.address == own.prefix.address) {
        return "is the appliance's own address";
      }
      if (NetworkOf(own.prefix) != prefix) continue;
      return fmt::format("is the subnet of port \"{}\" (line {})", config_->ports[own.port].name,
                         own.setting->getSourceLine());
    }
    return "";
  }

  // The port on whose subnet an address is, or kNoPort.
  net::PortId PortOf(Family family, const IpAddress& address) const {
    for (const PortAddress& own : addresses_) {
      const bool alone = own.prefix.length == Width(family);
      if (own.prefix.family == family && !alone && own.prefix.Contains(address)) return own.port;
    }
    return net::kNoPort;
  }

  // Whether packets go to the address itself by the neighbour's port: it is on a subnet,
  // link-local, or a route says so.
  bool IsOnLink(const route::StaticNeighbor& neighbor) const {
    const Family family = neighbor.family;
    if (family == Family::kIpv6 && net::IsLinkLocal(family, neighbor.address)) return true;
    for (const PortAddress& own : addresses_) {
      if (own.port == neighbor.port && own.prefix.family == family &&
          own.prefix.Contains(neighbor.address)) {
        return true;
      }
    }
    return std::any_of(config_->routes.begin(), config_->routes.end(),
                       [&](const route::StaticRoute& route) {
                         if (route.port != neighbor.port || route.prefix.family != family)
                           return false;
                         return route.via ? *route.via == neighbor.address
                                          : route.prefix.Contains(neighbor.address);
                       });
  }

  // The port that a name stands for; kNoPort after an error or where the key isn't there.
  net::PortId ReadPortReference(GroupReader* reader, bool required) {
    std::string name;
    const Setting* setting = reader->Text("port", &name);
    if (setting == nullptr) {
      if (required && reader->Find("port") == nullptr) {
        reader->Missing("port", "the name of the port that it is reached by");
      }
      return net::kNoPort;
    }
    std::vector<std::string_view> names;
    for (size_t i = 0; i < config_->ports.size(); ++i) {
      if (config_->ports[i].name == name) return static_cast<net::PortId>(i);
      names.push_back(config_->ports[i].name);
    }
    reader->Error(*setting, "port",
                  fmt::format("\"{}\" isn't the name of a port{}", name, Suggestion(name, names)));
    return net::kNoPort;
  }

  void ReadRoutes() {
    const std::vector<const Setting*> groups = root_->Groups("routes");
    for (size_t i = 0; i < groups.size(); ++i) {
      GroupReader reader(groups[i], fmt::format("routes[{}]", i), root_->errors());
      if (reader.present()) ReadRoute(&reader);
      reader.Finish();
    }
  }

  void ReadRoute(GroupReader* reader) {
    route::StaticRoute route;
    const bool has_prefix = ReadRoutePrefix(reader, &route.prefix);
    const bool names_port = reader->Find("port") != nullptr;
    route.port = ReadPortReference(reader, false);
    std::string text;
    const Setting* via = reader->Text("via", &text);
    if (names_port && route.port == net::kNoPort) return;
    if (via == nullptr) {
      if (reader->Find("via") == nullptr && !names_port) {
        reader->Missing("via", "the next router's address, or give the route a port");
      }
    } else if (!CheckVia(reader, *via, text, has_prefix ? &route.prefix : nullptr, route.port)) {
      return;
    } else {
      route.via = net::ParseAddress(*FamilyOf(text), text);
    }
    if (has_prefix && (route.via.has_value() || route.port != net::kNoPort)) {
      config_->routes.push_back(route);
    }
  }

  bool ReadRoutePrefix(GroupReader* reader, Prefix* prefix) {
    std::string text;
    const Setting* setting = reader->Text("prefix", &text);
    if (setting == nullptr) {
      if (reader->Find("prefix") == nullptr) {
        reader->Missing("prefix", "where the route leads, as in \"0.0.0.0/0\"");
      }
      return false;
    }
    const auto parsed = net::ParsePrefix(text);
    if (!parsed) {
      reader->Error(*setting, "prefix", fmt::format("\"{}\" isn't a prefix", text));
      return false;
    }
    if (NetworkOf(*parsed) != *parsed) {
      reader->Error(*setting, "prefix",
                    fmt::format("\"{}\" has bits beyond its length; did you mean {}?", text,
                                net::ToString(NetworkOf(*parsed))));
      return false;
    }
    if (const std::string error = DestinationError(*parsed); !error.empty()) {
      reader->Error(*setting, "prefix", fmt::format("\"{}\" {}", text, error));
      return false;
    }
    for (const route::StaticRoute& other : config_->routes) {
      if (other.prefix != *parsed) continue;
      reader->Error(*setting, "prefix", fmt::format("\"{}\" has a route already", text));
      return false;
    }
    *prefix = *parsed;
    return true;
  }

  // `prefix` null: it was wrong already. `port`: what the route says, or kNoPort.
  bool CheckVia(GroupReader* reader, const Setting& via, const std::string& text,
                const Prefix* prefix, net::PortId port) {
    const auto family = FamilyOf(text);
    if (!family) {
      reader->Error(via, "via", fmt::format("\"{}\" isn't an address", text));
      return false;
    }
    if (prefix != nullptr && prefix->family != *family) {
      reader->Error(via, "via", fmt::format("\"{}\" isn't of the prefix' address family", text));
      return false;
    }
    const IpAddress address = *net::ParseAddress(*family, text);
    if (const std::string error = HostError(*family, address, port); !error.empty()) {
      reader->Error(via, "via", fmt::format("\"{}\" {}", text, error));
      return false;
    }
    // With a port it may be beyond that port's subnets, but not on another port's.
    const bool link_local = *family == Family::kIpv6 && net::IsLinkLocal(*family, address);
    const net::PortId home = link_local ? net::kNoPort : PortOf(*family, address);
    if (home == net::kNoPort && port == net::kNoPort) {
      reader->Error(via, "via", fmt::format("\"{}\" isn't on any port's subnet", text));
      return false;
    }
    if (home != net::kNoPort && port != net::kNoPort && home != port) {
      reader->Error(
          via, "via",
          fmt::format("\"{}\" is on the subnet of port \"{}\"", text, config_->ports[home].name));
      return false;
    }
    return true;
  }

  void ReadNeighbors() {
    const std::vector<const Setting*> groups = root_->Groups("neighbors");
    for (size_t i = 0; i < groups.size(); ++i) {
      GroupReader reader(groups[i], fmt::format("neighbors[{}]", i), root_->errors());
      if (reader.present()) ReadNeighbor(&reader);
      reader.Finish();
    }
  }

  void ReadNeighbor(GroupReader* reader) {
    route::StaticNeighbor neighbor;
    bool good = true;
    std::string text;
    const Setting* address = reader->Text("address", &text);
    if (address == nullptr) {
      if (reader->Find("address") == nullptr) reader->Missing("address", "the neighbour's address");
      good = false;
    } else if (const auto family = FamilyOf(text); !family) {
      reader->Error(*address, "address", fmt::format("\"{}\" isn't an address", text));
      good = false;
    } else {
      neighbor.family = *family;
      neighbor.address = *net::ParseAddress(*family, text);
    }
    const std::optional<net::MacAddress> mac = ReadMac(reader);
    if (reader->Find("mac") == nullptr) reader->Missing("mac", "the neighbour's MAC address");
    neighbor.port = ReadPortReference(reader, true);
    if (!good || neighbor.port == net::kNoPort) return;
    if (mac && CheckNeighbor(reader, *address, text, neighbor)) {
      neighbor.mac = *mac;
      config_->neighbors.push_back(neighbor);
    }
  }

  bool CheckNeighbor(GroupReader* reader, const Setting& address, const std::string& text,
                     const route::StaticNeighbor& neighbor) {
    std::string error = HostError(neighbor.family, neighbor.address, neighbor.port);
    if (error.empty() && !IsOnLink(neighbor)) {
      error = fmt::format("isn't on a subnet of port \"{}\"", config_->ports[neighbor.port].name);
    }
    if (!error.empty()) {
      reader->Error(address, "address", fmt::format("\"{}\" {}", text, error));
      return false;
    }
    for (const route::StaticNeighbor& other : config_->neighbors) {
      if (other.port != neighbor.port || other.family != neighbor.family ||
          other.address != neighbor.address) {
        continue;
      }
      reader->Error(address, "address",
                    fmt::format("\"{}\" is a neighbour of the port already", text));
      return false;
    }
    return true;
  }

  GroupReader* root_;
  Config* config_;
  std::vector<PortAddress> addresses_;
};

}  // namespace

void ReadNetwork(GroupReader* root, Config* config) { NetworkReader(root, config).Read(); }

}  // namespace postern::control

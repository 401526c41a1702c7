#include "control/config_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "control/suggest.h"

namespace postern::control {
namespace {

using libconfig::Setting;
using net::Family;
using net::IpAddress;
using net::Prefix;

constexpr size_t kMaxPortName = 15;     // IFNAMSIZ - 1: the twin interface has the port's name
constexpr uint64_t kMinMtu = 68;        // RFC 791
constexpr uint64_t kMinMtuIpv6 = 1280;  // RFC 8200 section 5
constexpr uint64_t kMaxMtu = 9216;

std::optional<Family> FamilyOf(std::string_view address) {
  if (net::ParseAddress(Family::kIpv4, address)) return Family::kIpv4;
  if (net::ParseAddress(Family::kIpv6, address)) return Family::kIpv6;
  return std::nullopt;
}

unsigned Width(Family family) { return family == Family::kIpv4 ? 32 : 128; }

Prefix Network(const Prefix& prefix) {
  Prefix network = prefix;
  network.address = prefix.address & net::PrefixMask(prefix.family, prefix.length);
  return network;
}

bool Overlap(const Prefix& a, const Prefix& b) {
  if (a.family != b.family) return false;
  return a.length <= b.length ? a.Contains(b.address) : b.Contains(a.address);
}

std::string NameError(const std::string& name) {
  if (name.empty()) return "must not be empty";
  if (name.size() > kMaxPortName) {
    return fmt::format("\"{}\" is longer than {} characters", name, kMaxPortName);
  }
  const bool good = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
  });
  if (!good || name[0] == '-' || name == "." || name == "..") {
    return fmt::format("\"{}\" isn't an interface name: letters, digits, '_', '.' and '-' only",
                       name);
  }
  if (name == "lo") return "\"lo\" is the loopback interface's";
  return "";
}

// The part of a device string that DPDK needs to be unique: a --vdev's name, or the PCI address.
std::string DeviceName(const std::string& device) { return device.substr(0, device.find(',')); }

std::string AddressError(const Prefix& prefix) {
  const Family family = prefix.family;
  if (prefix.address.IsZero()) return "is no host's address";
  if (net::IsMulticast(family, prefix.address)) return "is a multicast address";
  if (net::IsLoopback(family, prefix.address)) return "is a loopback address";
  if (family == Family::kIpv4 && prefix.length < 31) {
    const uint32_t host = ~net::PrefixMask(family, prefix.length).Word(0);
    const uint32_t bits = prefix.address.Word(0) & host;
    if (bits == 0) return "is its network's own address";
    if (bits == host) return "is its network's broadcast address";
  }
  return "";
}

class NetworkReader {
 public:
  NetworkReader(GroupReader* root, Config* config) : root_(root), config_(config) {}

  void Read() {
    ReadPorts();
    ReadRoutes();
    ReadNeighbors();
  }

 private:
  struct Subnet {
    Prefix prefix;
    size_t port;
    const Setting* setting;
  };

  void ReadPorts() {
    const std::vector<const Setting*> groups = root_->Groups("ports");
    const Setting* list = root_->Find("ports");
    if (list == nullptr) {
      root_->Missing("ports", "name at least one port");
      return;
    }
    if (!list->isGroup() && list->isAggregate() && list->getLength() == 0) {
      root_->Error(*list, "ports", "must have at least one port");
    }
    if (groups.size() > net::kMaxPorts) {
      root_->Error(*list, "ports", fmt::format("must have at most {} ports", net::kMaxPorts));
    }
    for (size_t i = 0; i < groups.size(); ++i) ReadPort(groups[i], i);
  }

  void ReadPort(const Setting* group, size_t index) {
    GroupReader reader(group, fmt::format("ports[{}]", index), root_->errors());
    PortSettings port;
    port.place = {root_->errors()->FileOf(*group), static_cast<int>(group->getSourceLine())};
    ReadPortName(&reader, &port);
    ReadDevice(&reader, &port);
    const Setting* mtu = reader.Number("mtu", kMinMtu, kMaxMtu, &port.mtu);
    ReadMac(&reader, &port.mac);
    reader.Boolean("host", &port.host);
    ReadAddresses(&reader, index, &port);
    const bool ipv6 = std::any_of(port.addresses.begin(), port.addresses.end(),
                                  [](const Prefix& p) { return p.family == Family::kIpv6; });
    if (ipv6 && port.mtu < kMinMtuIpv6) {
      reader.Error(*mtu, "mtu",
                   fmt::format("must be at least {} on a port with IPv6", kMinMtuIpv6));
    }
    reader.Finish();
    config_->ports.push_back(std::move(port));
  }

  void ReadPortName(GroupReader* reader, PortSettings* port) {
    const Setting* setting = reader->Text("name", &port->name);
    if (setting == nullptr) {
      if (reader->Find("name") == nullptr) reader->Missing("name", "the port's name in rules");
      return;
    }
    if (const std::string error = NameError(port->name); !error.empty()) {
      reader->Error(*setting, "name", error);
      return;
    }
    for (const PortSettings& other : config_->ports) {
      if (other.name != port->name) continue;
      reader->Error(*setting, "name",
                    fmt::format("\"{}\" is the name of the port of line {} too", port->name,
                                other.place.line));
      return;
    }
  }

  void ReadDevice(GroupReader* reader, PortSettings* port) {
    const Setting* setting = reader->Text("device", &port->device);
    if (setting == nullptr) {
      if (reader->Find("device") == nullptr) {
        reader->Missing("device", "a PCI address or a DPDK --vdev string");
      }
      return;
    }
    const bool blank = std::any_of(port->device.begin(), port->device.end(), [](unsigned char c) {
      return std::isspace(c) != 0 || std::iscntrl(c) != 0;
    });
    if (DeviceName(port->device).empty() || blank) {
      reader->Error(
          *setting, "device",
          fmt::format("\"{}\" isn't a PCI address or a DPDK --vdev string", port->device));
      return;
    }
    for (const PortSettings& other : config_->ports) {
      if (DeviceName(other.device) != DeviceName(port->device)) continue;
      reader->Error(*setting, "device",
                    fmt::format("\"{}\" is the device of port \"{}\" too", DeviceName(port->device),
                                other.name));
      return;
    }
  }

  void ReadMac(GroupReader* reader, std::optional<net::MacAddress>* mac) {
    std::string text;
    const Setting* setting = reader->Text("mac", &text);
    if (setting == nullptr) return;
    const auto parsed = net::ParseMac(text);
    if (!parsed) {
      reader->Error(*setting, "mac", fmt::format("\"{}\" isn't a MAC address", text));
    } else if (parsed->IsMulticast() || *parsed == net::MacAddress{}) {
      reader->Error(*setting, "mac", fmt::format("\"{}\" isn't one station's address", text));
    } else {
      *mac = parsed;
    }
  }

  void ReadAddresses(GroupReader* reader, size_t index, PortSettings* port) {
    std::vector<std::string> texts;
    const Setting* list = reader->Texts("addresses", &texts);
    if (list == nullptr) return;
    // Elements that aren't strings were reported and left out, so indices are found again.
    for (int i = 0; i < list->getLength(); ++i) {
      const Setting& element = (*list)[i];
      if (element.getType() != Setting::TypeString) continue;
      const std::string key = fmt::format("addresses[{}]", i);
      const auto prefix = net::ParsePrefix(element.c_str());
      if (!prefix) {
        reader->Error(element, key,
                      fmt::format("\"{}\" isn't an address with a prefix length", element.c_str()));
        continue;
      }
      if (const std::string error = AddressError(*prefix); !error.empty()) {
        reader->Error(element, key, fmt::format("\"{}\" {}", element.c_str(), error));
        continue;
      }
      if (!CheckOverlap(reader, element, key, *prefix, index)) continue;
      subnets_.push_back({*prefix, index, &element});
      port->addresses.push_back(*prefix);
    }
  }

  // A second port in the same subnet could never be told from the first by a route.
  bool CheckOverlap(GroupReader* reader, const Setting& element, const std::string& key,
                    const Prefix& prefix, size_t index) {
    for (const Subnet& other : subnets_) {
      if (other.prefix.family == prefix.family && other.prefix.address == prefix.address) {
        reader->Error(element, key,
                      fmt::format("\"{}\" is given on line {} too", element.c_str(),
                                  other.setting->getSourceLine()));
        return false;
      }
      const bool link_local =
          prefix.family == Family::kIpv6 && net::IsLinkLocal(prefix.family, prefix.address);
      if (other.port == index || link_local || !Overlap(other.prefix, prefix)) continue;
      reader->Error(element, key,
                    fmt::format("\"{}\" overlaps with {} of port \"{}\" (line {})", element.c_str(),
                                net::ToString(Network(other.prefix)),
                                config_->ports[other.port].name, other.setting->getSourceLine()));
      return false;
    }
    return true;
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
    if (via == nullptr) {
      if (reader->Find("via") == nullptr && !names_port) {
        reader->Missing("via", "the next router's address, or give the route a port");
      }
    } else if (!CheckVia(reader, *via, text, has_prefix ? &route.prefix : nullptr, names_port)) {
      via = nullptr;
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
    if (Network(*parsed) != *parsed) {
      reader->Error(*setting, "prefix",
                    fmt::format("\"{}\" has bits beyond its length; did you mean {}?", text,
                                net::ToString(Network(*parsed))));
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

  // `prefix` null: it was wrong already. `names_port`: the route says which port.
  bool CheckVia(GroupReader* reader, const Setting& via, const std::string& text,
                const Prefix* prefix, bool names_port) {
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
    bool on_subnet = false;
    for (const Subnet& subnet : subnets_) {
      if (subnet.prefix.family != *family) continue;
      if (subnet.prefix.address == address) {
        reader->Error(via, "via", fmt::format("\"{}\" is the appliance's own address", text));
        return false;
      }
      on_subnet =
          on_subnet || (subnet.prefix.length < Width(*family) && subnet.prefix.Contains(address));
    }
    if (!on_subnet && !names_port) {
      reader->Error(via, "via", fmt::format("\"{}\" isn't on any port's subnet", text));
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
    std::optional<net::MacAddress> mac;
    ReadMac(reader, &mac);
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
    for (const Subnet& subnet : subnets_) {
      if (subnet.prefix.family != neighbor.family || subnet.prefix.address != neighbor.address) {
        continue;
      }
      reader->Error(address, "address", fmt::format("\"{}\" is the appliance's own address", text));
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
  std::vector<Subnet> subnets_;
};

}  // namespace

void ReadNetwork(GroupReader* root, Config* config) { NetworkReader(root, config).Read(); }

}  // namespace postern::control

#include "control/config_ports.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace postern::control {
namespace {

using libconfig::Setting;
using net::Family;
using net::Prefix;

constexpr size_t kMaxPortName = 15;     // IFNAMSIZ - 1: the twin interface has the port's name
constexpr uint64_t kMinMtu = 68;        // RFC 791
constexpr uint64_t kMinMtuIpv6 = 1280;  // RFC 8200 section 5
constexpr uint64_t kMaxMtu = 9216;

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

// The part of a device string that DPDK needs to be unique: a --vdev's name, or the PCI address
// with its domain.
std::string DeviceName(const std::string& device) {
  const std::string name = device.substr(0, device.find(','));
  const bool short_pci = name.size() == 7 && name[2] == ':' && name[5] == '.';
  return short_pci ? "0000:" + name : name;
}

// The host's interface that a --vdev string takes ("iface=eth1"), or "".
std::string HostInterface(const std::string& device) {
  constexpr std::string_view kKey = ",iface=";
  const size_t at = device.find(kKey);
  if (at == std::string::npos) return "";
  const size_t begin = at + kKey.size();
  return device.substr(begin, device.find(',', begin) - begin);
}

// What two ports can't both have, or "".
std::string SharedDevice(const PortSettings& a, const PortSettings& b) {
  if (DeviceName(a.device) == DeviceName(b.device)) return DeviceName(a.device);
  const std::string interface = HostInterface(a.device);
  return interface == HostInterface(b.device) ? interface : "";
}

std::string AddressError(const Prefix& prefix) {
  const Family family = prefix.family;
  if (prefix.address.IsZero()) return "is no host's address";
  if (net::IsMulticast(family, prefix.address)) return "is a multicast address";
  if (net::IsLoopback(family, prefix.address)) return "is a loopback address";
  if (prefix.length == 0) return "has the whole world for its network";
  // Nothing forbids it (Linux takes a subnet's lowest address for a host's), but whoever writes it has
  // forgotten the host part.
  if (family == Family::kIpv4 && prefix.length < 31 && NetworkOf(prefix).address == prefix.address) {
    return "is its network's own address";
  }
  return NoHost(prefix, prefix.address);
}

class PortsReader {
 public:
  PortsReader(GroupReader* root, Config* config) : root_(root), config_(config) {}

  std::vector<PortAddress> Read() {
    const std::vector<const Setting*> groups = root_->Groups("ports");
    const Setting* list = root_->Find("ports");
    if (list == nullptr) {
      root_->Missing("ports", "name at least one port");
      return {};
    }
    if (!list->isGroup() && list->isAggregate() && list->getLength() == 0) {
      root_->Error(*list, "ports", "must have at least one port");
    }
    if (groups.size() > net::kMaxPorts) {
      root_->Error(*list, "ports", fmt::format("must have at most {} ports", net::kMaxPorts));
    }
    for (size_t i = 0; i < groups.size(); ++i) ReadPort(groups[i], i);
    return std::move(addresses_);
  }

 private:
  void ReadPort(const Setting* group, size_t index) {
    GroupReader reader(group, fmt::format("ports[{}]", index), root_->errors());
    PortSettings port;
    port.place = {root_->errors()->FileOf(*group), static_cast<int>(group->getSourceLine())};
    ReadPortName(&reader, &port);
    ReadDevice(&reader, &port);
    const Setting* mtu = reader.Number("mtu", kMinMtu, kMaxMtu, &port.mtu);
    ReadPortMac(&reader, &port);
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
      const std::string shared = SharedDevice(*port, other);
      if (shared.empty()) continue;
      reader->Error(*setting, "device",
                    fmt::format("\"{}\" is the device of port \"{}\" too", shared, other.name));
      return;
    }
  }

  // Frames for two ports with one address would reach either of them on a common segment, and a
  // switch would move the address to and fro.
  void ReadPortMac(GroupReader* reader, PortSettings* port) {
    port->mac = ReadMac(reader);
    if (!port->mac) return;
    for (const PortSettings& other : config_->ports) {
      if (other.mac != port->mac) continue;
      reader->Error(*reader->Find("mac"), "mac",
                    fmt::format("\"{}\" is the address of port \"{}\" (line {}) too",
                                net::ToString(*port->mac), other.name, other.place.line));
      return;
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
      // Without a length it would be alone on its network, which is rarely meant.
      if (!prefix || std::string_view(element.c_str()).find('/') == std::string_view::npos) {
        reader->Error(element, key,
                      fmt::format("\"{}\" isn't an address with a prefix length", element.c_str()));
        continue;
      }
      if (const std::string error = AddressError(*prefix); !error.empty()) {
        reader->Error(element, key, fmt::format("\"{}\" {}", element.c_str(), error));
        continue;
      }
      if (!CheckOverlap(reader, element, key, *prefix, index)) continue;
      addresses_.push_back({*prefix, static_cast<net::PortId>(index), &element});
      port->addresses.push_back(*prefix);
    }
  }

  // A second port in the same subnet could never be told from the first by a route.
  bool CheckOverlap(GroupReader* reader, const Setting& element, const std::string& key,
                    const Prefix& prefix, size_t index) {
    for (const PortAddress& other : addresses_) {
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
                                net::ToString(NetworkOf(other.prefix)),
                                config_->ports[other.port].name, other.setting->getSourceLine()));
      return false;
    }
    return true;
  }

  GroupReader* root_;
  Config* config_;
  std::vector<PortAddress> addresses_;
};

}  // namespace

std::vector<PortAddress> ReadPorts(GroupReader* root, Config* config) {
  return PortsReader(root, config).Read();
}

std::optional<net::MacAddress> ReadMac(GroupReader* reader) {
  std::string text;
  const Setting* setting = reader->Text("mac", &text);
  if (setting == nullptr) return std::nullopt;
  const auto mac = net::ParseMac(text);
  if (!mac) {
    reader->Error(*setting, "mac", fmt::format("\"{}\" isn't a MAC address", text));
  } else if (mac->IsMulticast() || *mac == net::MacAddress{}) {
    reader->Error(*setting, "mac", fmt::format("\"{}\" isn't one station's address", text));
  } else {
    return mac;
  }
  return std::nullopt;
}

Prefix NetworkOf(const Prefix& prefix) {
  Prefix network = prefix;
  network.address = prefix.address & net::PrefixMask(prefix.family, prefix.length);
  return network;
}

std::string NoHost(const Prefix& prefix, const net::IpAddress& address) {
  if (prefix.family == Family::kIpv6) {
    const bool first = prefix.length < 127 && NetworkOf(prefix).address == address;
    return first ? "is the anycast address of its network's routers" : "";  // RFC 4291 2.6.1
  }
  constexpr uint32_t kLimitedBroadcast = 0xffffffff;
  if (address.Word(0) == kLimitedBroadcast) return "is the broadcast address";
  if (prefix.length >= 31) return "";  // RFC 3021
  const uint32_t host = ~net::PrefixMask(Family::kIpv4, prefix.length).Word(0);
  return (address.Word(0) & host) == host ? "is its network's broadcast address" : "";
}

}  // namespace postern::control

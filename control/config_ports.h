// The ports of the configuration, each right by itself and beside the others.
#pragma once

#include <optional>
#include <vector>

#include "control/config.h"
#include "control/config_reader.h"

namespace postern::control {

// An address of a port, and where it stands.
struct PortAddress {
  net::Prefix prefix;
  net::PortId port;
  const libconfig::Setting* setting;
};

// Reads `ports` of the root group. The addresses that were taken.
std::vector<PortAddress> ReadPorts(GroupReader* root, Config* config);

// Reads the key `mac`; nothing where it isn't there or wrong, which is then noted.
std::optional<net::MacAddress> ReadMac(GroupReader* reader);

// The prefix without its host part.
net::Prefix NetworkOf(const net::Prefix& prefix);
// What an address is on the subnet of `prefix` if it isn't one host's, as the end of a sentence.
std::string NoHost(const net::Prefix& prefix, const net::IpAddress& address);

}  // namespace postern::control

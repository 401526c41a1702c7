// Names of hosts and networks by /etc/hosts and /etc/networks. Never by a name server, for which
// the control thread must not wait.
//
// Life-cycle: Get() reads the files when it is first called and again when one of them has changed.
// Threads: the control thread only.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "dataplane/net/address.h"

namespace postern::control::iptables {

class HostNames {
 public:
  // Valid until the next call.
  static const HostNames& Get();

  // A host's addresses, in the file's order, the same one as often as it stands there. Capitals
  // don't matter.
  std::vector<net::IpAddress> Addresses(net::Family family, const std::string& host) const;
  // IPv4 has networks' names only.
  std::optional<net::IpAddress> Network(const std::string& name) const;
  // The first host of that address, else the network; empty: there is none.
  std::string Name(net::Family family, const net::IpAddress& address) const;

 private:
  struct OfFamily {
    // By name in small letters.
    std::unordered_map<std::string, std::vector<net::IpAddress>> addresses;
    std::unordered_map<std::string, std::string> names;  // by address as text
  };
  static HostNames Read();
  void AddLine(const std::string& line);
  void AddHost(net::Family family, const std::string& address,
               const std::vector<std::string>& names);
  const OfFamily& Of(net::Family family) const;

  OfFamily ipv4_, ipv6_;
  std::unordered_map<std::string, net::IpAddress> networks_;  // by name in small letters
};

}  // namespace postern::control::iptables

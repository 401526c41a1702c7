// The configuration file (libconfig) as data, with every default.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/sysctl.h"
#include "dataplane/net/address.h"
#include "dataplane/route/neighbor_table.h"
#include "dataplane/route/route_table.h"

namespace postern::control {

// Where a setting stands, for messages about what shows only later.
struct ConfigPlace {
  std::string file;
  int line = 0;
};

struct SystemConfig {
  std::string control_socket = "/run/postern/postern.sock";
  std::string metrics = "127.0.0.1:9797";  // "": none; port 0: any free one
  std::string state_dir = "/var/lib/postern";
  ConfigPlace place;
  // Same settings, wherever they stand.
  bool SameAs(const SystemConfig& other) const {
    return control_socket == other.control_socket && metrics == other.metrics &&
           state_dir == other.state_dir;
  }
};

enum class IdleMode : uint8_t {
  kAuto,   // sleeps where a worker shares its CPU, polls otherwise
  kPoll,   // never sleeps
  kSleep,  // sleeps a little when nothing comes
};

struct DataplaneConfig {
  std::vector<unsigned> workers = {1};  // CPU ids; one may stand several times
  unsigned main_core = 0;
  bool hugepages = true;
  unsigned memory_mb = 1024;
  unsigned mbufs = 65536;
  unsigned rx_descriptors = 1024;
  unsigned tx_descriptors = 1024;
  unsigned burst = 32;
  std::vector<std::string> eal_args;
  IdleMode idle = IdleMode::kAuto;
  ConfigPlace place;
  // Same settings, wherever they stand.
  bool SameAs(const DataplaneConfig& other) const;
};

struct PortSettings {
  std::string name;
  std::string device;  // PCI address or DPDK --vdev string
  std::vector<net::Prefix> addresses;
  uint16_t mtu = 1500;
  std::optional<net::MacAddress> mac;  // the device's own otherwise
  bool host = true;                    // has a twin interface in the host's kernel
  ConfigPlace place;
  // Same settings, wherever they stand.
  bool SameAs(const PortSettings& other) const {
    return name == other.name && device == other.device && addresses == other.addresses &&
           mtu == other.mtu && mac == other.mac && host == other.host;
  }
};

struct NatConfig {
  bool strict_port_preservation = false;  // port_preservation = "strict"
};

// One file of rules. `path` is "" where none is named.
struct RuleFile {
  std::string path;
  ConfigPlace place;
};
struct RuleFiles {
  RuleFile ipv4;
  RuleFile ipv6;
  RuleFile ipset;
};

struct LogConfig {
  std::string rules_file;             // LOG lines go to this file; "": to syslog
  std::string facility = "daemon";    // of syslog
  std::string identifier = "kernel";  // the tag before each line
  friend bool operator==(const LogConfig&, const LogConfig&) = default;
};

struct Config {
  std::string file;
  SystemConfig system;
  DataplaneConfig dataplane;
  std::vector<PortSettings> ports;  // the index is the PortId
  std::vector<route::StaticRoute> routes;
  std::vector<route::StaticNeighbor> neighbors;
  Sysctls sysctls;  // conntrack group over sysctl_files over the defaults
  std::vector<std::string> helpers;
  NatConfig nat;
  std::vector<std::string> sysctl_files;
  RuleFiles rules;
  LogConfig log;
  // Things that the operator should know but that stop nothing: "FILE:LINE: sentence".
  std::vector<std::string> warnings;

  std::vector<std::string> PortNames() const;
};

// Reads a configuration. On errors each is one "FILE:LINE: message" in *errors and nothing is
// returned. Relative paths in the file are relative to its folder.
std::optional<Config> LoadConfig(const std::string& file, std::vector<std::string>* errors);
// The same for text that isn't in a file; `file` is its name in messages.
std::optional<Config> ParseConfig(const std::string& text, const std::string& file,
                                  std::vector<std::string>* errors);

// "127.0.0.1:9797", "[::1]:0", "localhost:9797".
bool IsListenAddress(std::string_view text);

}  // namespace postern::control

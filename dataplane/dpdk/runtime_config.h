// What the daemon tells the data plane before it starts. Plain data: the daemon fills it from its
// configuration file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/net/address.h"

namespace postern::dpdk {

// A network behind the appliance that its own programs reach through a port's twin.
struct HostRoute {
  net::Prefix prefix;
  std::optional<net::IpAddress> via;
};

struct PortSettings {
  std::string name;
  std::string device;                  // a PCI address or a --vdev string
  std::optional<net::MacAddress> mac;  // nothing: the device's own
  uint16_t mtu = 1500;
  bool host = true;                         // has a twin in the host's kernel, named like the port
  std::optional<net::MacAddress> host_mac;  // of the twin; nothing: made from the port's
  std::vector<net::Prefix> addresses;       // of the twin, with host bits
  std::vector<HostRoute> host_routes;
};

enum class IdlePolicy : uint8_t {
  kAuto,   // sleep when a worker shares its CPU or its CPU isn't isolated, else poll
  kPoll,   // never sleep
  kSleep,  // sleep some microseconds after some hundred empty polls
};

enum class LogLevel : uint8_t { kInfo, kWarning, kError };

struct RuntimeConfig {
  std::vector<unsigned> workers;  // CPU ids, 1..64 of them; CPUs may repeat
  unsigned main_core = 0;         // CPU of the control thread and the host thread
  bool hugepages = true;          // false: ordinary memory
  // Hugepages for packet buffers, routes and rings. Of ordinary memory DPDK reserves what it
  // may need and uses what it does.
  unsigned memory_mb = 1024;
  unsigned mbufs = 65536;
  uint16_t rx_descriptors = 1024;
  uint16_t tx_descriptors = 1024;
  unsigned burst = 32;  // 1..64
  IdlePolicy idle = IdlePolicy::kAuto;
  std::vector<std::string> eal_args;  // passed to the EAL as they are
  std::string file_prefix;            // empty: made from the process id
  std::vector<PortSettings> ports;    // at most net::kMaxPorts

  uint32_t conntrack_capacity = 262144;  // the largest nf_conntrack_max that may be set
  uint64_t seed = 0;                     // random: keys of hashes and of RSS come from it

  // Told of things that the operator should know. Control thread only.
  std::function<void(LogLevel, const std::string&)> log;

  void Log(LogLevel level, const std::string& message) const {
    if (log) log(level, message);
  }
};

}  // namespace postern::dpdk

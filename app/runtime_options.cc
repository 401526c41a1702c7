#include "app/runtime_options.h"

#include <algorithm>

namespace postern::app {
namespace {

// An appliance with memory to spare can raise nf_conntrack_max to the kernel's usual value while
// it runs; a small one has what its configuration says.
constexpr uint32_t kUsualMax = 262144;
constexpr unsigned kRoomyMb = 512;

dpdk::IdlePolicy Idle(control::IdleMode mode) {
  switch (mode) {
    case control::IdleMode::kPoll:
      return dpdk::IdlePolicy::kPoll;
    case control::IdleMode::kSleep:
      return dpdk::IdlePolicy::kSleep;
    case control::IdleMode::kAuto:
      break;
  }
  return dpdk::IdlePolicy::kAuto;
}

// Which port a static route leaves by: the one it names, or the one whose subnet holds its router.
bool LeavesBy(const route::StaticRoute& route, size_t index, const control::PortSettings& port) {
  if (route.port != net::kNoPort) return route.port == index;
  return route.via && std::any_of(port.addresses.begin(), port.addresses.end(), [&](const auto& a) {
           return a.family == route.prefix.family && a.Contains(*route.via);
         });
}

}  // namespace

dpdk::RuntimeConfig MakeRuntimeConfig(const control::Config& config, uint64_t seed) {
  const control::DataplaneConfig& from = config.dataplane;
  dpdk::RuntimeConfig to;
  to.workers = from.workers;
  to.main_core = from.main_core;
  to.hugepages = from.hugepages;
  to.memory_mb = from.memory_mb;
  to.mbufs = from.mbufs;
  to.rx_descriptors = static_cast<uint16_t>(from.rx_descriptors);
  to.tx_descriptors = static_cast<uint16_t>(from.tx_descriptors);
  to.burst = from.burst;
  to.idle = Idle(from.idle);
  to.eal_args = from.eal_args;
  for (size_t i = 0; i < config.ports.size(); ++i) {
    const control::PortSettings& settings = config.ports[i];
    dpdk::PortSettings port;
    port.name = settings.name;
    port.device = settings.device;
    port.mac = settings.mac;
    port.mtu = settings.mtu;
    port.host = settings.host;
    port.addresses = settings.addresses;
    for (const route::StaticRoute& route : config.routes) {
      if (LeavesBy(route, i, settings)) port.host_routes.push_back({route.prefix, route.via});
    }
    to.ports.push_back(std::move(port));
  }
  const uint32_t max = config.sysctls.conntrack.max;
  to.conntrack_capacity = from.memory_mb >= kRoomyMb ? std::max(max, kUsualMax) : std::max(max, 1U);
  to.seed = seed;
  return to;
}

}  // namespace postern::app

#include "control/snapshot_builder.h"

#include <algorithm>
#include <utility>

namespace postern::control {
namespace {

void SetSysctls(const Sysctls& sysctls, pipeline::Snapshot* snapshot) {
  snapshot->conntrack = sysctls.conntrack;
  snapshot->forward_ipv4 = sysctls.forward_ipv4;
  snapshot->forward_ipv6 = sysctls.forward_ipv6;
  snapshot->reverse_path_filter = static_cast<pipeline::ReversePath>(sysctls.reverse_path_filter);
  snapshot->limit_icmp_errors = sysctls.icmp_ratelimit != 0;
}

void MakeWorkerRules(size_t workers, pipeline::Snapshot* snapshot) {
  for (size_t i = 0; i < workers; ++i) {
    snapshot->worker_rules.push_back(std::make_unique<rules::WorkerRules>(*snapshot->rules));
  }
}

std::shared_ptr<const route::RouteTable> MakeRoutes(const SnapshotInputs& inputs) {
  std::unique_ptr<route::Fib> fib;
  if (inputs.make_fib) fib = inputs.make_fib();
  if (fib == nullptr) fib = route::MakeTrieFib();
  return std::make_shared<const route::RouteTable>(*inputs.ports, inputs.config->routes,
                                                   std::move(fib), inputs.generation);
}

}  // namespace

net::MacAddress MakePortMac(net::PortId port) {
  // The locally administered bit is set, the group bit isn't.
  return {{0x02, 0x50, 0x53, 0x54, static_cast<uint8_t>(port >> 8), static_cast<uint8_t>(port)}};
}

std::vector<route::PortConfig> MakePortConfigs(const Config& config,
                                               const std::vector<PortMacs>& macs) {
  std::vector<route::PortConfig> ports;
  for (size_t i = 0; i < config.ports.size(); ++i) {
    const PortSettings& settings = config.ports[i];
    route::PortConfig port;
    port.id = static_cast<net::PortId>(i);
    port.name = settings.name;
    port.mac = settings.mac.value_or(MakePortMac(port.id));
    if (i < macs.size() && macs[i].port != net::MacAddress{}) port.mac = macs[i].port;
    // The twin answers to the port's own address unless the host gave it another.
    port.host_mac = port.mac;
    if (i < macs.size() && macs[i].host != net::MacAddress{}) port.host_mac = macs[i].host;
    port.mtu = settings.mtu;
    port.host = settings.host;
    port.addresses = settings.addresses;
    ports.push_back(std::move(port));
  }
  return ports;
}

rules::RuleSet::Options MakeRuleSetOptions(const SnapshotInputs& inputs) {
  const Sysctls& sysctls = inputs.sysctls != nullptr ? *inputs.sysctls : inputs.config->sysctls;
  rules::RuleSet::Options options;
  options.port_names = inputs.config->PortNames();
  options.generation = inputs.generation;
  // As many sources as connections: what can be set later is reserved now.
  options.connlimit_keys = std::max(sysctls.conntrack.max, inputs.conntrack_capacity);
  options.hash_seed = inputs.hash_seed;
  return options;
}

std::unique_ptr<pipeline::Snapshot> BuildSnapshot(const SnapshotInputs& inputs) {
  const Config& config = *inputs.config;
  auto snapshot = std::make_unique<pipeline::Snapshot>();
  snapshot->generation = inputs.generation;

  snapshot->rules = rules::RuleSet::Compile(*inputs.model, MakeRuleSetOptions(inputs),
                                            inputs.shared, inputs.previous);
  MakeWorkerRules(inputs.workers, snapshot.get());

  snapshot->routes = inputs.routes != nullptr ? inputs.routes : MakeRoutes(inputs);
  snapshot->neighbors = config.neighbors;
  SetSysctls(inputs.sysctls != nullptr ? *inputs.sysctls : config.sysctls, snapshot.get());
  snapshot->strict_port_preservation = config.nat.strict_port_preservation;
  snapshot->fast_path = inputs.fast_path;
  return snapshot;
}

std::unique_ptr<pipeline::Snapshot> WithSysctls(const pipeline::Snapshot& current,
                                                const Sysctls& sysctls, uint32_t generation) {
  auto snapshot = std::make_unique<pipeline::Snapshot>();
  snapshot->generation = generation;
  snapshot->rules = current.rules;
  MakeWorkerRules(current.worker_rules.size(), snapshot.get());
  snapshot->routes = current.routes;
  snapshot->neighbors = current.neighbors;
  SetSysctls(sysctls, snapshot.get());
  snapshot->strict_port_preservation = current.strict_port_preservation;
  snapshot->fast_path = current.fast_path;
  return snapshot;
}

}  // namespace postern::control

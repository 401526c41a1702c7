// Makes what workers obey (pipeline::Snapshot) of a configuration and a rule set.
// The daemon's engine and replay build the same way.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "control/config.h"
#include "dataplane/pipeline/snapshot.h"
#include "dataplane/rules/rule_set.h"

namespace postern::control {

// The MAC addresses that a port has got, by PortId.
struct PortMacs {
  net::MacAddress port;
  net::MacAddress host;  // of the twin interface; unused where the port has none
};

// Ports as the router wants them. `macs` has one entry a port. Where a port's MAC isn't known (all
// zero), the configured one or MakePortMac() is taken.
std::vector<route::PortConfig> MakePortConfigs(const Config& config,
                                               const std::vector<PortMacs>& macs);
// A locally administered address for port number `port`, for replay and for ports that have none.
net::MacAddress MakePortMac(net::PortId port);

struct SnapshotInputs {
  const Config* config = nullptr;
  const Sysctls* sysctls = nullptr;     // null: the configuration's
  const rules::Model* model = nullptr;  // validated
  const std::vector<route::PortConfig>* ports = nullptr;
  unsigned workers = 1;
  uint32_t generation = 1;
  rules::SharedState* shared = nullptr;
  const rules::RuleSet* previous = nullptr;  // the rule set in force, or null
  // Routes that are still right (a rule changed, not the configuration); null: made anew.
  std::shared_ptr<const route::RouteTable> routes;
  // Makes an empty FIB; empty, or where it gives null for lack of memory: route::MakeTrieFib.
  std::function<std::unique_ptr<route::Fib>()> make_fib;
  bool fast_path = true;
  // The most connections that the data plane has room for; 0: nf_conntrack_max of `sysctls`.
  uint32_t conntrack_capacity = 0;
  uint64_t hash_seed = 0;  // random where strangers send packets
};

rules::RuleSet::Options MakeRuleSetOptions(const SnapshotInputs& inputs);
std::unique_ptr<pipeline::Snapshot> BuildSnapshot(const SnapshotInputs& inputs);

// A snapshot that differs from `current` only in its sysctls: same rules and routes. Its
// WorkerRules are new, so the counts of the old ones must be carried over.
std::unique_ptr<pipeline::Snapshot> WithSysctls(const pipeline::Snapshot& current,
                                                const Sysctls& sysctls, uint32_t generation);

}  // namespace postern::control

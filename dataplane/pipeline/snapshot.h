// Everything that the control thread decides and workers obey, published as one pointer.
//
// Built whole by the control thread, adopted by each worker between two bursts, freed by
// the control thread when every worker has passed a quiescent state. Immutable but for
// WorkerRules, each of which belongs to one worker.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ctrack/settings.h"
#include "dataplane/route/neighbor_table.h"
#include "dataplane/route/route_table.h"
#include "dataplane/rules/rule_set.h"
#include "dataplane/rules/worker_rules.h"

namespace postern::pipeline {

// net.ipv4.conf.all.rp_filter, with the kernel's numbers.
enum class ReversePath : uint8_t { kOff = 0, kStrict = 1, kLoose = 2 };

struct Snapshot {
  uint32_t generation = 1;  // of the whole; rises with each publication
  std::shared_ptr<const rules::RuleSet> rules;
  std::vector<std::unique_ptr<rules::WorkerRules>> worker_rules;  // by worker
  std::shared_ptr<const route::RouteTable> routes;
  std::vector<route::StaticNeighbor> neighbors;
  ctrack::Settings conntrack;
  bool forward_ipv4 = true;  // net.ipv4.ip_forward
  bool forward_ipv6 = true;  // net.ipv6.conf.all.forwarding
  ReversePath reverse_path_filter = ReversePath::kOff;
  bool limit_icmp_errors = true;          // false where net.ipv4.icmp_ratelimit is 0
  bool strict_port_preservation = false;  // nat.port_preservation = "strict"
  bool fast_path = true;  // remembered paths; false walks the rules for every packet
};

}  // namespace postern::pipeline

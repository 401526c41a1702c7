// The firewall that runs: its configuration, its rules and their counters, on a data plane.
//
// Life-cycle: Start() publishes the first snapshot; from then on Apply() (a command changed the
// rules), SetSysctls() and Reload() (the whole configuration again) each build a new snapshot and
// publish it. Everything is checked and compiled before the publication, which can't fail: a
// refused change leaves what runs in force, whole.
//
// Counters: what a rule counted is carry_[id], what older snapshots counted (or what the rules
// were loaded with), plus what the workers have counted since in the snapshot in force. At each
// publication the old snapshot comes back with its final counts, which go to the same rules of the
// new one.
//
// Rule sets share what outlives them (recent's lists), which is the engine's: when the engine goes,
// the data plane must have stopped.
//
// Threads: the control thread only.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "control/config.h"
#include "control/firewall.h"
#include "control/snapshot_builder.h"
#include "dataplane/pipeline/dataplane.h"

namespace postern::control {

class Engine : public Firewall {
 public:
  struct Options {
    std::function<std::unique_ptr<route::Fib>()> make_fib;  // empty: route::MakeTrieFib
    std::vector<PortMacs> macs;                             // what the ports have got
    std::function<void(const std::string&)> warn;           // may be empty
    // The most connections that the data plane has room for; 0: no limit. nf_conntrack_max can't
    // be set beyond it while the daemon runs.
    uint32_t conntrack_capacity = 0;
    // Begins the hashes of the rule sets over addresses; random where strangers send packets.
    uint64_t hash_seed = 0;
    bool fast_path = true;  // false: every packet walks the rules (DESIGN.md section 4)
  };
  Engine(Config config, pipeline::Dataplane* dataplane, Options options);

  // The first rule set. `model` is validated.
  void Start(rules::Model model);

  rules::Model Rules() override;
  net::Status Apply(rules::Model next, bool keep_running_counters) override;

  // Reads configuration, sysctls and rules again. The error has one "FILE:LINE: sentence" a line.
  net::Status Reload();
  // Publishes changed sysctls.
  net::Status SetSysctls(const Sysctls& sysctls);

  const Config& config() const { return config_; }
  const Sysctls& sysctls() const { return sysctls_; }
  uint32_t generation() const { return generation_; }
  pipeline::Dataplane& dataplane() { return *dataplane_; }
  const std::vector<route::PortConfig>& ports() const { return ports_; }
  // The counts of every rule and policy as they stand now, by rule id of rule_set().
  std::vector<rules::Counters> Totals() const;
  const rules::RuleSet* rule_set() const;

  struct ReloadStats {
    uint64_t succeeded = 0;
    uint64_t failed = 0;
    bool last_ok = true;
    std::chrono::system_clock::time_point last_success{};
  };
  const ReloadStats& reloads() const { return reloads_; }
  std::chrono::steady_clock::time_point started() const { return started_; }

 private:
  net::Status TryReload();
  // Builds and publishes; counters by `keep`. `routes`: those in force where they are still right.
  void Publish(const rules::Model& model, const Config& config, const Sysctls& sysctls, bool keep,
               std::shared_ptr<const route::RouteTable> routes);
  void CarryCounters(const rules::RuleSet* previous, const rules::RuleSet& next,
                     const std::vector<rules::Counters>& before, bool keep, bool read);
  void CheckReloadable(const Config& next, std::vector<std::string>* errors) const;
  void WarnOf(const Config& config, const rules::Model& model);
  std::string CapacityError(const Sysctls& sysctls) const;

  // Immutable after construction.
  pipeline::Dataplane* const dataplane_;
  const Options options_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();

  Config config_;
  Sysctls sysctls_;
  std::vector<route::PortConfig> ports_;
  rules::SharedState shared_;
  uint32_t generation_ = 0;
  std::vector<rules::Counters> carry_;  // by rule id of the snapshot in force
  std::vector<rules::Counters> read_;   // what Rules() gave last, by rule id of that generation
  uint32_t read_generation_ = 0;
  ReloadStats reloads_;
  std::set<std::string> warned_;
};

}  // namespace postern::control

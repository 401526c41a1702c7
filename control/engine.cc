#include "control/engine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "control/rule_files.h"

namespace postern::control {
namespace {

net::Error Joined(const std::vector<std::string>& errors) {
  return net::Error{fmt::format("{}", fmt::join(errors, "\n"))};
}

// The counters of the rule or policy that stands at `place`; `model` may be const.
template <typename Model>
auto& CountersAt(const rules::RulePlace& place, Model* model) {
  auto& chain = model->family(place.family).table(place.table).chains[place.chain];
  return place.number == 0 ? chain.policy_counters : chain.rules[place.number - 1].counters;
}

void AddWorkers(const pipeline::Snapshot& snapshot, std::vector<rules::Counters>* totals) {
  for (const auto& worker : snapshot.worker_rules) worker->AddTo(*totals);
}

}  // namespace

Engine::Engine(Config config, pipeline::Dataplane* dataplane, Options options)
    : dataplane_(dataplane),
      options_(std::move(options)),
      config_(std::move(config)),
      sysctls_(config_.sysctls),
      ports_(MakePortConfigs(config_, options_.macs)) {}

void Engine::Start(rules::Model model) {
  WarnOf(config_, model);
  Publish(model, config_, sysctls_, false, nullptr);
}

const rules::RuleSet* Engine::rule_set() const {
  const pipeline::Snapshot* snapshot = dataplane_->current();
  return snapshot == nullptr ? nullptr : snapshot->rules.get();
}

std::vector<rules::Counters> Engine::Totals() const {
  std::vector<rules::Counters> totals = carry_;
  if (const pipeline::Snapshot* snapshot = dataplane_->current()) AddWorkers(*snapshot, &totals);
  return totals;
}

rules::Model Engine::Rules() {
  const rules::RuleSet* set = rule_set();
  if (set == nullptr) return {};
  rules::Model model = set->model();
  read_ = Totals();
  read_generation_ = generation_;
  for (rules::RuleId id = 0; id < set->rule_count(); ++id) {
    CountersAt(set->Place(id), &model) = read_[id];
  }
  return model;
}

net::Status Engine::Apply(rules::Model next, bool keep_running_counters) {
  std::vector<std::string> errors;
  if (!rules::Validate(next, &errors)) return Joined(errors);
  WarnOf(config_, next);
  const pipeline::Snapshot* current = dataplane_->current();
  Publish(next, config_, sysctls_, keep_running_counters,
          current == nullptr ? nullptr : current->routes);
  return {};
}

net::Status Engine::SetSysctls(const Sysctls& sysctls) {
  if (const std::string error = CapacityError(sysctls); !error.empty()) return net::Error{error};
  const pipeline::Snapshot* current = dataplane_->current();
  sysctls_ = sysctls;
  if (current == nullptr) return {};
  const auto old = dataplane_->Publish(WithSysctls(*current, sysctls, ++generation_));
  AddWorkers(*old, &carry_);
  return {};
}

net::Status Engine::Reload() {
  const net::Status status = TryReload();
  reloads_.last_ok = status.ok();
  if (status) {
    ++reloads_.succeeded;
    reloads_.last_success = std::chrono::system_clock::now();
  } else {
    ++reloads_.failed;
  }
  return status;
}

net::Status Engine::TryReload() {
  std::vector<std::string> errors;
  auto config = LoadConfig(config_.file, &errors);
  if (!config) return Joined(errors);
  CheckReloadable(*config, &errors);
  auto model = LoadRules(*config, &errors);
  if (!model || !errors.empty()) return Joined(errors);
  if (const std::string error = CapacityError(config->sysctls); !error.empty()) {
    return net::Error{error};
  }
  WarnOf(*config, *model);
  // The ports stay as they are. Where the routes do, too, only rules are new to the workers.
  const pipeline::Snapshot* current = dataplane_->current();
  const bool same_routes = current != nullptr && config->routes == config_.routes;
  config_ = std::move(*config);
  sysctls_ = config_.sysctls;
  Publish(*model, config_, sysctls_, true, same_routes ? current->routes : nullptr);
  return {};
}

void Engine::Publish(const rules::Model& model, const Config& config, const Sysctls& sysctls,
                     bool keep, std::shared_ptr<const route::RouteTable> routes) {
  const pipeline::Snapshot* current = dataplane_->current();
  SnapshotInputs inputs;
  inputs.config = &config;
  inputs.sysctls = &sysctls;
  inputs.model = &model;
  inputs.ports = &ports_;
  inputs.workers = dataplane_->workers();
  inputs.generation = ++generation_;
  inputs.shared = &shared_;
  inputs.previous = current == nullptr ? nullptr : current->rules.get();
  inputs.routes = std::move(routes);
  inputs.make_fib = options_.make_fib;
  inputs.fast_path = options_.fast_path;
  inputs.conntrack_capacity = options_.conntrack_capacity;
  inputs.hash_seed = options_.hash_seed;
  auto next = BuildSnapshot(inputs);
  const std::shared_ptr<const rules::RuleSet> rules = next->rules;

  // What was read for this change, if anything: the rule set that it was read from is still in
  // force.
  const bool read = current != nullptr && read_generation_ + 1 == inputs.generation;
  const auto old = dataplane_->Publish(std::move(next));
  std::vector<rules::Counters> before = std::move(carry_);
  if (old) AddWorkers(*old, &before);
  CarryCounters(old ? old->rules.get() : nullptr, *rules, before, keep, read);
}

void Engine::CarryCounters(const rules::RuleSet* previous, const rules::RuleSet& next,
                           const std::vector<rules::Counters>& before, bool keep, bool read) {
  carry_.assign(next.rule_count(), {});
  for (rules::RuleId id = 0; id < next.rule_count(); ++id) {
    carry_[id] = CountersAt(next.Place(id), &next.model());
  }
  if (previous == nullptr || (!keep && !read)) return;
  const std::vector<rules::RuleId> same = rules::MatchRules(*previous, next);
  for (rules::RuleId id = 0; id < next.rule_count(); ++id) {
    if (same[id] == rules::kNoRule) continue;
    // A count that the change has left as it was read goes on: packets have passed since.
    if (keep || carry_[id] == read_[same[id]]) carry_[id] = before[same[id]];
  }
}

void Engine::CheckReloadable(const Config& next, std::vector<std::string>* errors) const {
  constexpr std::string_view kRestart = "it takes a restart of posternd";
  const auto refuse = [&](const ConfigPlace& place, const std::string& what) {
    errors->push_back(fmt::format("{}:{}: {}: {}", place.file, place.line, what, kRestart));
  };
  if (!next.system.SameAs(config_.system)) {
    refuse(next.system.place, "system can't change while posternd runs");
  }
  if (!next.dataplane.SameAs(config_.dataplane)) {
    refuse(next.dataplane.place, "dataplane can't change while posternd runs");
  }
  for (size_t i = 0; i < next.ports.size(); ++i) {
    if (i >= config_.ports.size()) {
      refuse(next.ports[i].place,
             fmt::format("port \"{}\" can't be added while posternd runs", next.ports[i].name));
    } else if (!next.ports[i].SameAs(config_.ports[i])) {
      refuse(next.ports[i].place,
             fmt::format("port \"{}\" can't change while posternd runs", next.ports[i].name));
    }
  }
  for (size_t i = next.ports.size(); i < config_.ports.size(); ++i) {
    refuse({next.file, 1},
           fmt::format("port \"{}\" can't be removed while posternd runs", config_.ports[i].name));
  }
}

std::string Engine::CapacityError(const Sysctls& sysctls) const {
  if (options_.conntrack_capacity == 0 || sysctls.conntrack.max <= options_.conntrack_capacity) {
    return "";
  }
  return fmt::format(
      "nf_conntrack_max {} is beyond the {} connections that posternd has reserved memory for: set "
      "it in the configuration and restart posternd",
      sysctls.conntrack.max, options_.conntrack_capacity);
}

void Engine::WarnOf(const Config& config, const rules::Model& model) {
  if (!options_.warn) return;
  std::vector<std::string> warnings = config.warnings;
  const auto unknown = UnknownInterfaces(model, config.PortNames());
  warnings.insert(warnings.end(), unknown.begin(), unknown.end());
  for (const std::string& warning : warnings) {
    if (warned_.insert(warning).second) options_.warn(warning);
  }
}

}  // namespace postern::control

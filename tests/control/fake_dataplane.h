// A data plane without packets: what is published is kept, the test counts in its place.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "dataplane/pipeline/dataplane.h"

namespace postern::test {

class FakeDataplane : public pipeline::Dataplane {
 public:
  explicit FakeDataplane(unsigned workers) : workers_(workers) {}

  unsigned workers() const override { return workers_; }
  std::unique_ptr<pipeline::Snapshot> Publish(std::unique_ptr<pipeline::Snapshot> next) override {
    ++publications;
    // Workers go on counting until they have adopted the new one.
    if (current_ && before_swap) before_swap(*current_);
    return std::exchange(current_, std::move(next));
  }
  const pipeline::Snapshot* current() const override { return current_.get(); }
  void Run(unsigned, pipeline::WorkerCommand*) override {}
  std::vector<pipeline::PortStats> Ports() override { return ports; }
  std::vector<pipeline::WorkerStats> Workers() override { return worker_stats; }
  uint32_t conntrack_entries() const override { return entries; }
  net::Time Now() const override { return 0; }

  // Worker `worker` counts a packet on the rule (or policy, number 0) of filter in `chain`.
  void Count(unsigned worker, std::string_view chain, uint32_t number, uint64_t bytes,
             const pipeline::Snapshot* snapshot = nullptr) {
    if (snapshot == nullptr) snapshot = current_.get();
    const rules::RuleSet& set = *snapshot->rules;
    const auto& chains = set.model().ipv4.table(net::Table::kFilter).chains;
    for (uint16_t i = 0; i < chains.size(); ++i) {
      if (chains[i].name != chain) continue;
      const rules::RuleId id = set.IdOf({net::Family::kIpv4, net::Table::kFilter, i, number});
      snapshot->worker_rules[worker]->CountRule(id, 1, bytes);
    }
  }

  int publications = 0;
  uint32_t entries = 0;
  std::vector<pipeline::PortStats> ports;
  std::vector<pipeline::WorkerStats> worker_stats;
  std::function<void(const pipeline::Snapshot&)> before_swap;

 private:
  unsigned workers_;
  std::unique_ptr<pipeline::Snapshot> current_;
};

}  // namespace postern::test

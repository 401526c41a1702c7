#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "perf/bench.h"
#include "perf/turns.h"

namespace postern::perf {
namespace {

constexpr Scenario kMillion{Transport::kUdp, Nat::kMasquerade, 1'000'000};
constexpr Scenario kManyRules{Transport::kUdp, Nat::kMasquerade, 16'000, 10'000};
constexpr TurnScenario kScenarios[] = {
    {TurnKind::kTraffic, kMillion}, {TurnKind::kExpiry, kMillion},   {TurnKind::kDump, kMillion},
    {TurnKind::kFlush, kMillion},   {TurnKind::kReload, kManyRules},
};

nlohmann::ordered_json Figures(const TurnTimes& times) {
  const double us = 1e6 / static_cast<double>(rte_get_tsc_hz());
  Histogram own;
  for (const uint32_t cycles : times.own) own.Add(cycles);
  std::vector<uint64_t> longest = times.longest;
  std::sort(longest.begin(), longest.end());
  const auto micros = [us](uint64_t cycles) { return static_cast<double>(cycles) * us; };
  return {{"turns", times.own.size()},
          {"own_p50_us", micros(own.Quantile(0.5))},
          {"own_p99_us", micros(own.Quantile(0.99))},
          {"own_p99.9_us", micros(own.Quantile(0.999))},
          {"own_max_us", micros(own.max())},
          {"met_p99.9_us", micros(times.met.Quantile(0.999))},
          {"met_max_us", micros(longest[longest.size() / 2])},
          {"connections_before", times.connections_before},
          {"connections_after", times.connections_after}};
}

void Print(const std::string& name, const nlohmann::ordered_json& f) {
  fmt::print("{:<48} {:>8} {:>7.1f} {:>7.1f} {:>7.1f} {:>7.1f} | {:>7.1f} {:>8.1f}\n", name,
             f["turns"].get<size_t>(), f["own_p50_us"].get<double>(), f["own_p99_us"].get<double>(),
             f["own_p99.9_us"].get<double>(), f["own_max_us"].get<double>(),
             f["met_p99.9_us"].get<double>(), f["met_max_us"].get<double>());
}

}  // namespace

std::vector<std::string> TurnNames() {
  std::vector<std::string> names;
  for (const TurnScenario& scenario : kScenarios) names.push_back(scenario.Name());
  return names;
}

net::Status RunTurnScenarios(const BenchOptions& options) {
  // Only one scenario's tables are there at a time.
  if (net::Status status = StartDpdk(options, kMillion.flows); !status) return status;
  auto ground = Ground::Create();
  if (!ground) return net::Error{ground.error()};
  nlohmann::ordered_json scenarios = nlohmann::ordered_json::array();
  fmt::print("{:<48} {:>8} {:>7} {:>7} {:>7} {:>7} | {:>7} {:>8}\n", "a turn, µs: posternd's own",
             "turns", "p50", "p99", "p99.9", "max", "p99.9", "max, met");
  const std::vector<std::string> all = TurnNames();
  for (TurnScenario scenario : kScenarios) {
    scenario.traffic.flows = std::min(scenario.traffic.flows, options.most_flows);
    if (!IsChosen(scenario.Name(), options.only, all)) continue;
    const auto times = RunTurns(**ground, scenario, options.rounds, options.main_cpu);
    if (!times) return net::Error{times.error()};
    nlohmann::ordered_json figures = Figures(*times);
    Print(scenario.Name(), figures);
    figures["name"] = scenario.Name();
    scenarios.push_back(std::move(figures));
  }
  if (scenarios.empty()) return net::Error{"no scenario has such a name; --list shows them"};
  return WriteJson(
      options, nlohmann::ordered_json({{"repeats", options.rounds}, {"turns", scenarios}}).dump(2));
}

}  // namespace postern::perf

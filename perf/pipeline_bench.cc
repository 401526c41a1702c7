#include <iostream>
#include <vector>

#include "perf/bench.h"
#include "perf/report.h"

namespace postern::perf {
namespace {

constexpr Scenario kScenarios[] = {
    {Transport::kUdp, Nat::kNone, 1'000},
    {Transport::kUdp, Nat::kNone, 16'000},
    {Transport::kUdp, Nat::kNone, 200'000},
    {Transport::kUdp, Nat::kNone, 1'000'000},
    {Transport::kUdp, Nat::kMasquerade, 1'000},
    {Transport::kUdp, Nat::kMasquerade, 16'000},
    {Transport::kUdp, Nat::kMasquerade, 200'000},
    {Transport::kUdp, Nat::kMasquerade, 1'000'000},
    {Transport::kUdp, Nat::kDnat, 16'000},
    {Transport::kTcp, Nat::kNone, 16'000},
    {Transport::kTcp, Nat::kMasquerade, 16'000},
    {Transport::kTcp, Nat::kDnat, 16'000},
    {Transport::kUdp, Nat::kNone, 16'000, 10'000},
    {Transport::kUdp, Nat::kNone, 16'000, 10, false},
    {Transport::kUdp, Nat::kMasquerade, 16'000, 10, false},
    {Transport::kTcp, Nat::kNone, 16'000, 10, false},
    {Transport::kUdp, Nat::kNone, 0, 10, true, 200'000},
    {Transport::kUdp, Nat::kMasquerade, 0, 10, true, 200'000},
    {Transport::kUdp, Nat::kMasquerade, 1'000'000, 10, true, 200'000},
    {Transport::kUdp, Nat::kNone, 0, 10'000, true, 20'000},
};

std::vector<Scenario> Chosen(const BenchOptions& options) {
  const std::vector<std::string> all = PipelineNames();
  std::vector<Scenario> chosen;
  for (const Scenario& scenario : kScenarios) {
    if (!IsChosen(scenario.Name(), options.only, all)) continue;
    if (scenario.flows + scenario.storm <= options.most_flows) chosen.push_back(scenario);
  }
  return chosen;
}

uint32_t ConnectionsOf(const std::vector<Scenario>& scenarios) {
  uint32_t connections = 0;
  for (const Scenario& scenario : scenarios) connections += scenario.flows + scenario.storm + 4096;
  return connections;
}

// A storm's router lives for its round only; those of established traffic live side by side, so
// that their rounds alternate.
net::Status RunStorm(const Ground& ground, unsigned rounds, Measurement* m) {
  for (unsigned round = 0; round < rounds; ++round) {
    auto traffic = Traffic::Create(ground, m->scenario);
    if (!traffic) return net::Error{traffic.error()};
    m->rounds.push_back((*traffic)->Storm());
    m->bursts.insert(m->bursts.end(), (*traffic)->bursts().begin(), (*traffic)->bursts().end());
    m->lost += (*traffic)->lost();
    const Expiry expiry = (*traffic)->Expire();
    if (m->expiry.connections == 0 || expiry.cycles < m->expiry.cycles) m->expiry = expiry;
  }
  return {};
}

net::Status RunEstablished(const Ground& ground, const BenchOptions& options,
                           std::vector<Measurement>* measurements) {
  std::vector<std::pair<Measurement*, std::unique_ptr<Traffic>>> running;
  for (Measurement& m : *measurements) {
    if (m.scenario.storm != 0) continue;
    auto traffic = Traffic::Create(ground, m.scenario);
    if (!traffic) return net::Error{traffic.error()};
    running.emplace_back(&m, std::move(*traffic));
    // Every connection once more in each direction: paths are remembered now.
    running.back().second->Established(2 * uint64_t{m.scenario.flows});
  }
  for (auto& [m, traffic] : running) m->bursts.reserve(traffic->bursts().capacity());
  for (unsigned round = 0; round < options.rounds; ++round) {
    for (auto& [m, traffic] : running) {
      const size_t before = traffic->bursts().size();
      m->rounds.push_back(traffic->Established(options.packets));
      m->bursts.insert(m->bursts.end(),
                       traffic->bursts().begin() + static_cast<std::ptrdiff_t>(before),
                       traffic->bursts().end());
    }
  }
  for (auto& [m, traffic] : running) {
    m->bytes_a_connection = traffic->bytes_a_connection();
    m->longest_tick = traffic->longest_tick();
    m->lost = traffic->lost();
  }
  return {};
}

}  // namespace

std::vector<std::string> PipelineNames() {
  std::vector<std::string> names;
  for (const Scenario& scenario : kScenarios) names.push_back(scenario.Name());
  return names;
}

net::Status RunPipelines(const BenchOptions& options) {
  const std::vector<Scenario> scenarios = Chosen(options);
  if (scenarios.empty()) return net::Error{"no scenario has such a name; --list shows them"};
  if (net::Status status = StartDpdk(options, ConnectionsOf(scenarios)); !status) return status;
  auto ground = Ground::Create();
  if (!ground) return net::Error{ground.error()};
  std::vector<Measurement> measurements;
  for (const Scenario& scenario : scenarios) measurements.push_back({scenario, {}, {}});
  net::Status status = RunEstablished(**ground, options, &measurements);
  if (!status) return status;
  for (Measurement& m : measurements) {
    if (m.scenario.storm == 0) continue;
    if (status = RunStorm(**ground, options.rounds, &m); !status) return status;
  }
  const auto hertz = static_cast<double>(rte_get_tsc_hz());
  PrintTables(std::cout, measurements, hertz);
  return WriteJson(options, ToJson(measurements, hertz));
}

}  // namespace postern::perf

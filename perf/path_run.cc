#include "perf/path_run.h"

#include <rte_cycles.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "perf/path_runner.h"

namespace postern::perf {
namespace {

// Room for those that come and go: a second's timeout, and what the ticks haven't reached yet.
constexpr uint32_t kSetUpRoom = 4'000'000;
constexpr uint32_t kFloodRoom = 65536;
constexpr uint32_t kLastIndex = 60'000'000;
constexpr double kStreamSeconds = 2.2;

}  // namespace

void Sleep(double seconds) { usleep(static_cast<useconds_t>(seconds * 1e6)); }

void Run::AddThroughput(const Window& window) {
  const auto hertz = static_cast<double>(rte_get_tsc_hz());
  const double rate = window.Rate(window.moved);
  const auto sent = static_cast<double>(std::max<uint64_t>(window.sent(), 1));
  figures_["mpps"] = rate / 1e6;
  figures_["mpps_wall"] = sent / window.wall / 1e6;
  figures_["cycles_per_packet"] = hertz * bed_.workers() / std::max(rate, 1.0);
}

void Run::AddBursts() {
  Histogram bursts;
  Histogram making;
  for (unsigned w = 0; w < bed_.workers(); ++w) {
    bursts += bed_.ports().times(w).burst;
    making += bed_.ports().times(w).making;
  }
  figures_["generator_cycles"] =
      static_cast<double>(making.Quantile(0.5)) / static_cast<double>(kMakingScale);
  const double us = 1e6 / static_cast<double>(rte_get_tsc_hz());
  figures_["burst_p50_us"] = static_cast<double>(bursts.Quantile(0.5)) * us;
  figures_["burst_p99_us"] = static_cast<double>(bursts.Quantile(0.99)) * us;
  figures_["burst_p99.9_us"] = static_cast<double>(bursts.Quantile(0.999)) * us;
  figures_["burst_max_us"] = static_cast<double>(bursts.max()) * us;
}

net::Status Run::Established() {
  bed_.UseLoops();
  // Every connection in each direction: paths are remembered then. Two seconds later those of UDP
  // become streams, which each does by a packet that walks; so all of them once more.
  for (const double pause : {kStreamSeconds, kWarmSeconds}) {
    std::vector<uint64_t> before;
    for (const auto& loop : bed_.loops()) before.push_back(loop->rounds());
    const auto met = [&] {
      return std::equal(before.begin(), before.end(), bed_.loops().begin(),
                        [](uint64_t rounds, const auto& loop) { return loop->rounds() > rounds; });
    };
    if (!WaitFor(met)) return net::Error{"no traffic passes"};
    Sleep(pause);
  }
  bed_.ports().Record(true);
  AddThroughput(bed_.Measure(options_.seconds));
  bed_.ports().Record(false);
  AddBursts();
  bed_.Silence();
  figures_["lost"] = bed_.Lost();
  figures_["handoffs"] = bed_.Handoffs();
  figures_["replies_elsewhere"] = bed_.foreign();
  return {};
}

net::Status Run::SetUp() {
  if (net::Status status = bed_.appliance().SetUdpTimeout(1); !status) return status;
  std::vector<std::unique_ptr<ScriptSource>> sources;
  std::vector<Source*> use;
  for (unsigned w = 0; w < bed_.workers(); ++w) {
    ScriptSource::Plan plan;
    plan.kind = bed_.KindOf(w, scenario_.transport);
    plan.script = &LifeScript(scenario_.transport);
    plan.first = scenario_.flows;
    plan.end = kLastIndex;
    sources.push_back(std::make_unique<ScriptSource>(plan));
    use.push_back(sources.back().get());
  }
  bed_.Use(use);
  // As many end as begin from the second timeout on.
  Sleep(2.5);
  bed_.ports().Record(true);
  const auto done = [&sources] {
    std::vector<uint64_t> counts;
    for (const auto& source : sources) counts.push_back(source->done());
    return counts;
  };
  std::vector<uint64_t> before = done();
  const uint32_t entries = Entries();
  const Window window = bed_.Measure(options_.seconds);
  std::vector<uint64_t> counted = done();
  const auto grown = static_cast<double>(Entries()) - static_cast<double>(entries);
  double total = 0;
  for (size_t i = 0; i < counted.size(); ++i) {
    counted[i] -= before[i];
    total += static_cast<double>(counted[i]);
  }
  bed_.ports().Record(false);
  bed_.Silence();
  const double rate = window.Rate(counted);
  figures_["connections_m_per_s"] = rate / 1e6;
  figures_["torn_down_m_per_s"] = rate / 1e6 * (total - grown) / std::max(total, 1.0);
  figures_["live"] = Entries();
  AddThroughput(window);
  AddBursts();
  uint64_t lost = 0;
  for (const auto& source : sources) lost += source->lost();
  figures_["lost"] = lost;
  figures_["handoffs"] = bed_.Handoffs();
  return {};
}

net::Status Run::Flood() {
  ScriptSource::Plan plan;
  plan.kind = bed_.KindOf(0, Transport::kTcp);
  plan.script = &SynScript();
  plan.first = scenario_.flows;
  plan.end = kLastIndex;
  plan.patience = 2;
  ScriptSource flood(plan);
  MixSource mix(bed_.loops().front().get(), &flood, plan.kind.PortOf(true));
  bed_.Use({&mix});
  Sleep(2 * kWarmSeconds);
  bed_.ports().Record(true);
  const uint64_t known = mix.known_sent();
  const uint64_t arrived = mix.flood_arrived();
  const uint64_t passed = mix.flood_sent();
  const Window window = bed_.Measure(options_.seconds);
  AddThroughput(window);
  figures_["established_mpps"] = window.Rate({mix.known_sent() - known}) / 1e6;
  figures_["syn_mpps"] = window.Rate({mix.flood_arrived() - arrived}) / 1e6;
  figures_["syn_passed_mpps"] = window.Rate({mix.flood_sent() - passed}) / 1e6;
  bed_.ports().Record(false);
  AddBursts();
  bed_.Silence();
  figures_["lost"] = static_cast<int64_t>(mix.known_arrived() - mix.known_sent());
  return {};
}

namespace {

uint32_t SpareOf(PathKind kind) {
  switch (kind) {
    case PathKind::kSetUp:
      return kSetUpRoom;
    case PathKind::kFlood:
      return kFloodRoom;
    case PathKind::kFull:
      return 0;
    default:
      return 4096;
  }
}

net::Status RunKind(PathKind kind, Run* run) {
  switch (kind) {
    case PathKind::kEstablished:
      return run->Established();
    case PathKind::kSetUp:
      return run->SetUp();
    case PathKind::kFlood:
    case PathKind::kFull:
      return run->Flood();
    case PathKind::kExpiry:
      return run->Expiry();
    case PathKind::kDump:
      return run->Dump();
    case PathKind::kFlush:
      return run->Flush();
    case PathKind::kReload:
      return run->Reload();
    case PathKind::kNoDrop:
      return run->NoDrop();
    case PathKind::kQuiet:
      return run->Quiet();
  }
  return {};
}

}  // namespace

net::Result<Figures> RunPath(const PathScenario& scenario, const RunOptions& options) {
  auto bed = PathBed::Create(scenario, options, SpareOf(scenario.kind));
  if (!bed) return net::Error{bed.error()};
  if (scenario.flows != 0) {
    if (net::Status status = (*bed)->Open(); !status) return net::Error{status.error()};
  }
  Run run(scenario, options, bed->get());
  net::Status status = RunKind(scenario.kind, &run);
  (*bed)->Silence();
  if (!status) return net::Error{status.error()};
  return run.TakeFigures();
}

}  // namespace postern::perf

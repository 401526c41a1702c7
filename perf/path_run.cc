#include "perf/path_run.h"

#include <rte_cycles.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>

#include "perf/path_bed.h"

namespace postern::perf {
namespace {

using Figures = nlohmann::ordered_json;

constexpr unsigned kPollMicroseconds = 1000;
// Connections that go on while the others end.
constexpr uint32_t kSurvivors = 1000;
// Room for those that come and go: a second's timeout, and what the ticks haven't reached yet.
constexpr uint32_t kSetUpRoom = 4'000'000;
constexpr uint32_t kFloodRoom = 65536;
constexpr uint32_t kLastIndex = 60'000'000;
constexpr double kWarmSeconds = 0.3;
constexpr double kStreamSeconds = 2.2;
constexpr double kMostWait = 60;

void Sleep(double seconds) { usleep(static_cast<useconds_t>(seconds * 1e6)); }

double Seconds() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// What all of a kind's measurements need.
class Run {
 public:
  Run(const PathScenario& scenario, const RunOptions& options, PathBed* bed)
      : scenario_(scenario), options_(options), bed_(*bed) {}

  net::Status Established();
  net::Status SetUp();
  net::Status Flood();
  net::Status Expiry();
  net::Status Dump();
  net::Status Flush();
  net::Status Reload();
  net::Status NoDrop();

  Figures TakeFigures() { return std::move(figures_); }

 private:
  void AddThroughput(const Window& window);
  void AddBursts();
  void AddAway();
  // While `body` runs, the workers' absences are recorded.
  net::Status WatchAway(const std::function<net::Status()>& body);
  net::Status Conntrack(const std::vector<std::string>& arguments);
  bool WaitFor(const std::function<bool()>& condition) const;
  std::vector<std::unique_ptr<RateSource>> UseRate(double rate);
  // Whether a trial of the measured time at this rate (packets a second) loses nothing.
  bool Holds(double rate);
  uint32_t Entries() { return bed_.appliance().runtime().conntrack_entries(); }

  const PathScenario& scenario_;
  const RunOptions& options_;
  PathBed& bed_;
  Figures figures_ = Figures::object();
};

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

void Run::AddAway() {
  Histogram wall;
  Histogram cpu;
  for (unsigned w = 0; w < bed_.workers(); ++w) {
    wall += bed_.ports().times(w).away;
    cpu += bed_.ports().times(w).away_cpu;
  }
  const double us = 1e6 / static_cast<double>(rte_get_tsc_hz());
  figures_["away_p99.9_us"] = static_cast<double>(cpu.Quantile(0.999)) / 1e3;
  figures_["away_p99.99_us"] = static_cast<double>(cpu.Quantile(0.9999)) / 1e3;
  figures_["away_max_us"] = static_cast<double>(cpu.max()) / 1e3;
  figures_["away_wall_max_us"] = static_cast<double>(wall.max()) * us;
}

net::Status Run::WatchAway(const std::function<net::Status()>& body) {
  bed_.ports().Record(true, true);
  const double begin = Seconds();
  net::Status status = body();
  figures_["seconds"] = Seconds() - begin;
  bed_.ports().Record(false);
  AddAway();
  return status;
}

bool Run::WaitFor(const std::function<bool()>& condition) const {
  const double end = Seconds() + kMostWait;
  while (!condition()) {
    if (Seconds() > end) return false;
    usleep(kPollMicroseconds);
  }
  return true;
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

net::Status Run::Expiry() {
  constexpr uint32_t kTimeout = 3;
  if (net::Status status = bed_.appliance().SetUdpTimeout(kTimeout); !status) return status;
  LoopSource& loop = *bed_.loops().front();
  const uint64_t rounds = loop.rounds();
  bed_.UseLoops();
  if (!WaitFor([&] { return loop.rounds() >= rounds + 2; })) {
    return net::Error{"no traffic passes"};
  }
  loop.Limit(kSurvivors);
  figures_["connections"] = Entries();
  double first = 0;
  net::Status status = WatchAway([&]() -> net::Status {
    if (!WaitFor([&] { return Entries() < scenario_.flows - scenario_.flows / 100; }) ||
        (first = Seconds(), !WaitFor([&] { return Entries() < kSurvivors * 11 / 10; }))) {
      return net::Error{"the connections don't end"};
    }
    return {};
  });
  if (!status) return status;
  figures_["seconds"] = Seconds() - first;
  bed_.Silence();
  figures_["lost"] = bed_.Lost();
  return {};
}

net::Status Run::Conntrack(const std::vector<std::string>& arguments) {
  return WatchAway([&]() -> net::Status {
    const Appliance::CommandResult result = bed_.appliance().Conntrack(arguments);
    figures_["bytes"] = result.bytes;
    if (result.status != 0) return net::Error{"conntrack " + arguments[0] + ": " + result.error};
    return {};
  });
}

net::Status Run::Dump() {
  bed_.UseLoops();
  Sleep(kWarmSeconds);
  figures_["connections"] = Entries();
  net::Status status = Conntrack({"-L"});
  bed_.Silence();
  figures_["lost"] = bed_.Lost();
  return status;
}

net::Status Run::Flush() {
  bed_.loops().front()->Limit(kSurvivors);
  bed_.UseLoops();
  Sleep(kWarmSeconds);
  const uint32_t before = Entries();
  figures_["connections"] = before;
  if (net::Status status = Conntrack({"-F"}); !status) return status;
  figures_["torn_down_m_per_s"] = before / figures_["seconds"].get<double>() / 1e6;
  bed_.Silence();
  if (Entries() > 2 * kSurvivors) return net::Error{"conntrack -F left connections behind"};
  return {};
}

net::Status Run::Reload() {
  constexpr unsigned kReloads = 10;
  bed_.UseLoops();
  Sleep(kWarmSeconds);
  const net::Status status = WatchAway([&]() -> net::Status {
    for (unsigned i = 1; i <= kReloads; ++i) {
      if (net::Status reloaded = bed_.appliance().Reload(i); !reloaded) return reloaded;
    }
    return {};
  });
  bed_.Silence();
  figures_["reloads"] = kReloads;
  figures_["lost"] = bed_.Lost();
  return status;
}

std::vector<std::unique_ptr<RateSource>> Run::UseRate(double rate) {
  std::vector<std::unique_ptr<RateSource>> sources;
  std::vector<Source*> use;
  for (const auto& loop : bed_.loops()) {
    sources.push_back(std::make_unique<RateSource>(loop.get(), rate / bed_.workers()));
    use.push_back(sources.back().get());
  }
  bed_.Use(use);
  return sources;
}

bool Run::Holds(double rate) {
  const auto sources = UseRate(rate);
  Sleep(options_.seconds);
  bed_.Silence();
  return std::all_of(sources.begin(), sources.end(),
                     [](const auto& s) { return s->missed() == 0; });
}

net::Status Run::NoDrop() {
  constexpr unsigned kReloads = 100;
  constexpr unsigned kTrials = 9;
  bed_.UseLoops();
  Sleep(2 * kWarmSeconds);
  const Window saturated = bed_.Measure(options_.seconds);
  bed_.Silence();
  // RFC 2544 section 26.1: the fastest rate at which nothing is lost, by halving the interval.
  double low = 0;
  double high = 1.2 * saturated.Rate(saturated.moved);
  for (unsigned trial = 0; trial < kTrials; ++trial) {
    const double rate = (low + high) / 2;
    (Holds(rate) ? low : high) = rate;
  }
  if (low == 0) return net::Error{"packets are lost at every rate"};
  figures_["saturated_mpps"] = saturated.Rate(saturated.moved) / 1e6;
  figures_["no_drop_mpps"] = low / 1e6;
  const int64_t before = bed_.Lost();
  const auto sources = UseRate(low / 2);
  Sleep(kWarmSeconds);
  const net::Status status = WatchAway([&]() -> net::Status {
    for (unsigned i = 1; i <= kReloads; ++i) {
      if (net::Status reloaded = bed_.appliance().Reload(i); !reloaded) return reloaded;
    }
    return {};
  });
  bed_.Silence();
  uint64_t missed = 0;
  uint64_t offered = 0;
  for (const auto& source : sources) {
    missed += source->missed();
    offered += source->offered();
  }
  figures_["reloads"] = kReloads;
  figures_["offered"] = offered;
  figures_["missed"] = missed;
  figures_["lost"] = bed_.Lost() - before + static_cast<int64_t>(missed);
  return status;
}

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

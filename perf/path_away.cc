#include <rte_cycles.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "perf/path_runner.h"

namespace postern::perf {
namespace {

constexpr unsigned kPollMicroseconds = 1000;
// Connections that go on while the others end.
constexpr uint32_t kSurvivors = 1000;
constexpr double kMostWait = 60;

double Seconds() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

void Spin(double seconds) {
  const double end = Seconds() + seconds;
  while (Seconds() < end) {
  }
}

}  // namespace

void Run::AddAway() {
  for (unsigned w = 0; w < bed_.workers(); ++w) {
    away_wall_ += bed_.ports().times(w).away;
    away_cpu_ += bed_.ports().times(w).away_cpu;
  }
  const double us = 1e6 / static_cast<double>(rte_get_tsc_hz());
  figures_["away_p99.9_us"] = static_cast<double>(away_cpu_.Quantile(0.999)) / 1e3;
  figures_["away_p99.99_us"] = static_cast<double>(away_cpu_.Quantile(0.9999)) / 1e3;
  figures_["away_max_us"] = static_cast<double>(away_cpu_.max()) / 1e3;
  figures_["away_wall_max_us"] = static_cast<double>(away_wall_.max()) * us;
}

net::Status Run::WatchAway(const std::function<net::Status()>& body) {
  bed_.ports().Record(true, true);
  const double begin = Seconds();
  net::Status status = body();
  watched_seconds_ += Seconds() - begin;
  figures_["seconds"] = watched_seconds_;
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
  const net::Status status = WatchAway([&] { return Reloads(0, kReloads); });
  bed_.Silence();
  figures_["reloads"] = kReloads;
  figures_["lost"] = bed_.Lost();
  return status;
}

net::Status Run::Quiet() {
  bed_.UseLoops();
  Sleep(kWarmSeconds);
  figures_["connections"] = Entries();
  const net::Status status = WatchAway([&]() -> net::Status {
    Sleep(2 * options_.seconds);
    return {};
  });
  bed_.Silence();
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
  constexpr unsigned kAtOnce = 10;
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
  // While nothing is on its way.
  const int64_t before = bed_.Lost();
  const auto sources = UseRate(low / 2);
  const auto missed = [&sources] {
    uint64_t sum = 0;
    for (const auto& source : sources) sum += source->missed();
    return sum;
  };
  Sleep(kWarmSeconds);
  // In turns with pauses as long, in which the control thread is as busy, with nothing: what is
  // lost in them is the machine's doing.
  uint64_t missed_in_reloads = 0;
  uint64_t missed_in_pauses = 0;
  for (unsigned done = 0; done < kReloads; done += kAtOnce) {
    const double begin = Seconds();
    const uint64_t at_first = missed();
    if (net::Status status = WatchAway([&] { return Reloads(done, kAtOnce); }); !status) {
      return status;
    }
    const uint64_t reloaded = missed();
    Spin(Seconds() - begin);
    missed_in_reloads += reloaded - at_first;
    missed_in_pauses += missed() - reloaded;
  }
  bed_.Silence();
  uint64_t offered = 0;
  for (const auto& source : sources) offered += source->offered();
  figures_["reloads"] = kReloads;
  figures_["offered"] = offered;
  figures_["missed"] = missed_in_reloads;
  figures_["lost"] = bed_.Lost() - before + static_cast<int64_t>(missed_in_reloads);
  figures_["lost_in_pauses"] = missed_in_pauses;
  return {};
}

net::Status Run::Reloads(unsigned first, unsigned count) {
  for (unsigned i = first + 1; i <= first + count; ++i) {
    if (net::Status status = bed_.appliance().Reload(i); !status) return status;
  }
  return {};
}

}  // namespace postern::perf

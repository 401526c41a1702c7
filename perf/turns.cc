#include "perf/turns.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "control/conntrack_walk.h"

namespace postern::perf {
namespace {

constexpr net::Time kBegin = 3600 * net::kSecond;
constexpr net::Time kTurnTime = 5 * net::kMicrosecond;
constexpr uint32_t kTimeout = 30;        // seconds, of every connection
constexpr uint32_t kSurvivors = 1'000;   // connections whose traffic goes on
constexpr unsigned kQuietTurns = 2'000;  // of traffic alone
constexpr unsigned kReloads = 10;

// Reads what the worker has copied, on a CPU of its own, so that the worker finds the copies' lines
// in another CPU's cache as in the daemon.
class Reader {
 public:
  explicit Reader(unsigned cpu) : thread_([this] { Loop(); }) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    pthread_setaffinity_np(thread_.native_handle(), sizeof(cpus), &cpus);
  }
  ~Reader() {
    stop_ = true;
    thread_.join();
  }
  // Waits until it has been read.
  void Read(const std::vector<control::ConnectionWalk::Found>& found) {
    found_.store(&found, std::memory_order_release);
    while (found_.load(std::memory_order_acquire) != nullptr) std::this_thread::yield();
  }

 private:
  void Loop() {
    while (!stop_) {
      const auto* found = found_.load(std::memory_order_acquire);
      if (found == nullptr) {
        std::this_thread::yield();
        continue;
      }
      const auto* bytes = reinterpret_cast<const volatile uint8_t*>(found->data());
      for (size_t i = 0; i < found->size() * sizeof((*found)[0]); i += 64) (void)bytes[i];
      found_.store(nullptr, std::memory_order_release);
    }
  }

  std::atomic<const std::vector<control::ConnectionWalk::Found>*> found_ = nullptr;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// One repeat.
class Repeat {
 public:
  Repeat(const TurnScenario& scenario, Traffic* traffic, unsigned reader_cpu)
      : scenario_(scenario), traffic_(*traffic), reader_cpu_(reader_cpu) {}

  net::Status Run() {
    switch (scenario_.kind) {
      case TurnKind::kTraffic:
        for (unsigned i = 0; i < kQuietTurns; ++i) Turn(scenario_.traffic.flows, nullptr);
        return {};
      case TurnKind::kExpiry:
        return Expire();
      case TurnKind::kDump:
        Walk(control::WalkAction::kCopy, scenario_.traffic.flows);
        return {};
      case TurnKind::kFlush:
        Walk(control::WalkAction::kFlush, kSurvivors);
        return {};
      case TurnKind::kReload:
        return Reload();
    }
    return {};
  }
  const std::vector<uint32_t>& turns() const { return turns_; }

 private:
  // `more`: what the turn does besides, and the cycles that it took.
  void Turn(size_t flows, const std::function<uint64_t()>& more) {
    traffic_.router().SetClock(now_ += kTurnTime);
    uint64_t cycles = more != nullptr ? more() : 0;
    cycles += traffic_.Turn(flows);
    turns_.push_back(static_cast<uint32_t>(std::min<uint64_t>(cycles, UINT32_MAX)));
  }

  net::Status Expire() {
    // The survivors' traffic goes on for a while; then everybody else's time is over.
    now_ = kBegin + (kTimeout - 1) * net::kSecond;
    traffic_.router().SetClock(now_);
    for (uint32_t done = 0; done < kSurvivors; done += kBurst) traffic_.Turn(kSurvivors);
    now_ += 2 * net::kSecond;
    while (traffic_.router().tracker().size() > kSurvivors) {
      Turn(kSurvivors, nullptr);
      if (turns_.size() > scenario_.traffic.flows) return net::Error{"the connections don't end"};
    }
    return {};
  }

  void Walk(control::WalkAction action, size_t flows) {
    control::ConntrackFilter filter;
    control::ConnectionWalk walk(&filter, action, 0);
    Reader reader(reader_cpu_);
    while (!walk.finished()) {
      bool ready = false;
      Turn(flows, [&] {
        const uint64_t start = rte_rdtsc();
        ready = walk.Step(traffic_.router().pipeline(), now_);
        return rte_rdtsc() - start;
      });
      if (!ready) continue;
      reader.Read(walk.found());
      walk.Clear();
    }
  }

  net::Status Reload() {
    const Scenario& traffic = scenario_.traffic;
    for (unsigned i = 1; i <= kReloads; ++i) {
      if (net::Status status = traffic_.router().Prepare(EdgeRules(traffic.rules, traffic.nat, i));
          !status) {
        return status;
      }
      Turn(traffic.flows, [&] { return traffic_.router().Adopt(); });
      // Every connection twice.
      for (uint32_t met = 0; met < 2 * traffic.flows; met += kBurst) Turn(traffic.flows, nullptr);
    }
    return {};
  }

  const TurnScenario& scenario_;
  Traffic& traffic_;
  const unsigned reader_cpu_;
  net::Time now_ = kBegin;
  std::vector<uint32_t> turns_;
};

void Merge(const std::vector<uint32_t>& turns, TurnTimes* times) {
  if (times->own.empty()) times->own = turns;
  uint64_t longest = 0;
  for (size_t i = 0; i < turns.size(); ++i) {
    times->own[i] = std::min(times->own[i], turns[i]);
    times->met.Add(turns[i]);
    longest = std::max<uint64_t>(longest, turns[i]);
  }
  times->longest.push_back(longest);
}

}  // namespace

std::string TurnScenario::Name() const {
  constexpr const char* kNames[] = {"traffic alone", "mass expiry", "dump", "flush", "reload"};
  return fmt::format("{}, {}", kNames[static_cast<size_t>(kind)], traffic.Name());
}

net::Result<TurnTimes> RunTurns(const Ground& ground, const TurnScenario& scenario,
                                unsigned repeats, unsigned reader_cpu) {
  TurnTimes times;
  for (unsigned i = 0; i < repeats; ++i) {
    auto traffic = Traffic::Create(ground, scenario.traffic, {kBegin, kTimeout});
    if (!traffic) return net::Error{traffic.error()};
    ctrack::Tracker& tracker = (*traffic)->router().tracker();
    times.connections_before = static_cast<uint32_t>(tracker.size());
    Repeat repeat(scenario, traffic->get(), reader_cpu);
    if (net::Status status = repeat.Run(); !status) {
      return net::Error{scenario.Name() + ": " + status.error()};
    }
    times.connections_after = static_cast<uint32_t>(tracker.size());
    if (!times.own.empty() && times.own.size() != repeat.turns().size()) {
      return net::Error{scenario.Name() + ": the repeats aren't alike"};
    }
    Merge(repeat.turns(), &times);
  }
  return times;
}

}  // namespace postern::perf

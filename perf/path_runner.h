// How each kind of path is measured: path_run.cc the rates, path_away.cc how long a worker is away.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "perf/path_bed.h"
#include "perf/path_run.h"

namespace postern::perf {

using Figures = nlohmann::ordered_json;

inline constexpr double kWarmSeconds = 0.3;

void Sleep(double seconds);

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
  // The same traffic as in those before, and nothing else: the machine's own absences.
  net::Status Quiet();

  Figures TakeFigures() { return std::move(figures_); }

 private:
  void AddThroughput(const Window& window);
  void AddBursts();
  void AddAway();
  // While `body` runs, the workers' absences are recorded; each call adds to those before.
  net::Status WatchAway(const std::function<net::Status()>& body);
  net::Status Conntrack(const std::vector<std::string>& arguments);
  bool WaitFor(const std::function<bool()>& condition) const;
  std::vector<std::unique_ptr<RateSource>> UseRate(double rate);
  net::Status Reloads(unsigned first, unsigned count);
  // Whether a trial of the measured time at this rate (packets a second) loses nothing.
  bool Holds(double rate);
  uint32_t Entries() { return bed_.appliance().runtime().conntrack_entries(); }

  const PathScenario& scenario_;
  const RunOptions& options_;
  PathBed& bed_;
  Figures figures_ = Figures::object();
  Histogram away_wall_;  // cycles
  Histogram away_cpu_;   // nanoseconds
  double watched_seconds_ = 0;
};

}  // namespace postern::perf

#include "perf/report.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace postern::perf {
namespace {

struct Summary {
  Round median;
  double best = 0;               // cycles a packet of the quickest round
  double worst = 0;              // … and of the slowest
  std::vector<uint32_t> bursts;  // sorted

  explicit Summary(const Measurement& m) : bursts(m.bursts) {
    std::vector<Round> rounds = m.rounds;
    std::sort(rounds.begin(), rounds.end(),
              [](const Round& a, const Round& b) { return a.pipeline < b.pipeline; });
    median = rounds[rounds.size() / 2];
    best = rounds.front().pipeline;
    worst = rounds.back().pipeline;
    std::sort(bursts.begin(), bursts.end());
  }
  // Cycles a packet. Unlike the mean it doesn't count what else ran on the CPU meanwhile.
  double MedianBurst() const { return Burst(0.5) / kBurst; }
  // Cycles; `share` from 0 to 1.
  double Burst(double share) const {
    if (bursts.empty()) return 0;
    const auto place = static_cast<size_t>(share * static_cast<double>(bursts.size()));
    return bursts[std::min(place, bursts.size() - 1)];
  }
};

constexpr double kMicroseconds = 1e6;

void PrintEstablished(std::ostream& out, const std::vector<Measurement>& measurements,
                      double hertz) {
  fmt::print(out,
             "{:<42} {:>6} {:>11} {:>6} {:>6} | {:>4} | {:>6} | {:>6} "
             "{:>6} {:>6} {:>7}\n",
             "established", "Mpps", "range", "mean", "median", "i/o", "B/conn", "p50 µs", "p99",
             "p99.9", "max");
  for (const Measurement& m : measurements) {
    if (m.scenario.storm != 0) continue;
    const Summary s(m);
    const double us = kMicroseconds / hertz;
    fmt::print(out,
               "{:<42} {:>6.2f} {:>5.2f}-{:<5.2f} {:>6.0f} {:>6.0f} | {:>4.0f} | {:>6.0f} | "
               "{:>6.1f} {:>6.1f} {:>6.1f} {:>7.1f}{}\n",
               m.scenario.Name(), hertz / s.median.pipeline / 1e6, hertz / s.worst / 1e6,
               hertz / s.best / 1e6, s.median.pipeline, s.MedianBurst(), s.median.io,
               m.bytes_a_connection, s.Burst(0.5) * us, s.Burst(0.99) * us, s.Burst(0.999) * us,
               s.Burst(1) * us, m.lost == 0 ? "" : fmt::format(" LOST {}", m.lost));
  }
}

void PrintStorms(std::ostream& out, const std::vector<Measurement>& measurements, double hertz) {
  fmt::print(out, "\n{:<52} {:>9} {:>6} {:>6} | {:>6} {:>6} {:>6} {:>7} | {:>9} {:>9}\n",
             "new connections", "M/s", "mean", "median", "p50 µs", "p99", "p99.9", "max",
             "expire M/s", "tick µs");
  for (const Measurement& m : measurements) {
    if (m.scenario.storm == 0) continue;
    const Summary s(m);
    const double us = kMicroseconds / hertz;
    fmt::print(out,
               "{:<52} {:>9.3f} {:>6.0f} {:>6.0f} | {:>6.1f} {:>6.1f} {:>6.1f} {:>7.1f} | {:>9.2f} "
               "{:>9.1f}{}\n",
               m.scenario.Name(), hertz / s.median.pipeline / 1e6, s.median.pipeline,
               s.MedianBurst(), s.Burst(0.5) * us, s.Burst(0.99) * us, s.Burst(0.999) * us,
               s.Burst(1) * us,
               static_cast<double>(m.expiry.connections) * hertz /
                   static_cast<double>(m.expiry.cycles) / 1e6,
               static_cast<double>(m.expiry.longest) * us,
               m.lost == 0 ? "" : fmt::format(" LOST {}", m.lost));
  }
}

}  // namespace

void PrintTables(std::ostream& out, const std::vector<Measurement>& measurements, double hertz) {
  const auto storm = [](const Measurement& m) { return m.scenario.storm != 0; };
  if (!std::all_of(measurements.begin(), measurements.end(), storm)) {
    PrintEstablished(out, measurements, hertz);
  }
  if (std::any_of(measurements.begin(), measurements.end(), storm)) {
    PrintStorms(out, measurements, hertz);
  }
}

std::string ToJson(const std::vector<Measurement>& measurements, double hertz) {
  nlohmann::ordered_json scenarios = nlohmann::ordered_json::array();
  const double us = kMicroseconds / hertz;
  for (const Measurement& m : measurements) {
    const Summary s(m);
    nlohmann::ordered_json rounds = nlohmann::ordered_json::array();
    for (const Round& round : m.rounds) {
      rounds.push_back({{"packets", round.packets},
                        {"pipeline_cycles", round.pipeline},
                        {"io_cycles", round.io}});
    }
    nlohmann::ordered_json one = {
        {"name", m.scenario.Name()},
        {"transport", m.scenario.transport == Transport::kUdp ? "udp" : "tcp"},
        {"flows", m.scenario.flows},
        {"rules", m.scenario.rules},
        {"fast_path", m.scenario.fast_path},
        {"new_connections", m.scenario.storm},
        {"mpps", hertz / s.median.pipeline / 1e6},
        {"cycles_per_packet", s.median.pipeline},
        {"median_burst_cycles_per_packet", s.MedianBurst()},
        {"rounds", rounds},
        {"bytes_per_connection", m.bytes_a_connection},
        {"burst_us",
         {{"p50", s.Burst(0.5) * us},
          {"p99", s.Burst(0.99) * us},
          {"p99.9", s.Burst(0.999) * us},
          {"max", s.Burst(1) * us}}},
        {"longest_tick_us", static_cast<double>(m.longest_tick) * us},
        {"lost_packets", m.lost}};
    if (m.expiry.connections != 0) {
      one["expiry"] = {{"connections", m.expiry.connections},
                       {"seconds", static_cast<double>(m.expiry.cycles) / hertz},
                       {"longest_tick_us", static_cast<double>(m.expiry.longest) * us}};
    }
    scenarios.push_back(one);
  }
  return nlohmann::ordered_json({{"tsc_hz", hertz}, {"burst", kBurst}, {"scenarios", scenarios}})
      .dump(2);
}

}  // namespace postern::perf

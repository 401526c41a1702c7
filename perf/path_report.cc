#include "perf/path_report.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>

namespace postern::perf {
namespace {

std::vector<double> Values(const PathMeasurement& measurement, const std::string& figure) {
  std::vector<double> values;
  for (const auto& round : measurement.rounds) {
    if (round.contains(figure)) values.push_back(round[figure].get<double>());
  }
  std::sort(values.begin(), values.end());
  return values;
}

struct Column {
  const char* head;
  const char* figure;
  int decimals;
};
struct Table {
  const char* title;
  std::vector<PathKind> kinds;
  const char* main;  // the figure of which the range is shown, too
  std::vector<Column> columns;
};

const std::vector<Table>& Tables() {
  static const std::vector<Column> bursts = {{"p50 µs", "burst_p50_us", 1},
                                             {"p99", "burst_p99_us", 1},
                                             {"p99.9", "burst_p99.9_us", 1},
                                             {"max", "burst_max_us", 0},
                                             {"lost", "lost", 0}};
  static const auto with_bursts = [](std::vector<Column> columns) {
    columns.insert(columns.end(), bursts.begin(), bursts.end());
    return columns;
  };
  static const std::vector<Table> tables = {
      {"established, Mpps",
       {PathKind::kEstablished},
       "mpps",
       with_bursts({{"cycles", "cycles_per_packet", 0},
                    {"of them generator", "generator_cycles", 0},
                    {"hand-overs", "handoffs", 0}})},
      {"connections established, M/s",
       {PathKind::kSetUp},
       "connections_m_per_s",
       with_bursts({{"torn down", "torn_down_m_per_s", 3},
                    {"live", "live", 0},
                    {"Mpps", "mpps", 2},
                    {"hand-overs", "handoffs", 0}})},
      {"established beside a SYN flood, Mpps",
       {PathKind::kFlood, PathKind::kFull},
       "established_mpps",
       with_bursts({{"SYN Mpps", "syn_mpps", 2}, {"passed", "syn_passed_mpps", 2}})},
      {"a worker away from its ports, µs of its CPU time",
       {PathKind::kExpiry, PathKind::kDump, PathKind::kFlush, PathKind::kQuiet, PathKind::kReload,
        PathKind::kNoDrop},
       "away_max_us",
       {{"p99.9", "away_p99.9_us", 1},
        {"p99.99", "away_p99.99_us", 1},
        {"wall, max", "away_wall_max_us", 0},
        {"seconds", "seconds", 2},
        {"no-drop Mpps", "no_drop_mpps", 2},
        {"lost", "lost", 0},
        {"in pauses", "lost_in_pauses", 0}}},
  };
  return tables;
}

void PrintTable(std::ostream& out, const Table& table,
                const std::vector<const PathMeasurement*>& rows) {
  fmt::print(out, "{:<62} {:>8} {:>15}", table.title, "median", "range");
  for (const Column& column : table.columns) fmt::print(out, " {:>9}", column.head);
  fmt::print(out, "\n");
  for (const PathMeasurement* row : rows) {
    fmt::print(out, "{:<62}", row->scenario.Name());
    if (row->rounds.empty()) {
      fmt::print(out, " failed: {}\n", row->errors.empty() ? "" : row->errors.front());
      continue;
    }
    fmt::print(out, " {:>8.3f} {:>7.3f}-{:<7.3f}", MedianOf(*row, table.main),
               LeastOf(*row, table.main), MostOf(*row, table.main));
    for (const Column& column : table.columns) {
      fmt::print(out, " {:>9.{}f}", MedianOf(*row, column.figure), column.decimals);
    }
    fmt::print(out, "\n");
  }
  fmt::print(out, "\n");
}

}  // namespace

double MedianOf(const PathMeasurement& measurement, const std::string& figure) {
  const std::vector<double> values = Values(measurement, figure);
  if (values.empty()) return 0;
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double LeastOf(const PathMeasurement& measurement, const std::string& figure) {
  const std::vector<double> values = Values(measurement, figure);
  return values.empty() ? 0 : values.front();
}

double MostOf(const PathMeasurement& measurement, const std::string& figure) {
  const std::vector<double> values = Values(measurement, figure);
  return values.empty() ? 0 : values.back();
}

void PrintPaths(std::ostream& out, const std::vector<PathMeasurement>& measurements) {
  for (const Table& table : Tables()) {
    std::vector<const PathMeasurement*> rows;
    for (const PathMeasurement& m : measurements) {
      if (std::find(table.kinds.begin(), table.kinds.end(), m.scenario.kind) != table.kinds.end()) {
        rows.push_back(&m);
      }
    }
    if (!rows.empty()) PrintTable(out, table, rows);
  }
}

nlohmann::ordered_json PathsToJson(const std::vector<PathMeasurement>& measurements) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const PathMeasurement& m : measurements) {
    nlohmann::ordered_json medians = nlohmann::ordered_json::object();
    if (!m.rounds.empty()) {
      for (const auto& figure : m.rounds.front().items()) {
        medians[figure.key()] = MedianOf(m, figure.key());
      }
    }
    all.push_back({{"name", m.scenario.Name()},
                   {"median", medians},
                   {"rounds", m.rounds},
                   {"errors", m.errors}});
  }
  return all;
}

}  // namespace postern::perf

#include "control/metrics.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <utility>

#include "control/version.h"

namespace postern::control {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

class Families {
 public:
  void Begin(std::string name, std::string help, MetricType type) {
    families_.push_back({std::move(name), std::move(help), type, {}});
  }
  void Counter(std::string name, std::string help) {
    Begin(std::move(name), std::move(help), MetricType::Counter);
  }
  void Gauge(std::string name, std::string help) {
    Begin(std::move(name), std::move(help), MetricType::Gauge);
  }
  // A sample of the family begun last.
  void Sample(Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (families_.back().type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    families_.back().metric.push_back(std::move(metric));
  }
  void Sample(Labels labels, uint64_t value) {
    Sample(std::move(labels), static_cast<double>(value));
  }
  void Histogram(Labels labels, ClientMetric::Histogram histogram) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.histogram = std::move(histogram);
    families_.back().metric.push_back(std::move(metric));
  }
  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

void AddPorts(const MetricsReport& report, Families* f) {
  struct Row {
    const char* name;
    const char* help;
    uint64_t pipeline::PortStats::*field;
  };
  using P = pipeline::PortStats;
  static const Row kRows[] = {
      {"postern_port_receive_packets_total", "Packets received by a port.", &P::rx_packets},
      {"postern_port_transmit_packets_total", "Packets sent by a port.", &P::tx_packets},
      {"postern_port_receive_bytes_total", "Bytes received by a port.", &P::rx_bytes},
      {"postern_port_transmit_bytes_total", "Bytes sent by a port.", &P::tx_bytes},
      {"postern_port_receive_missed_packets_total",
       "Packets that the device dropped for want of a free descriptor.", &P::rx_missed},
      {"postern_port_receive_errors_total", "Packets that the device received damaged.",
       &P::rx_errors},
      {"postern_port_transmit_errors_total", "Packets that the device failed to send.",
       &P::tx_errors},
  };
  f->Gauge("postern_port_up", "Whether a port has a link (1) or not (0).");
  for (const auto& port : report.status.ports) {
    f->Sample({{"port", port.name}}, port.link_up ? 1.0 : 0.0);
  }
  for (const Row& row : kRows) {
    f->Counter(row.name, row.help);
    for (const auto& port : report.status.ports) {
      f->Sample({{"port", port.name}}, port.*row.field);
    }
  }
  f->Counter("postern_dropped_packets_total", "Packets dropped, by the port they came in by.");
  for (const auto& port : report.status.ports) {
    for (size_t i = 1; i < net::kDropReasonCount; ++i) {
      const std::string reason(net::ToString(static_cast<net::DropReason>(i)));
      f->Sample({{"port", port.name}, {"reason", reason}}, port.drops[i]);
    }
  }
}

Labels WorkerLabels(size_t number, const pipeline::WorkerStats& worker) {
  return {{"worker", fmt::format("{}", number)}, {"cpu", fmt::format("{}", worker.cpu)}};
}

ClientMetric::Histogram Bursts(const pipeline::WorkerStats& worker) {
  // The upper ends of the histogram's classes; the last one is open.
  constexpr std::array<double, 6> kBounds = {1, 3, 7, 15, 31, 63};
  ClientMetric::Histogram histogram;
  uint64_t cumulative = 0;
  for (size_t i = 0; i < worker.burst_histogram.size(); ++i) {
    cumulative += worker.burst_histogram[i];
    const double bound = i < kBounds.size() ? kBounds[i] : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({cumulative, bound});
  }
  histogram.sample_count = cumulative;
  histogram.sample_sum = static_cast<double>(worker.packets);
  return histogram;
}

void AddWorkers(const MetricsReport& report, Families* f) {
  const auto& workers = report.status.workers;
  f->Gauge("postern_worker_busy_ratio", "Share of the last second that a worker spent on packets.");
  for (size_t i = 0; i < workers.size(); ++i) {
    f->Sample(WorkerLabels(i, workers[i]), workers[i].busy);
  }
  f->Gauge("postern_worker_connections", "Connections that a worker holds.");
  for (size_t i = 0; i < workers.size(); ++i) {
    f->Sample(WorkerLabels(i, workers[i]), uint64_t{workers[i].connections});
  }
  f->Begin("postern_worker_burst_packets", "Packets that a worker took from a port at once.",
           MetricType::Histogram);
  for (size_t i = 0; i < workers.size(); ++i) {
    f->Histogram(WorkerLabels(i, workers[i]), Bursts(workers[i]));
  }
  struct Row {
    const char* name;
    const char* help;
    uint64_t pipeline::WorkerStats::*field;
  };
  using W = pipeline::WorkerStats;
  static const Row kRows[] = {
      {"postern_worker_packets_total", "Packets that a worker handled.", &W::packets},
      {"postern_worker_handoffs_sent_total", "Packets that a worker gave to another one.",
       &W::handoffs_out},
      {"postern_worker_handoffs_received_total", "Packets that a worker got from another one.",
       &W::handoffs_in},
      {"postern_worker_events_lost_total",
       "LOG lines and connection events that found no room on their way to the control thread.",
       &W::events_lost},
  };
  for (const Row& row : kRows) {
    f->Counter(row.name, row.help);
    for (size_t i = 0; i < workers.size(); ++i) {
      f->Sample(WorkerLabels(i, workers[i]), workers[i].*row.field);
    }
  }
}

void AddConntrackCounters(const MetricsReport& report, Families* f) {
  struct Row {
    const char* name;
    const char* help;
    uint64_t ctrack::TrackerStats::*field;
  };
  using T = ctrack::TrackerStats;
  static const Row kRows[] = {
      {"postern_conntrack_inserts_total", "Connections that entered the table.", &T::insert},
      {"postern_conntrack_insert_failures_total", "Connections that clashed with a living one.",
       &T::insert_failed},
      {"postern_conntrack_deletes_total", "Connections that left the table.", &T::deleted},
      {"postern_conntrack_early_drops_total",
       "Unassured connections that made room for others in a full table.", &T::early_drop},
      {"postern_conntrack_table_full_drops_total",
       "First packets dropped because the table was full.", &T::table_full},
      {"postern_conntrack_invalid_packets_total", "Packets that belong to no connection.",
       &T::invalid},
      {"postern_conntrack_error_packets_total", "Packets whose headers tracking refused.",
       &T::error},
      {"postern_conntrack_clash_resolutions_total",
       "First packets that joined a connection made at the same time.", &T::clash_resolve},
  };
  for (const Row& row : kRows) {
    f->Counter(row.name, row.help);
    for (size_t i = 0; i < report.status.workers.size(); ++i) {
      const auto& worker = report.status.workers[i];
      f->Sample(WorkerLabels(i, worker), worker.conntrack.*row.field);
    }
  }
}

void AddConntrack(const MetricsReport& report, Families* f) {
  f->Gauge("postern_conntrack_entries", "Connections in the table.");
  f->Sample({}, uint64_t{report.status.conntrack_entries});
  f->Gauge("postern_conntrack_max_entries", "The most connections (nf_conntrack_max).");
  f->Sample({}, uint64_t{report.status.conntrack_max});
  AddConntrackCounters(report, f);

  f->Gauge("postern_conntrack_connections", "Connections by protocol and state.");
  for (size_t i = 1; i < report.census.tcp.size(); ++i) {
    const std::string state(ToString(static_cast<ctrack::TcpState>(i)));
    f->Sample({{"protocol", "tcp"}, {"state", state}}, report.census.tcp[i]);
  }
  for (size_t i = 1; i < report.census.sctp.size(); ++i) {
    const std::string state(ToString(static_cast<ctrack::SctpState>(i)));
    f->Sample({{"protocol", "sctp"}, {"state", state}}, report.census.sctp[i]);
  }
  constexpr std::array<const char*, Census::kOtherCount> kStates = {"UNREPLIED", "REPLIED",
                                                                    "ASSURED"};
  for (size_t p = Census::kUdp; p < Census::kProtocolCount; ++p) {
    for (size_t s = 0; s < kStates.size(); ++s) {
      f->Sample({{"protocol", Census::kProtocolNames[p]}, {"state", kStates[s]}},
                report.census.others[p][s]);
    }
  }
}

void AddNat(const MetricsReport& report, Families* f) {
  f->Gauge("postern_nat_connections", "Translated connections, by the half that is translated.");
  f->Sample({{"direction", "source"}}, report.census.source_translated);
  f->Sample({{"direction", "destination"}}, report.census.destination_translated);
  f->Gauge("postern_nat_ports_in_use",
           "Different ports (or ICMP ids) of different addresses that source NAT has taken.");
  for (size_t p = 0; p < Census::kProtocolCount; ++p) {
    f->Sample({{"protocol", Census::kProtocolNames[p]}}, report.census.nat_ports[p]);
  }
  f->Counter("postern_nat_exhausted_total", "Translations that found no free port in their range.");
  for (size_t i = 0; i < report.status.workers.size(); ++i) {
    const auto& worker = report.status.workers[i];
    f->Sample(WorkerLabels(i, worker), worker.nat_exhausted);
  }
}

void AddRules(const MetricsReport& report, Families* f) {
  const auto labels = [](const RuleMetric& rule) {
    return Labels{{"family", rule.family},
                  {"table", rule.table},
                  {"chain", LabelText(rule.chain)},
                  {"rule", rule.rule},
                  {"comment", LabelText(rule.comment)}};
  };
  f->Counter("postern_rule_packets_total", "Packets that matched a rule or met a chain's policy.");
  for (const RuleMetric& rule : report.rules) f->Sample(labels(rule), rule.counters.packets);
  f->Counter("postern_rule_bytes_total", "Bytes that matched a rule or met a chain's policy.");
  for (const RuleMetric& rule : report.rules) f->Sample(labels(rule), rule.counters.bytes);
}

Labels LimiterLabels(const LimiterMetric& limiter) {
  constexpr std::array<const char*, 3> kMatches = {"limit", "recent", "connlimit"};
  return {{"match", kMatches[static_cast<size_t>(limiter.stats.kind)]},
          {"family", limiter.rule.family},
          {"table", limiter.rule.table},
          {"chain", LabelText(limiter.rule.chain)},
          {"rule", limiter.rule.rule},
          {"list", LabelText(limiter.stats.list)}};
}

void AddLimiters(const MetricsReport& report, Families* f) {
  using Stats = rules::LimiterStats;
  f->Counter("postern_limiter_decisions_total",
             "How often a limit, a list of recent or a connlimit was asked, by its answer.");
  for (const LimiterMetric& limiter : report.limiters) {
    Labels labels = LimiterLabels(limiter);
    labels.push_back({"result", "match"});
    f->Sample(labels, limiter.stats.matched);
    labels.back().value = "miss";
    f->Sample(labels, limiter.stats.missed);
  }
  struct Row {
    const char* name;
    const char* help;
    uint64_t Stats::*field;
    bool recent;  // it has that, too
  };
  static const Row kRows[] = {
      {"postern_limiter_entries", "Addresses that a list of recent or a connlimit holds.",
       &Stats::entries, true},
      {"postern_limiter_max_entries", "The most addresses that it can hold.", &Stats::max_entries,
       true},
      {"postern_limiter_connections",
       "Connections that a connlimit has listed, ended ones not yet cleared away included.",
       &Stats::listed, false},
      {"postern_limiter_max_connections", "The most connections that it can list.",
       &Stats::max_listed, false},
      {"postern_limiter_memory_bytes", "Memory that it has touched.", &Stats::bytes, true},
  };
  for (const Row& row : kRows) {
    f->Gauge(row.name, row.help);
    for (const LimiterMetric& limiter : report.limiters) {
      const bool recent = limiter.stats.kind == Stats::Kind::kRecent;
      if (limiter.stats.kind == Stats::Kind::kLimit || (recent && !row.recent)) continue;
      f->Sample(LimiterLabels(limiter), limiter.stats.*row.field);
    }
  }
}

void AddControl(const MetricsReport& report, Families* f) {
  f->Gauge("postern_build_info", "The version that runs, as a label; always 1.");
  f->Sample({{"version", std::string(Version())}}, 1.0);
  f->Gauge("postern_start_time_seconds", "When the daemon started, since 1970.");
  f->Sample({}, report.start_time_seconds);
  f->Gauge("postern_control_generation", "Number of the rule set in force.");
  f->Sample({}, uint64_t{report.status.generation});
  f->Counter("postern_control_reloads_total", "Reloads of the configuration, by result.");
  f->Sample({{"result", "success"}}, report.reloads.succeeded);
  f->Sample({{"result", "failure"}}, report.reloads.failed);
  f->Gauge("postern_control_last_reload_successful",
           "Whether the last reload succeeded (1, also before the first) or failed (0).");
  f->Sample({}, report.reloads.last_ok ? 1.0 : 0.0);
  const std::chrono::duration<double> success = report.reloads.last_success.time_since_epoch();
  f->Gauge("postern_control_last_reload_success_timestamp_seconds",
           "When the configuration was last reloaded, since 1970; 0 before the first time.");
  f->Sample({}, success.count());
  f->Gauge("postern_control_clients", "Clients on the control socket.");
  f->Sample({}, uint64_t{report.clients});
  f->Counter("postern_log_lines_total", "Lines of LOG rules that were written.");
  f->Sample({}, report.log_lines);
  f->Counter("postern_log_lines_lost_total", "Lines of LOG rules that syslog or the file refused.");
  f->Sample({}, report.log_lines_lost);
}

// Length of the UTF-8 sequence at the text's beginning; 0: it isn't one.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, beyond U+10FFFF (RFC 3629 section 4).
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) > 0x9f) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return size;
}

}  // namespace

std::string LabelText(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t size = Utf8Length(text);
    if (size == 0) {
      result += '?';
    } else {
      result += text.substr(0, size);
    }
    text.remove_prefix(std::max<size_t>(size, 1));
  }
  return result;
}

std::vector<prometheus::MetricFamily> MakeMetrics(const MetricsReport& report) {
  Families families;
  AddControl(report, &families);
  AddPorts(report, &families);
  AddWorkers(report, &families);
  AddConntrack(report, &families);
  AddNat(report, &families);
  AddRules(report, &families);
  AddLimiters(report, &families);
  return families.Take();
}

}  // namespace postern::control

// What Prometheus is told: everything that DESIGN's page on metrics lists, as metric families.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <string_view>
#include <vector>

#include "control/census.h"
#include "control/engine.h"
#include "control/status.h"
#include "dataplane/rules/limiters.h"

namespace postern::control {

struct RuleMetric {
  std::string family;  // "ipv4", "ipv6"
  std::string table;
  std::string chain;
  std::string rule;  // its number, or "policy"
  std::string comment;
  rules::Counters counters;
};

// A limit, a list of recent or a connlimit, and the rule that has it.
struct LimiterMetric {
  RuleMetric rule;
  rules::LimiterStats stats;
};

// Gathered on the control thread.
struct MetricsReport {
  StatusReport status;
  Census census;
  std::vector<RuleMetric> rules;
  std::vector<LimiterMetric> limiters;
  Engine::ReloadStats reloads;
  size_t clients = 0;
  uint64_t log_lines = 0;
  uint64_t log_lines_lost = 0;
  double start_time_seconds = 0;  // since 1970
};

// All but clients, log_lines and the census, which their owners fill in.
MetricsReport GatherMetrics(Engine* engine);
std::vector<prometheus::MetricFamily> MakeMetrics(const MetricsReport& report);

// A label's value as Prometheus takes it: bytes that aren't UTF-8 become '?'.
std::string LabelText(std::string_view text);

}  // namespace postern::control

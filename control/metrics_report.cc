#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "control/metrics.h"

namespace postern::control {
namespace {

std::string CommentOf(const rules::Rule& rule) {
  for (const rules::Match& match : rule.matches) {
    if (const auto* comment = std::get_if<rules::CommentMatch>(&match)) return comment->comment;
  }
  return "";
}

// Everything but its counters.
RuleMetric Describe(const rules::RuleSet& set, const rules::RulePlace& place) {
  const rules::Chain& chain =
      set.model().family(place.family).table(place.table).chains[place.chain];
  RuleMetric metric;
  metric.family = place.family == net::Family::kIpv4 ? "ipv4" : "ipv6";
  metric.table = net::ToString(place.table);
  metric.chain = chain.name;
  metric.rule = place.number == 0 ? "policy" : fmt::format("{}", place.number);
  if (place.number != 0) metric.comment = CommentOf(chain.rules[place.number - 1]);
  return metric;
}

}  // namespace

MetricsReport GatherMetrics(Engine* engine) {
  MetricsReport report;
  report.status = GatherStatus(engine);
  report.reloads = engine->reloads();
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  report.start_time_seconds = now.count() - report.status.uptime_seconds;
  const rules::RuleSet* set = engine->rule_set();
  if (set == nullptr) return report;
  const std::vector<rules::Counters> totals = engine->Totals();
  for (rules::RuleId id = 0; id < set->rule_count(); ++id) {
    const rules::RulePlace place = set->Place(id);
    if (!set->model().family(place.family).present[static_cast<size_t>(place.table)]) continue;
    report.rules.push_back(Describe(*set, place));
    report.rules.back().counters = totals[id];
  }
  for (rules::LimiterStats& stats : rules::Limiters(*set)) {
    RuleMetric rule = Describe(*set, stats.place);
    report.limiters.push_back({std::move(rule), std::move(stats)});
  }
  return report;
}

}  // namespace postern::control

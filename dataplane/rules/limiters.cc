#include "dataplane/rules/limiters.h"

#include <set>
#include <variant>

#include "dataplane/rules/matches/connlimit_state.h"
#include "dataplane/rules/matches/limit.h"
#include "dataplane/rules/matches/recent.h"

namespace postern::rules {

namespace {

using Kind = LimiterStats::Kind;

void Take(const MatchCounts& counts, LimiterStats* stats) {
  stats->matched = counts.matched.load(std::memory_order_relaxed);
  stats->missed = counts.missed.load(std::memory_order_relaxed);
}

// The state of one match of a rule; false where the match keeps none.
bool Read(const Match& match, const void* state, LimiterStats* stats) {
  if (std::holds_alternative<LimitMatch>(match)) {
    const auto& limit = *static_cast<const LimitState*>(state);
    stats->kind = Kind::kLimit;
    stats->bytes = sizeof(LimitState);
    Take(limit.counts, stats);
    return true;
  }
  if (const auto* recent = std::get_if<RecentMatch>(&match)) {
    const auto& table = *static_cast<const RecentTable*>(state);
    stats->kind = Kind::kRecent;
    stats->list = recent->name;
    stats->entries = table.size();
    stats->max_entries = RecentTable::kMaxEntries;
    stats->bytes = table.bytes();
    Take(table.counts, stats);
    return true;
  }
  if (std::holds_alternative<ConnlimitMatch>(match)) {
    const auto& connlimit = *static_cast<const ConnlimitState*>(state);
    stats->kind = Kind::kConnlimit;
    stats->entries = connlimit.addresses();
    stats->max_entries = connlimit.max_addresses();
    stats->listed = connlimit.listed();
    stats->max_listed = connlimit.max_listed();
    stats->bytes = connlimit.bytes();
    Take(connlimit.counts, stats);
    return true;
  }
  return false;
}

}  // namespace

std::vector<LimiterStats> Limiters(const RuleSet& rules) {
  std::vector<LimiterStats> found;
  std::set<const void*> seen;
  for (RuleId id = 0; id < rules.rule_count(); ++id) {
    const RulePlace place = rules.Place(id);
    if (place.number == 0) continue;
    const Rule& rule = rules.model()
                           .family(place.family)
                           .table(place.table)
                           .chains[place.chain]
                           .rules[place.number - 1];
    for (size_t m = 0; m < rule.states.size(); ++m) {
      const void* state = rule.states[m].get();
      LimiterStats stats;
      stats.place = place;
      if (state == nullptr || seen.contains(state) || !Read(rule.matches[m], state, &stats))
        continue;
      seen.insert(state);
      found.push_back(std::move(stats));
    }
  }
  return found;
}

}  // namespace postern::rules

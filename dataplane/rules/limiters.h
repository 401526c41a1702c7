// What limit, recent and connlimit have decided and hold, for metrics.
//
// Threads: workers count while they decide; the control thread reads, a little late.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/rules/rule_set.h"

namespace postern::rules {

// How often a match was asked. On a cache line of its own: the state beside it is read more often
// than it is written.
struct alignas(64) MatchCounts {
  std::atomic<uint64_t> matched{0};
  std::atomic<uint64_t> missed{0};

  bool Count(bool match) {
    (match ? matched : missed).fetch_add(1, std::memory_order_relaxed);
    return match;
  }
};

struct LimiterStats {
  enum class Kind : uint8_t { kLimit, kRecent, kConnlimit };
  Kind kind = Kind::kLimit;
  RulePlace place;   // the first rule that uses it; a list of recent may have several
  std::string list;  // recent's name
  uint64_t matched = 0;
  uint64_t missed = 0;
  uint64_t entries = 0;  // addresses; of recent and connlimit, as all below
  uint64_t max_entries = 0;
  uint64_t listed =
      0;  // connections that connlimit has listed, ended ones not yet looked over included
  uint64_t max_listed = 0;
  uint64_t bytes = 0;  // of memory that has been touched
};

// Every limiter of the rule set, each once. Control thread.
std::vector<LimiterStats> Limiters(const RuleSet& rules);

}  // namespace postern::rules

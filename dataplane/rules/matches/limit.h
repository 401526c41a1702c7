// -m limit: a token bucket that all workers share.
//
// Overview. The rate is what iptables 1.8.9 hands to the kernel: `average` becomes packets a unit
// (second, minute, hour, day), and one packet costs unit / packets nanoseconds of credit, rounded
// down; the bucket holds `burst` packets. Credit grows with the nanosecond clock, so no tick shows.
// (The older xt_limit counts in jiffies and rounds the bucket itself: 7/min with a burst of 5 then
// lets 4 packets through; with nf_tables, as here, it is 5.)
//
// Instead of tokens and the time of the last look, the state is one number: the time at which
// the bucket would have been empty. Credit is now - that time, at most the bucket's size; taking a
// packet moves it forward by the cost. A refused packet changes nothing.
//
// Threads: any number of workers call Take(); one compare-and-swap decides, so that no token is
// given twice. Workers' clocks may differ by a burst; a clock that is behind sees less credit.
#pragma once

#include <atomic>
#include <cstdint>

#include "dataplane/net/time.h"
#include "dataplane/rules/limiters.h"
#include "dataplane/rules/matches/answer.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

class LimitState {
 public:
  explicit LimitState(const LimitMatch& match);

  // Takes the credit of one packet if there is enough.
  bool Take(net::Time now) {
    const auto time = static_cast<int64_t>(now);
    int64_t empty_at = empty_at_.load(std::memory_order_relaxed);
    for (;;) {
      // Credit beyond the bucket's size is lost.
      const int64_t start = empty_at < time - capacity_ ? time - capacity_ : empty_at;
      if (time - start < cost_) return false;
      if (empty_at_.compare_exchange_weak(empty_at, start + cost_, std::memory_order_relaxed)) {
        return true;
      }
    }
  }

  int64_t cost() const { return cost_; }          // nanoseconds of credit a packet
  int64_t capacity() const { return capacity_; }  // nanoseconds of credit a full bucket

  MatchCounts counts;

 private:
  // Immutable after construction.
  int64_t cost_;
  int64_t capacity_;
  // Written by all workers. Long before any clock begins: the bucket starts full.
  std::atomic<int64_t> empty_at_{INT64_MIN / 4};
};

struct CompiledLimit {
  LimitState* state = nullptr;
};

inline Answer Matches(const CompiledLimit& match, const WalkContext& context, uint16_t* depends) {
  *depends |= kDependsTime | kDependsSideEffect;
  return AnswerOf(match.state->counts.Count(match.state->Take(context.now)));
}

}  // namespace postern::rules

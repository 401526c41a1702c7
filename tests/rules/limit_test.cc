// -m limit to the token.
#include "dataplane/rules/matches/limit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "dataplane/net/random.h"
#include "tests/rules/fixture.h"

namespace postern::rules {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
using net::kSecond;

// What iptables makes of "5/min": XT_LIMIT_SCALE * seconds / packets.
LimitMatch Rate(uint32_t packets, uint32_t seconds, uint32_t burst = 5) {
  return {10000 * seconds / packets, burst};
}

TEST(LimitState, CostsWhatNfTablesCosts) {
  struct Row {
    LimitMatch match;
    int64_t cost;      // nanoseconds
    int64_t capacity;  // packets
  };
  const int64_t second = kSecond;
  const Row rows[] = {
      {Rate(5, 60), 12 * second, 5},
      {Rate(2, 60), 30 * second, 5},
      {Rate(1, 1), second, 5},
      {Rate(3, 3600, 10), 1200 * second, 10},
      {Rate(1, 86400, 1), 86400 * second, 1},
      {Rate(10000, 1), second / 10000, 5},
      // 1428/10000 s a packet is read back as 7/s.
      {Rate(7, 1), second / 7, 5},
      // The bucket isn't rounded: five packets, where xt_limit's arithmetic gives four.
      {Rate(7, 60), 60 * second / 7, 5},
      // A burst of 0 is nf_tables' default.
      {Rate(1, 1, 0), second, 5},
  };
  for (const Row& row : rows) {
    LimitState state(row.match);
    EXPECT_EQ(state.cost(), row.cost) << row.match.average;
    EXPECT_EQ(state.capacity(), row.cost * row.capacity) << row.match.average;
    int64_t taken = 0;
    while (state.Take(kSecond)) ++taken;
    EXPECT_EQ(taken, row.capacity) << row.match.average;
  }
}

// The bucket as one would write it for one thread.
class Reference {
 public:
  Reference(int64_t cost, int64_t capacity) : cost_(cost), capacity_(capacity), tokens_(capacity) {}
  bool Take(net::Time now) {
    tokens_ = std::min(capacity_, tokens_ + static_cast<int64_t>(now - last_));
    last_ = now;
    if (tokens_ < cost_) return false;
    tokens_ -= cost_;
    return true;
  }

 private:
  int64_t cost_, capacity_, tokens_;
  net::Time last_ = 0;
};

TEST(LimitState, GivesExactlyTheTokensOfABucket) {
  net::Rng rng(42);
  for (const LimitMatch& match : {Rate(5, 60), Rate(7, 1, 3), Rate(1000, 1, 50), Rate(1, 1, 1)}) {
    LimitState state(match);
    Reference reference(state.cost(), state.capacity());
    net::Time now = 0;
    for (int i = 0; i < 20000; ++i) {
      // Steps from much less than a token to more than the bucket.
      now += rng.Below(static_cast<uint32_t>(uint64_t{1} << rng.Below(32)));
      if (rng.Below(64) == 0) now += static_cast<net::Time>(state.cost());
      ASSERT_EQ(state.Take(now), reference.Take(now)) << "packet " << i;
    }
  }
}

TEST(LimitState, HasATokenOnTheVeryNanosecond) {
  LimitState state(Rate(1, 1, 1));
  EXPECT_TRUE(state.Take(10 * kSecond));
  EXPECT_FALSE(state.Take(11 * kSecond - 1));
  EXPECT_TRUE(state.Take(11 * kSecond));
}

TEST(LimitState, BearsAClockThatIsBehind) {
  LimitState state(Rate(1, 1, 2));
  EXPECT_TRUE(state.Take(10 * kSecond));
  EXPECT_TRUE(state.Take(10 * kSecond));
  EXPECT_FALSE(state.Take(9 * kSecond)) << "another worker's clock";
  EXPECT_TRUE(state.Take(11 * kSecond));
}

TEST(LimitState, GivesNoTokenTwiceToTwoThreads) {
  // A burst of 10,000, no refill worth mentioning: exactly 10,000 in all.
  LimitState state(LimitMatch{10000U * 86400, 10000});
  std::atomic<int> taken{0};
  const auto take = [&] {
    int mine = 0;
    for (int i = 0; i < 20000; ++i) mine += state.Take(kSecond) ? 1 : 0;
    taken += mine;
  };
  std::thread one(take), two(take);
  one.join();
  two.join();
  EXPECT_EQ(taken, 10000);
}

TEST(LimitMatch, CountsTheRuleOnlyWhileThereIsCredit) {
  Walker walker(ModelOf().Input({RuleOf().With(Rate(5, 60))}));
  auto packet = TestPacket().Icmp(8, 0);
  int matched = 0;
  for (int i = 0; i < 10; ++i) matched += walker.Matched(packet) ? 1 : 0;
  EXPECT_EQ(matched, 5);
  walker.now += 12 * kSecond;
  EXPECT_TRUE(walker.Matched(packet));
  EXPECT_FALSE(walker.Matched(packet));
}

}  // namespace
}  // namespace postern::rules

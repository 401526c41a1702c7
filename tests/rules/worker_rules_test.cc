// Paths and counters of a worker, and what a reload keeps.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "tests/rules/fixture.h"

namespace postern::rules {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr Table kFilter = Table::kFilter;

std::shared_ptr<const RuleSet> Compiled(const Model& model) {
  return RuleSet::Compile(model, {}, nullptr, nullptr);
}
std::vector<Counters> Totals(const RuleSet& rules, const WorkerRules& worker) {
  std::vector<Counters> totals(rules.rule_count());
  worker.AddTo(totals);
  return totals;
}
PathBuilder PathOf(std::initializer_list<RuleId> rules) {
  PathBuilder path;
  for (const RuleId rule : rules) path.rules[path.size++] = rule;
  return path;
}

TEST(WorkerRules, InternsEachListOnce) {
  const auto rules = Compiled(ModelOf());
  WorkerRules worker(*rules);
  const std::vector<RuleId> one = {1, 2, 3}, two = {1, 2}, three = {3, 2, 1}, none = {};
  const PathId id = worker.Intern(one);
  EXPECT_NE(id, kNoPath);
  EXPECT_EQ(worker.Intern(one), id);
  std::vector<PathId> ids = {id, worker.Intern(two), worker.Intern(three), worker.Intern(none)};
  std::ranges::sort(ids);
  EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end()) << "all differ";
  EXPECT_TRUE(std::ranges::equal(worker.Path(id), one));
}

TEST(WorkerRules, ExpandsPathsIntoRules) {
  const auto rules = Compiled(ModelOf());
  WorkerRules worker(*rules);
  const PathId id = worker.CountPacket(PathOf({1, 2}), 100);
  EXPECT_EQ(worker.CountPacket(PathOf({1, 2}), 50), id);
  worker.CountPacket(PathOf({2, 3}), 10);
  worker.CountPath(id, 3, 300);
  worker.CountRule(3, 1, 7);
  const auto totals = Totals(*rules, worker);
  EXPECT_EQ(totals[0], (Counters{}));
  EXPECT_EQ(totals[1], (Counters{5, 450}));
  EXPECT_EQ(totals[2], (Counters{6, 460}));
  EXPECT_EQ(totals[3], (Counters{2, 17}));
}

TEST(WorkerRules, CountsSinglyWhenThereIsNoRoom) {
  const auto rules = Compiled(ModelOf());
  WorkerRules few_paths(*rules, 3, 100);  // id 0 is no path
  EXPECT_NE(few_paths.CountPacket(PathOf({1}), 1), kNoPath);
  EXPECT_NE(few_paths.CountPacket(PathOf({2}), 1), kNoPath);
  EXPECT_EQ(few_paths.CountPacket(PathOf({3}), 1), kNoPath);
  EXPECT_NE(few_paths.CountPacket(PathOf({1}), 1), kNoPath) << "a known one needs none";
  WorkerRules few_steps(*rules, 100, 3);
  EXPECT_NE(few_steps.CountPacket(PathOf({1, 2}), 1), kNoPath);
  EXPECT_EQ(few_steps.CountPacket(PathOf({1, 3}), 1), kNoPath);
  EXPECT_NE(few_steps.CountPacket(PathOf({4}), 1), kNoPath);

  auto totals = Totals(*rules, few_paths);
  EXPECT_EQ(totals[1].packets, 2U);
  EXPECT_EQ(totals[3].packets, 1U);
  totals = Totals(*rules, few_steps);
  EXPECT_EQ(totals[1].packets, 2U);
  EXPECT_EQ(totals[3].packets, 1U);
}

TEST(WorkerRules, CanBeReadWhileTheWorkerCounts) {
  const auto rules = Compiled(ModelOf());
  WorkerRules worker(*rules);
  constexpr uint64_t kPackets = 200000;
  std::thread counting([&worker] {
    for (uint64_t i = 0; i < kPackets; ++i) {
      // Ever new paths, all of which begin with rule 0.
      PathBuilder path = PathOf({0});
      for (uint64_t n = i % 4096; n != 0; n /= 16) {
        path.rules[path.size++] = static_cast<RuleId>(1 + n % 16);
      }
      worker.CountPacket(path, 10);
    }
  });
  uint64_t seen = 0;
  while (seen < kPackets) {
    const auto totals = Totals(*rules, worker);
    EXPECT_GE(totals[0].packets, seen) << "never less than before";
    seen = totals[0].packets;
    ASSERT_LE(seen, kPackets);
  }
  counting.join();
  EXPECT_EQ(Totals(*rules, worker)[0], (Counters{kPackets, kPackets * 10}));
}

TEST(MatchRules, PairsUnchangedRulesByChainAndText) {
  const Rule a = RuleOf().From("192.0.2.1"), b = RuleOf().From("192.0.2.2"),
             c = RuleOf().From("192.0.2.3");
  const auto before =
      Compiled(ModelOf().Input({a, b, a}).Add(kFilter, "one", {a}).Add(kFilter, "two", {b, c}));
  Model next = ModelOf()
                   .Input({b, a, c, a, a})
                   .Add(kFilter, "two", {c, b})
                   .Add(kFilter, "three", {a})
                   .model();
  next.ipv4.table(kFilter).chains[0].rules[0].counters = {5, 500};
  next.ipv4.table(kFilter).chains[0].rules[0].origin = {"elsewhere", 3};
  next.ipv4.table(kFilter).chains[0].policy = Verdict::kDrop;
  const auto after = Compiled(next);
  const auto pairs = MatchRules(*before, *after);
  ASSERT_EQ(pairs.size(), after->rule_count());
  struct Row {
    const char* chain;
    uint32_t number;
    const char* old_chain;  // null: a new rule
    uint32_t old_number;
  };
  const Row rows[] = {
      {"INPUT", 1, "INPUT", 2},     {"INPUT", 2, "INPUT", 1}, {"INPUT", 3, nullptr, 0},
      {"INPUT", 4, "INPUT", 3},     {"INPUT", 5, nullptr, 0}, {"INPUT", 0, "INPUT", 0},
      {"two", 1, "two", 2},         {"two", 2, "two", 1},     {"three", 1, nullptr, 0},
      {"FORWARD", 0, "FORWARD", 0},
  };
  const auto id = [](const RuleSet& rules, const char* chain, uint32_t number) {
    const TableModel& table = rules.model().ipv4.table(kFilter);
    const auto index = static_cast<uint16_t>(table.Find(chain) - table.chains.data());
    return rules.IdOf({Family::kIpv4, kFilter, index, number});
  };
  for (const Row& row : rows) {
    const RuleId expected =
        row.old_chain == nullptr ? kNoRule : id(*before, row.old_chain, row.old_number);
    EXPECT_EQ(pairs[id(*after, row.chain, row.number)], expected) << row.chain << " " << row.number;
  }
}

TEST(MatchRules, TakesTenThousandRulesInItsStride) {
  std::vector<Rule> many;
  for (uint32_t i = 0; i < 10000; ++i) {
    Rule rule = RuleOf(AcceptTarget{}).Tcp(static_cast<uint16_t>(i % 100));
    rule.ip.source.address = IpAddress::V4(i);
    rule.ip.source.mask = net::PrefixMask(Family::kIpv4, 32);
    many.push_back(rule);
  }
  const auto before = Compiled(ModelOf().Input(many));
  std::ranges::reverse(many);
  const auto after = Compiled(ModelOf().Input(many));
  const auto pairs = MatchRules(*before, *after);
  for (uint32_t i = 0; i < 10000; ++i) {
    ASSERT_EQ(pairs[after->IdOf({Family::kIpv4, kFilter, 0, i + 1})],
              before->IdOf({Family::kIpv4, kFilter, 0, 10000 - i}));
  }
}

TEST(Reload, KeepsTheStateOfUnchangedRules) {
  const LimitMatch limit = {10000 * 60, 1};  // one, then one a minute
  ConnlimitMatch connlimit;
  connlimit.limit = 1;
  connlimit.mask = net::PrefixMask(Family::kIpv4, 32);
  const Rule limited = RuleOf().Tcp(22).With(limit);
  const Rule counted = RuleOf().Tcp(22).With(connlimit);
  SharedState shared;
  auto packet = TestPacket().Tcp(1024, 22);
  ctrack::Connection first, second;
  second.tuples[0].source_key = 1;

  Walker before(ModelOf().Input({limited, counted}), &shared);
  before.ct = {&first, ctrack::CtInfo::kNew};
  EXPECT_TRUE(before.Matched(packet, 1)) << "the only token; one connection";

  // Moved down by another rule.
  Walker after(ModelOf().Input({RuleOf().Tcp(23), limited, counted}), &shared, before.rules.get());
  after.ct = {&second, ctrack::CtInfo::kNew};
  EXPECT_FALSE(after.Matched(packet, 2)) << "the bucket is still empty";
  EXPECT_TRUE(after.Matched(packet, 3)) << "the second connection";

  // Another text is another rule.
  Walker changed(ModelOf().Input({RuleOf().Tcp(22).From("192.0.2.0/24").With(limit)}), &shared,
                 after.rules.get());
  EXPECT_TRUE(changed.Matched(packet, 1));
  // States in a model that is handed in are not trusted: this rule's limit became a connlimit.
  Model edited = after.rules->model();
  edited.ipv4.table(kFilter).chains[0].rules[1].matches[1] = connlimit;
  Walker fresh(edited, &shared, after.rules.get());
  fresh.now += 10 * net::kMillisecond;  // the next look at the list
  fresh.ct = {&second, ctrack::CtInfo::kNew};
  EXPECT_FALSE(fresh.Matched(packet, 2)) << "one connection, a fresh count";
}

TEST(Reload, ReadsCountersAndGeneration) {
  RuleSet::Options options;
  options.generation = 7;
  const auto rules = RuleSet::Compile(ModelOf(), options, nullptr, nullptr);
  EXPECT_EQ(rules->generation(), 7U);
}

}  // namespace
}  // namespace postern::rules

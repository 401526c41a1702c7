// -m recent: the lists, their stamps, eviction, and two workers on one list.
#include "dataplane/rules/matches/recent.h"

#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "tests/rules/fixture.h"

namespace postern::rules {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
using net::kSecond;
using Op = RecentMatch::Operation;

const IpAddress kHost4 = net::PrefixMask(Family::kIpv4, 32);

RecentMatch Recent(Op operation, uint32_t seconds = 0, uint32_t hitcount = 0, bool invert = false) {
  RecentMatch match;
  match.operation = operation;
  match.seconds = seconds;
  match.hitcount = hitcount;
  match.invert = invert;
  match.mask = kHost4;
  return match;
}

// One list, asked directly.
struct List {
  explicit List(IpAddress mask = kHost4, uint32_t ring = 256) : table(mask, ring) {}
  bool Ask(const RecentMatch& match, std::string_view address, net::Time seconds,
           uint8_t ttl = 64) {
    const Family family =
        address.find(':') == std::string_view::npos ? Family::kIpv4 : Family::kIpv6;
    return table.Apply(match, family, Address(address), ttl, seconds * kSecond);
  }
  RecentTable table;
};

TEST(Recent, FollowsOneAddressThroughTime) {
  struct Step {
    const char* name;
    RecentMatch match;
    net::Time at;  // seconds
    bool expected;
  };
  const Step steps[] = {
      {"nobody is known", Recent(Op::kCheck), 100, false},
      {"update doesn't add", Recent(Op::kUpdate), 100, false},
      {"remove finds nobody", Recent(Op::kRemove), 100, false},
      {"! check of nobody", Recent(Op::kCheck, 0, 0, true), 100, true},
      {"set", Recent(Op::kSet), 100, true},
      {"check", Recent(Op::kCheck), 100, true},
      {"! check", Recent(Op::kCheck, 0, 0, true), 100, false},
      {"within a minute, to the second", Recent(Op::kCheck, 60), 160, true},
      {"check doesn't stamp", Recent(Op::kCheck, 60), 161, false},
      {"two hits are too many", Recent(Op::kCheck, 0, 2), 161, false},
      {"update that doesn't match doesn't stamp", Recent(Op::kUpdate, 60), 161, false},
      {"still one", Recent(Op::kCheck, 0, 2), 161, false},
      {"update that matches stamps", Recent(Op::kUpdate), 170, true},
      {"now two", Recent(Op::kCheck, 0, 2), 170, true},
      {"one of them in time", Recent(Op::kCheck, 60, 2), 170, false},
      {"both in time", Recent(Op::kCheck, 70, 2), 170, true},
      {"set adds a stamp", Recent(Op::kSet), 180, true},
      {"now three", Recent(Op::kCheck, 0, 3), 180, true},
      {"! set of a known one", Recent(Op::kSet, 0, 0, true), 181, false},
      {"it stamps all the same", Recent(Op::kCheck, 0, 4), 181, true},
      {"remove", Recent(Op::kRemove), 182, true},
      {"gone", Recent(Op::kCheck), 182, false},
      {"! update of an unknown one", Recent(Op::kUpdate, 0, 0, true), 183, true},
      {"it doesn't add either", Recent(Op::kCheck), 183, false},
      {"! set of a new one", Recent(Op::kSet, 0, 0, true), 184, false},
      {"it adds all the same", Recent(Op::kCheck), 184, true},
      {"! update that is too old matches and stamps", Recent(Op::kUpdate, 10, 0, true), 200, true},
      {"stamped", Recent(Op::kCheck, 10), 200, true},
  };
  List list;
  for (const Step& step : steps) {
    EXPECT_EQ(list.Ask(step.match, "192.0.2.1", step.at), step.expected) << step.name;
  }
}

TEST(Recent, CountsNoTimeBeforeTheClocksBeginning) {
  List list;
  EXPECT_TRUE(list.Ask(Recent(Op::kSet), "192.0.2.1", 0));
  EXPECT_TRUE(list.Ask(Recent(Op::kCheck, 60), "192.0.2.1", 5)) << "60 s ago is before 0";
}

TEST(Recent, KeepsTheLastStampsInARing) {
  List list;
  for (net::Time t = 1; t <= 300; ++t) list.Ask(Recent(Op::kSet), "192.0.2.1", t);
  EXPECT_TRUE(list.Ask(Recent(Op::kCheck, 0, 256), "192.0.2.1", 300));
  EXPECT_TRUE(list.Ask(Recent(Op::kCheck, 99, 100), "192.0.2.1", 300)) << "201..300";
  EXPECT_FALSE(list.Ask(Recent(Op::kCheck, 99, 101), "192.0.2.1", 300));
}

TEST(Recent, PushesOutTheOneStampedLongestAgo) {
  List list;
  const auto host = [](int i) { return "192.0.2." + std::to_string(i); };
  for (int i = 0; i < 100; ++i) list.Ask(Recent(Op::kSet), host(i), 100 + i);
  list.Ask(Recent(Op::kUpdate), host(0), 300);  // now the newest
  list.Ask(Recent(Op::kCheck), host(1), 301);   // a check doesn't count
  list.Ask(Recent(Op::kSet), host(100), 302);
  EXPECT_EQ(list.table.size(), 100);
  EXPECT_TRUE(list.Ask(Recent(Op::kCheck), host(0), 303));
  EXPECT_FALSE(list.Ask(Recent(Op::kCheck), host(1), 303));
  EXPECT_TRUE(list.Ask(Recent(Op::kCheck), host(2), 303));
  EXPECT_TRUE(list.Ask(Recent(Op::kCheck), host(100), 303));
}

TEST(Recent, ReapsTheOldestThatIsOutOfTime) {
  RecentMatch reap = Recent(Op::kCheck, 60);
  reap.reap = true;
  List list;
  list.Ask(Recent(Op::kSet), "192.0.2.1", 100);
  list.Ask(Recent(Op::kSet), "192.0.2.2", 150);
  EXPECT_TRUE(list.Ask(reap, "192.0.2.2", 160)) << "160 - 60 isn't later than 100";
  EXPECT_EQ(list.table.size(), 2);
  EXPECT_TRUE(list.Ask(reap, "192.0.2.2", 161));
  EXPECT_EQ(list.table.size(), 1) << "the first one is gone";
  EXPECT_FALSE(list.Ask(reap, "192.0.2.2", 211));
  EXPECT_EQ(list.table.size(), 0) << "it reaps itself";
  // --update that matches is spared: it is about to be stamped.
  RecentMatch update = Recent(Op::kUpdate, 60, 0, true);
  update.reap = true;
  list.Ask(Recent(Op::kSet), "192.0.2.3", 300);
  EXPECT_TRUE(list.Ask(update, "192.0.2.3", 400));
  EXPECT_EQ(list.table.size(), 1);
}

TEST(Recent, ComparesTheTtlWithRttl) {
  RecentMatch check = Recent(Op::kCheck);
  check.ttl = true;
  List list;
  list.Ask(Recent(Op::kSet), "192.0.2.1", 100, 64);
  EXPECT_TRUE(list.Ask(check, "192.0.2.1", 100, 64));
  EXPECT_FALSE(list.Ask(check, "192.0.2.1", 100, 63)) << "somebody else spoofs it";
  EXPECT_TRUE(list.Ask(Recent(Op::kCheck), "192.0.2.1", 100, 63)) << "not asked";
}

TEST(Recent, MasksAddressesAndKeepsFamiliesApart) {
  List nets(net::PrefixMask(Family::kIpv4, 24));
  nets.Ask(Recent(Op::kSet), "192.0.2.1", 100);
  EXPECT_TRUE(nets.Ask(Recent(Op::kCheck), "192.0.2.200", 100));
  EXPECT_FALSE(nets.Ask(Recent(Op::kCheck), "192.0.3.1", 100));

  List both(net::PrefixMask(Family::kIpv6, 128));
  both.Ask(Recent(Op::kSet), "192.0.2.1", 100);
  EXPECT_FALSE(both.Ask(Recent(Op::kCheck), "c000:201::", 100)) << "the same bytes";
}

// TUTORIALS.md B: the fourth attempt within 60 s is dropped, and so are further ones while they go
// on.
TEST(Recent, DropsTheFourthAttemptInAMinute) {
  RecentMatch set = Recent(Op::kSet), update = Recent(Op::kUpdate, 60, 4);
  const auto model = ModelOf().Input({RuleOf().Tcp(22).State(kCtStateNew).With(set),
                                      RuleOf(DropTarget{}).Tcp(22).State(kCtStateNew).With(update),
                                      RuleOf(AcceptTarget{})});
  struct Row {
    net::Time at;  // seconds
    Verdict expected;
  };
  const Row rows[] = {
      {0, Verdict::kAccept},   {10, Verdict::kAccept},  {20, Verdict::kAccept},
      {30, Verdict::kDrop},  // stamped by --set and by the --update that matched
      {40, Verdict::kDrop},    {101, Verdict::kAccept},  // 40 s twice is just out, leaves one
      {102, Verdict::kAccept}, {103, Verdict::kAccept}, {104, Verdict::kDrop},
  };
  Walker walker(model);
  ctrack::Connection connection;
  walker.ct = {&connection, ctrack::CtInfo::kNew};
  for (const Row& row : rows) {
    walker.now = (1000 + row.at) * kSecond;
    auto attempt = TestPacket("192.0.2.1").Tcp(40000, 22);
    EXPECT_EQ(walker.Walk(attempt).verdict, row.expected) << row.at;
    auto other = TestPacket("192.0.2.77").Tcp(40000, 80);
    EXPECT_EQ(walker.Walk(other).verdict, Verdict::kAccept);
  }
}

// Counted by a Linux 6.18 kernel for the same rules and the same seven packets.
TEST(Recent, CountsWhatAKernelCounted) {
  const auto on = [](const char* name, RecentMatch match) {
    match.name = name;
    return RuleOf().With(match);
  };
  Walker walker(
      ModelOf().Input({on("A", Recent(Op::kSet)), on("A", Recent(Op::kUpdate, 2, 4)),
                       on("B", Recent(Op::kUpdate, 1, 4, true)), on("B", Recent(Op::kCheck)),
                       on("C", Recent(Op::kSet, 0, 0, true)), on("C", Recent(Op::kCheck, 0, 2)),
                       on("D", Recent(Op::kRemove, 0, 0, true))}));
  constexpr std::array<uint64_t, 7> kExpected = {7, 2, 7, 0, 0, 6, 7};
  std::vector<uint64_t> counted(walker.rules->rule_count());
  for (const net::Time pause : {0, 100, 100, 100, 100, 2500, 100}) {
    walker.now += pause * net::kMillisecond;
    auto packet = TestPacket("192.0.2.1").Udp(1024, 9);
    walker.Walk(packet);
    for (const RuleId id : walker.Path()) ++counted[id];
  }
  for (uint32_t number = 1; number <= kExpected.size(); ++number) {
    EXPECT_EQ(counted[walker.rules->IdOf({Family::kIpv4, Table::kFilter, 0, number})],
              kExpected[number - 1])
        << "rule " << number;
  }
}

TEST(Recent, AsksTheRightSideAndTtlOfThePacket) {
  RecentMatch set = Recent(Op::kSet), check = Recent(Op::kCheck);
  set.destination = true;
  check.ttl = true;
  const auto model =
      ModelOf().Add(Table::kFilter, "FORWARD", {RuleOf().With(set)}).Input({RuleOf().With(check)});
  Walker walker(model);
  walker.hook = Hook::kForward;
  walker.out = 1;
  auto forwarded = TestPacket("192.0.2.1", "198.51.100.2").Tcp(1, 2).Ttl(63);
  walker.Walk(forwarded);
  // The stored TTL is the one before forwarding took one off.
  walker.hook = Hook::kInput;
  walker.out = net::kNoPort;
  auto same = TestPacket("198.51.100.2").Tcp(1, 2).Ttl(64);
  EXPECT_TRUE(walker.Matched(same));
  auto other = TestPacket("198.51.100.2").Tcp(1, 2).Ttl(63);
  EXPECT_FALSE(walker.Matched(other));
  auto source = TestPacket("192.0.2.1").Tcp(1, 2).Ttl(64);
  EXPECT_FALSE(walker.Matched(source)) << "--rdest was stored";
}

TEST(RecentTables, OutliveReloadsWhileSomebodyNamesThem) {
  SharedState shared;
  const auto with = [](Op operation) {
    return ModelOf().Input({RuleOf().With(Recent(operation))});
  };
  auto packet = TestPacket("192.0.2.1").Tcp(1, 2);
  auto first = std::make_unique<Walker>(with(Op::kSet), &shared);
  EXPECT_TRUE(first->Matched(packet));
  // Another rule, the same name: the same list.
  auto second = std::make_unique<Walker>(with(Op::kCheck), &shared, first->rules.get());
  EXPECT_TRUE(second->Matched(packet));
  first.reset();
  EXPECT_TRUE(second->Matched(packet));
  second.reset();
  Walker third(with(Op::kCheck), &shared);
  EXPECT_FALSE(third.Matched(packet)) << "nobody named it in between";
}

TEST(RecentTables, AreSharedByBothFamilies) {
  Model model = ModelOf().Input({RuleOf().With(Recent(Op::kSet))}).model();
  RecentMatch six = Recent(Op::kSet);
  six.mask = net::PrefixMask(Family::kIpv6, 128);
  model.ipv6.present.fill(true);
  model.ipv6.table(Table::kFilter).chains[0].rules.push_back(RuleOf().With(six));
  Walker walker(model);
  const auto& rule4 = walker.rules->model().ipv4.table(Table::kFilter).chains[0].rules[0];
  const auto& rule6 = walker.rules->model().ipv6.table(Table::kFilter).chains[0].rules[0];
  EXPECT_EQ(rule4.states[0], rule6.states[0]);
}

TEST(RecentTables, MakeRingsAsLargeAsTheHitcounts) {
  const auto model = ModelOf().Input(
      {RuleOf().With(Recent(Op::kSet)), RuleOf().With(Recent(Op::kCheck, 0, 1000))});
  Walker walker(model);
  const auto& rule = walker.rules->model().ipv4.table(Table::kFilter).chains[0].rules[0];
  EXPECT_EQ(std::static_pointer_cast<RecentTable>(rule.states[0])->ring(), 1024U);
  auto packet = TestPacket("192.0.2.1").Tcp(1, 2);
  for (int i = 1; i <= 999; ++i) EXPECT_FALSE(walker.Matched(packet, 2)) << i;
  EXPECT_TRUE(walker.Matched(packet, 2));
}

TEST(Recent, CountsEveryStampOfTwoThreads) {
  List list(kHost4, 1U << 16);
  const auto run = [&list] {
    for (int i = 0; i < 10000; ++i) list.Ask(Recent(Op::kSet), "192.0.2.1", 1000);
  };
  std::thread one(run), two(run);
  one.join();
  two.join();
  EXPECT_TRUE(list.Ask(Recent(Op::kCheck, 0, 20000), "192.0.2.1", 1000));
  EXPECT_FALSE(list.Ask(Recent(Op::kCheck, 0, 20001), "192.0.2.1", 1000));
}

TEST(Recent, StaysWholeWhileTwoThreadsEvict) {
  List list;
  const auto run = [&list](int seed) {
    net::Rng rng(static_cast<uint64_t>(seed));
    for (net::Time i = 0; i < 20000; ++i) {
      const std::string host = "192.0.2." + std::to_string(rng.Below(250));
      list.Ask(Recent(rng.Below(4) == 0 ? Op::kRemove : Op::kSet), host, i);
    }
  };
  std::thread one(run, 1), two(run, 2);
  one.join();
  two.join();
  int known = 0;
  for (int i = 0; i < 250; ++i) {
    known += list.Ask(Recent(Op::kCheck), "192.0.2." + std::to_string(i), 0) ? 1 : 0;
  }
  EXPECT_EQ(known, list.table.size());
  EXPECT_LE(known, 100);
}

}  // namespace
}  // namespace postern::rules

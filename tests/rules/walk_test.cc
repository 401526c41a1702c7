// The walk: order, user chains, goto, return, policies, targets, what it depended on.
#include <gtest/gtest.h>

#include "tests/rules/fixture.h"

namespace postern::rules {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
using net::DropReason;

// The path as text, "INPUT:1 ssh:2 INPUT:0".
std::string PathText(const Walker& walker) {
  std::string text;
  for (const RuleId id : walker.Path()) {
    const RulePlace place = walker.rules->Place(id);
    const TableModel& table = walker.rules->model().family(place.family).table(place.table);
    if (!text.empty()) text += " ";
    text += table.chains[place.chain].name + ":" + std::to_string(place.number);
  }
  return text;
}

constexpr Table kFilter = Table::kFilter;
const Rule kAccept = RuleOf(AcceptTarget{});
const Rule kDrop = RuleOf(DropTarget{});
const Rule kReturn = RuleOf(ReturnTarget{});
const Rule kCount = RuleOf();
const Rule kNever = RuleOf(DropTarget{}).Protocol(200);

TEST(Walk, FollowsChainsAsNetfilterDoes) {
  struct Row {
    const char* name;
    ModelOf model;
    Verdict verdict;
    const char* path;
  };
  const Row rows[] = {
      {"empty chain", ModelOf().Input({}), Verdict::kAccept, "INPUT:0"},
      {"policy drop", ModelOf().Policy(kFilter, "INPUT", Verdict::kDrop), Verdict::kDrop,
       "INPUT:0"},
      {"first match decides", ModelOf().Input({kNever, kAccept, kDrop}), Verdict::kAccept,
       "INPUT:2"},
      {"no target counts and goes on", ModelOf().Input({kCount, kCount, kDrop}), Verdict::kDrop,
       "INPUT:1 INPUT:2 INPUT:3"},
      {"jump and decide", ModelOf().Input({Jump("a"), kDrop}).Add(kFilter, "a", {kAccept}),
       Verdict::kAccept, "INPUT:1 a:1"},
      {"jump and fall through", ModelOf().Input({Jump("a"), kDrop}).Add(kFilter, "a", {kNever}),
       Verdict::kDrop, "INPUT:1 INPUT:2"},
      {"empty user chain", ModelOf().Input({Jump("a"), kDrop}).Add(kFilter, "a", {}),
       Verdict::kDrop, "INPUT:1 INPUT:2"},
      {"return", ModelOf().Input({Jump("a"), kDrop}).Add(kFilter, "a", {kReturn, kAccept}),
       Verdict::kDrop, "INPUT:1 a:1 INPUT:2"},
      {"return from a built-in chain is the policy", ModelOf().Input({kReturn, kDrop}),
       Verdict::kAccept, "INPUT:1 INPUT:0"},
      {"nested",
       ModelOf()
           .Input({Jump("a"), kDrop})
           .Add(kFilter, "a", {Jump("b"), kCount})
           .Add(kFilter, "b", {kCount}),
       Verdict::kDrop, "INPUT:1 a:1 b:1 a:2 INPUT:2"},
      {"goto returns to the caller of the chain that it left",
       ModelOf()
           .Input({Jump("a"), kDrop})
           .Add(kFilter, "a", {Goto("b"), kAccept})
           .Add(kFilter, "b", {kCount}),
       Verdict::kDrop, "INPUT:1 a:1 b:1 INPUT:2"},
      {"return after goto likewise",
       ModelOf()
           .Input({Jump("a"), kDrop})
           .Add(kFilter, "a", {Goto("b"), kAccept})
           .Add(kFilter, "b", {kReturn, kAccept}),
       Verdict::kDrop, "INPUT:1 a:1 b:1 INPUT:2"},
      {"goto from a built-in chain ends in its policy",
       ModelOf().Input({Goto("a"), kDrop}).Add(kFilter, "a", {kCount}), Verdict::kAccept,
       "INPUT:1 a:1 INPUT:0"},
      {"goto, then jump",
       ModelOf()
           .Input({Goto("a"), kDrop})
           .Add(kFilter, "a", {Jump("b"), kCount})
           .Add(kFilter, "b", {kReturn}),
       Verdict::kAccept, "INPUT:1 a:1 b:1 a:2 INPUT:0"},
      {"a chain called twice counts twice",
       ModelOf().Input({Jump("a"), Jump("a")}).Add(kFilter, "a", {kCount}), Verdict::kAccept,
       "INPUT:1 a:1 INPUT:2 a:1 INPUT:0"},
      {"a jump that doesn't match",
       ModelOf().Input({Jump("a").Protocol(200), kDrop}).Add(kFilter, "a", {kAccept}),
       Verdict::kDrop, "INPUT:2"},
  };
  for (const Row& row : rows) {
    Walker walker(row.model);
    auto packet = TestPacket().Tcp(1, 2);
    const WalkResult result = walker.Walk(packet);
    EXPECT_EQ(result.verdict, row.verdict) << row.name;
    EXPECT_EQ(PathText(walker), row.path) << row.name;
    EXPECT_EQ(result.decided_by, walker.Path().back()) << row.name;
    const DropReason reason = result.verdict == Verdict::kAccept           ? DropReason::kNone
                              : std::string_view(row.path).ends_with(":0") ? DropReason::kPolicyDrop
                                                                           : DropReason::kRuleDrop;
    EXPECT_EQ(result.reason, reason) << row.name;
  }
}

TEST(Walk, NestsAsDeepAsValidateAllows) {
  for (const size_t depth : {size_t{1}, size_t{63}, size_t{64}, size_t{65}}) {
    ModelOf model;
    model.Input({Jump("c1"), kDrop});
    for (size_t i = 1; i < depth; ++i) {
      model.Add(kFilter, "c" + std::to_string(i), {Jump("c" + std::to_string(i + 1))});
    }
    model.Add(kFilter, "c" + std::to_string(depth), {kCount});
    std::vector<std::string> errors;
    EXPECT_EQ(Validate(model, &errors), depth <= 64) << depth;
    Walker walker(model);
    auto packet = TestPacket().Tcp(1, 2);
    EXPECT_EQ(walker.Walk(packet).verdict, Verdict::kDrop) << depth;
    EXPECT_EQ(walker.Path().size(), depth <= 64 ? depth + 2 : 65) << depth;
  }
}

TEST(Walk, TakesTheHooksOwnChain) {
  const ModelOf model = ModelOf()
                            .Add(Table::kMangle, "PREROUTING", {kCount})
                            .Add(Table::kMangle, "FORWARD", {kCount, kDrop});
  Walker walker(model);
  auto packet = TestPacket().Tcp(1, 2);
  walker.hook = Hook::kPrerouting;
  EXPECT_EQ(walker.Walk(packet, Table::kMangle).verdict, Verdict::kAccept);
  EXPECT_EQ(PathText(walker), "PREROUTING:1 PREROUTING:0");
  walker.hook = Hook::kForward;
  EXPECT_EQ(walker.Walk(packet, Table::kMangle).verdict, Verdict::kDrop);
  EXPECT_EQ(PathText(walker), "FORWARD:1 FORWARD:2");
  EXPECT_TRUE(walker.rules->HasRules(Family::kIpv4, Table::kMangle, Hook::kForward));
  EXPECT_FALSE(walker.rules->HasRules(Family::kIpv4, Table::kMangle, Hook::kInput));
  EXPECT_TRUE(walker.rules->HasTable(Family::kIpv4, Table::kMangle));
}

TEST(Walk, SkipsATableThatNoFileNamed) {
  Walker walker(ModelOf().Input({kDrop}));
  auto packet = TestPacket().Tcp(1, 2);
  EXPECT_FALSE(walker.rules->HasTable(Family::kIpv4, Table::kMangle));
  EXPECT_EQ(walker.Walk(packet, Table::kMangle).verdict, Verdict::kAccept);
  EXPECT_TRUE(walker.Path().empty()) << "no policy to count";
  auto ipv6 = TestPacket("2001:db8::1", "2001:db8::2").Tcp(1, 2);
  EXPECT_EQ(walker.Walk(ipv6).verdict, Verdict::kAccept) << "the other family's rules";
  EXPECT_TRUE(walker.Path().empty());
}

TEST(Walk, IdsAreDenseAndTheirPlacesFindThem) {
  Model model = ModelOf()
                    .Input({kCount, kDrop})
                    .Add(kFilter, "user", {kCount})
                    .Add(Table::kNat, "POSTROUTING", {RuleOf(MasqueradeTarget{})})
                    .model();
  model.ipv6.table(kFilter).chains[0].rules.push_back(kDrop);
  Walker walker(model);
  // 14 built-in chains a family, and five rules.
  EXPECT_EQ(walker.rules->rule_count(), 2U * 14 + 5);
  for (RuleId id = 0; id < walker.rules->rule_count(); ++id) {
    EXPECT_EQ(walker.rules->IdOf(walker.rules->Place(id)), id);
  }
  EXPECT_EQ(walker.rules->IdOf({Family::kIpv4, kFilter, 3, 0}), kNoRule) << "no policy";
  EXPECT_EQ(walker.rules->IdOf({Family::kIpv4, kFilter, 3, 2}), kNoRule) << "no such rule";
  EXPECT_EQ(walker.rules->IdOf({Family::kIpv4, kFilter, 9, 1}), kNoRule) << "no such chain";
  EXPECT_EQ(walker.rules->PolicyId(Family::kIpv4, kFilter, Hook::kPrerouting), kNoRule);
  EXPECT_EQ(
      walker.rules->Place(walker.rules->PolicyId(Family::kIpv6, kFilter, Hook::kInput)).number, 0U);
}

TEST(Targets, RejectSaysHow) {
  Walker walker(
      ModelOf().Input({RuleOf(RejectTarget{RejectWith::kTcpReset}).Protocol(net::kProtoTcp)}));
  auto packet = TestPacket().Tcp(1, 2);
  const WalkResult result = walker.Walk(packet);
  EXPECT_EQ(result.verdict, Verdict::kReject);
  EXPECT_EQ(result.reason, DropReason::kRuleReject);
  EXPECT_EQ(result.reject, RejectWith::kTcpReset);
  EXPECT_NE(walker.path.depends & kDependsSideEffect, 0);
}

TEST(Targets, NatEndsTheTableWithABinding) {
  NatRange range;
  range.has_address = true;
  range.first_address = range.last_address = Address("198.51.100.7");
  struct Row {
    Target target;
    Hook hook;
    const char* chain;
    bool destination, masquerade, redirect;
  };
  const Row rows[] = {
      {SnatTarget{range}, Hook::kPostrouting, "POSTROUTING", false, false, false},
      {DnatTarget{range}, Hook::kPrerouting, "PREROUTING", true, false, false},
      {MasqueradeTarget{range}, Hook::kPostrouting, "POSTROUTING", false, true, false},
      {RedirectTarget{range}, Hook::kOutput, "OUTPUT", true, false, true},
  };
  for (const Row& row : rows) {
    Walker walker(ModelOf().Add(Table::kNat, row.chain, {RuleOf(row.target), kCount}));
    walker.hook = row.hook;
    auto packet = TestPacket().Tcp(1, 2);
    const WalkResult result = walker.Walk(packet, Table::kNat);
    EXPECT_EQ(result.verdict, Verdict::kAccept) << row.chain;
    ASSERT_NE(result.nat, nullptr) << row.chain;
    EXPECT_EQ(*result.nat, range);
    EXPECT_EQ(result.nat_destination, row.destination);
    EXPECT_EQ(result.masquerade, row.masquerade);
    EXPECT_EQ(result.redirect, row.redirect);
    EXPECT_EQ(walker.Path().size(), 1U);
  }
  Walker none(ModelOf().Add(Table::kNat, "PREROUTING", {kAccept}));
  none.hook = Hook::kPrerouting;
  auto packet = TestPacket().Tcp(1, 2);
  EXPECT_EQ(none.Walk(packet, Table::kNat).nat, nullptr) << "ACCEPT binds nothing";
}

TEST(Targets, MarkChangesOnlyItsBits) {
  struct Row {
    uint32_t value, mask, before, after;
  };
  const Row rows[] = {
      {5, 0xffffffff, 0x77, 5},  // --set-mark 5
      {1, 1, 0x70, 0x71},        // --or-mark 1
      {0, 0xf0, 0x77, 0x07},     // --and-mark 0xffffff0f
      {0xff, 0, 0x0f, 0xf0},     // --xor-mark 0xff
  };
  for (const Row& row : rows) {
    Walker walker(ModelOf().Input({RuleOf(MarkTarget{row.value, row.mask}),
                                   RuleOf(DropTarget{}).With(MarkMatch{row.after})}));
    auto packet = TestPacket().Tcp(1, 2).Mark(row.before);
    EXPECT_EQ(walker.Walk(packet).verdict, Verdict::kDrop) << "the next rule sees the new mark";
    EXPECT_EQ(packet.packet().mark, row.after);
  }
}

TEST(Targets, NotrackLeavesATrackedPacketAlone) {
  const auto model = ModelOf().Add(Table::kRaw, "PREROUTING", {RuleOf(NotrackTarget{}), kCount});
  auto packet = TestPacket().Tcp(1, 2);
  Walker walker(model);
  walker.hook = Hook::kPrerouting;
  walker.Walk(packet, Table::kRaw);
  EXPECT_EQ(walker.ct.info, ctrack::CtInfo::kUntracked);
  EXPECT_EQ(PathText(walker), "PREROUTING:1 PREROUTING:2 PREROUTING:0");

  ctrack::Connection connection;
  walker.ct = {&connection, ctrack::CtInfo::kEstablished};
  walker.Walk(packet, Table::kRaw);
  EXPECT_EQ(walker.ct.info, ctrack::CtInfo::kEstablished);
  EXPECT_EQ(walker.ct.connection, &connection);
}

TEST(Targets, LogTellsItsSinkAndGoesOn) {
  class Sink : public LogSink {
   public:
    void Log(const LogTarget& target, const net::Packet&, Hook hook, net::PortId in,
             net::PortId out, net::Time now) override {
      text += target.prefix + std::string(net::ToString(hook)) + " " + std::to_string(in) + " " +
              std::to_string(out) + " " + std::to_string(now / net::kSecond);
    }
    std::string text;
  };
  LogTarget log;
  log.prefix = "seen: ";
  Walker walker(ModelOf().Input({RuleOf(log), kDrop}));
  Sink sink;
  walker.log = &sink;
  auto packet = TestPacket().Tcp(1, 2);
  EXPECT_EQ(walker.Walk(packet).verdict, Verdict::kDrop);
  EXPECT_EQ(sink.text, "seen: INPUT 0 65535 1000");
  EXPECT_EQ(PathText(walker), "INPUT:1 INPUT:2");
  EXPECT_EQ(walker.path.depends, kDependsSideEffect);
  walker.log = nullptr;
  EXPECT_EQ(walker.Walk(packet).verdict, Verdict::kDrop);
}

TEST(Depends, NamesWhatWasConsulted) {
  TcpMatch syn;
  syn.destination = {22, 22};
  syn.flag_mask = 0x17;
  syn.flag_compare = 2;
  ConntrackMatch status, expires, replies, dnat;
  status.fields = ConntrackMatch::kStatus;
  status.status = ctrack::kAssured;
  expires.fields = ConntrackMatch::kExpires;
  replies.fields = ConntrackMatch::kReplSrc;
  dnat.fields = ConntrackMatch::kState;
  dnat.state = kCtStateDnat;
  LimitMatch limit;
  limit.average = 10000;
  RecentMatch recent;
  recent.mask = net::PrefixMask(Family::kIpv4, 32);
  ConnlimitMatch connlimit;
  connlimit.mask = recent.mask;
  struct Row {
    const char* name;
    Rule rule;
    uint16_t expected;
  };
  const Row rows[] = {
      {"addresses", RuleOf().From("192.0.2.1"), kDependsTuple},
      {"tcp ports", RuleOf().Tcp(22), kDependsTuple},
      {"tcp flags", RuleOf().Protocol(6).With(syn), kDependsTcpFlags | kDependsTuple},
      {"tcp flags of another port", RuleOf().Protocol(6).With([&] {
         TcpMatch other = syn;
         other.destination = {23, 23};
         return other;
       }()),
       kDependsTuple},
      {"ip part didn't match", RuleOf().From("192.0.2.9").Protocol(6).With(syn), kDependsTuple},
      {"an earlier match said no", RuleOf().Tcp(23).With(MarkMatch{1}), kDependsTuple},
      {"mark", RuleOf().With(MarkMatch{1}), kDependsMark},
      {"ctstate", RuleOf().State(kCtStateNew), 0},
      {"state", RuleOf().With(StateMatch{kCtStateNew, false}), 0},
      {"ctstate DNAT", RuleOf().With(dnat), kDependsCtStatus},
      {"ctstatus", RuleOf().With(status), kDependsCtStatus},
      {"ctreplsrc", RuleOf().With(replies), kDependsCtStatus | kDependsTuple},
      {"ctexpire", RuleOf().With(expires), kDependsTime},
      {"limit", RuleOf().With(limit), kDependsTime | kDependsSideEffect | kDependsTuple},
      {"recent", RuleOf().With(recent), kDependsTime | kDependsSideEffect | kDependsTuple},
      {"connlimit", RuleOf().With(connlimit), kDependsTime | kDependsSideEffect | kDependsTuple},
      {"comment", RuleOf().With(CommentMatch{"x"}), 0},
      {"MARK", RuleOf(MarkTarget{1, 1}), kDependsSideEffect},
  };
  for (const Row& row : rows) {
    Walker walker(ModelOf().Input({row.rule}));
    ctrack::Connection connection;
    walker.ct = {&connection, ctrack::CtInfo::kNew};
    auto packet = TestPacket("192.0.2.1").Tcp(1024, 22);
    walker.Walk(packet);
    EXPECT_EQ(walker.path.depends, row.expected) << row.name;
  }
  Walker icmp(ModelOf().Input({RuleOf().Protocol(1).With(IcmpMatch{8, 0, 255, false})}));
  auto echo = TestPacket().Icmp(8, 0);
  icmp.Walk(echo);
  EXPECT_EQ(icmp.path.depends, kDependsPacket);
}

// What an index leaves out has been passed, too; what stands behind the verdict hasn't.
TEST(Depends, OnAddressesOnlyAsFarAsTheWalkWent) {
  for (const uint32_t index_from : {1U, 1000U}) {
    const auto depends = [&](std::vector<Rule> rules) {
      Walker walker(ModelOf().Input(std::move(rules)), nullptr, nullptr, {"lan0"}, index_from);
      auto packet = TestPacket("192.0.2.1").Tcp(1024, 22);
      walker.Walk(packet);
      return walker.path.depends;
    };
    const Rule other = RuleOf(DropTarget{}).From("192.0.2.9");
    const Rule accept = RuleOf(AcceptTarget{});
    EXPECT_EQ(depends({accept, other, other}), 0);
    EXPECT_EQ(depends({other, accept, other}), kDependsTuple);
    EXPECT_EQ(depends({RuleOf(NoTarget{}), other, RuleOf(NoTarget{})}), kDependsTuple);
    EXPECT_EQ(depends({RuleOf(ReturnTarget{}), other}), 0);
  }
}

TEST(PathBuilder, OverflowsIntoSingleCounts) {
  std::vector<Rule> many(300, kCount);
  Walker walker(ModelOf().Input(many));
  WorkerRules worker(*walker.rules);
  walker.worker = &worker;
  auto packet = TestPacket().Tcp(1, 2).Length(100);
  walker.Walk(packet);
  EXPECT_TRUE(walker.path.overflow);
  EXPECT_EQ(worker.CountPacket(walker.path, 100), kNoPath);
  std::vector<Counters> totals(walker.rules->rule_count());
  worker.AddTo(totals);
  for (uint32_t number = 1; number <= 300; ++number) {
    const RuleId id = walker.rules->IdOf({Family::kIpv4, kFilter, 0, number});
    EXPECT_EQ(totals[id], (Counters{1, 100})) << number;
  }
  const RuleId policy = walker.rules->PolicyId(Family::kIpv4, kFilter, Hook::kInput);
  EXPECT_EQ(totals[policy], (Counters{1, 100}));
}

}  // namespace
}  // namespace postern::rules

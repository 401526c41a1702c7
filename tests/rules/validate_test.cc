// What is refused when rules are loaded, and what isn't.
#include <gtest/gtest.h>

#include "tests/rules/fixture.h"

namespace postern::rules {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr Table kFilter = Table::kFilter, kNat = Table::kNat, kMangle = Table::kMangle,
                kRaw = Table::kRaw;

RecentMatch Recent(RecentMatch::Operation operation, uint32_t seconds, uint32_t hitcount,
                   bool reap = false) {
  RecentMatch match;
  match.operation = operation;
  match.seconds = seconds;
  match.hitcount = hitcount;
  match.reap = reap;
  return match;
}

MultiportMatch Ports(std::vector<PortRange> ports) {
  MultiportMatch match;
  match.is_range.assign(ports.size(), false);
  for (size_t i = 0; i < ports.size(); ++i) {
    match.is_range[i] = ports[i].first != ports[i].last;
  }
  match.ports = std::move(ports);
  return match;
}

TEST(Validate, RefusesWhatNetfilterRefuses) {
  struct Row {
    const char* name;
    ModelOf model;
    const char* error;  // "": none; otherwise a part of the only sentence
  };
  const auto v6 = [] { return ModelOf(Family::kIpv6); };
  using Op = RecentMatch::Operation;
  const Row rows[] = {
      {"nothing", ModelOf(), ""},
      {"missing chain", ModelOf().Input({Jump("nowhere")}), "Chain 'nowhere' does not exist"},
      {"a chain of another table", ModelOf().Input({Jump("a")}).Add(kMangle, "a", {}),
       "Chain 'a' does not exist"},
      {"jump to a built-in chain", ModelOf().Input({Jump("FORWARD")}), "built-in chain 'FORWARD'"},
      {"loop of one", ModelOf().Input({Jump("a")}).Add(kFilter, "a", {Jump("a")}), "makes a loop"},
      {"loop of two",
       ModelOf().Input({Jump("a")}).Add(kFilter, "a", {Jump("b")}).Add(kFilter, "b", {Jump("a")}),
       "makes a loop"},
      {"loop by goto",
       ModelOf().Input({Goto("a")}).Add(kFilter, "a", {Goto("b")}).Add(kFilter, "b", {Goto("a")}),
       "makes a loop"},
      {"a chain used twice is no loop",
       ModelOf()
           .Input({Jump("a"), Jump("b")})
           .Add(kFilter, "a", {Jump("b")})
           .Add(kFilter, "b", {RuleOf()}),
       ""},
      {"SNAT in POSTROUTING", ModelOf().Add(kNat, "POSTROUTING", {RuleOf(SnatTarget{})}), ""},
      {"SNAT in nat INPUT", ModelOf().Add(kNat, "INPUT", {RuleOf(SnatTarget{})}), ""},
      {"SNAT in PREROUTING", ModelOf().Add(kNat, "PREROUTING", {RuleOf(SnatTarget{})}),
       "SNAT target is only valid in INPUT, POSTROUTING"},
      {"SNAT in filter", ModelOf().Input({RuleOf(SnatTarget{})}), "only valid in the nat table"},
      {"DNAT in PREROUTING", ModelOf().Add(kNat, "PREROUTING", {RuleOf(DnatTarget{})}), ""},
      {"DNAT in OUTPUT", ModelOf().Add(kNat, "OUTPUT", {RuleOf(DnatTarget{})}), ""},
      {"DNAT in POSTROUTING", ModelOf().Add(kNat, "POSTROUTING", {RuleOf(DnatTarget{})}),
       "DNAT target is only valid in PREROUTING, OUTPUT"},
      {"MASQUERADE in POSTROUTING",
       ModelOf().Add(kNat, "POSTROUTING", {RuleOf(MasqueradeTarget{})}), ""},
      {"MASQUERADE in nat INPUT", ModelOf().Add(kNat, "INPUT", {RuleOf(MasqueradeTarget{})}),
       "MASQUERADE target is only valid in POSTROUTING"},
      {"REDIRECT in PREROUTING", ModelOf().Add(kNat, "PREROUTING", {RuleOf(RedirectTarget{})}), ""},
      {"REDIRECT in nat INPUT", ModelOf().Add(kNat, "INPUT", {RuleOf(RedirectTarget{})}),
       "REDIRECT target is only valid in"},
      {"a user chain that no hook reaches may hold any nat target",
       ModelOf().Add(kNat, "a", {RuleOf(MasqueradeTarget{})}), ""},
      {"through a user chain",
       ModelOf()
           .Add(kNat, "PREROUTING", {Jump("a")})
           .Add(kNat, "a", {Jump("b")})
           .Add(kNat, "b", {RuleOf(MasqueradeTarget{})}),
       "chain 'b' is reached from PREROUTING"},
      {"DROP in nat", ModelOf().Add(kNat, "PREROUTING", {RuleOf(DropTarget{})}),
       "not intended for filtering"},
      {"REJECT in FORWARD", ModelOf().Add(kFilter, "FORWARD", {RuleOf(RejectTarget{})}), ""},
      {"REJECT in mangle", ModelOf().Add(kMangle, "FORWARD", {RuleOf(RejectTarget{})}),
       "only valid in the filter table"},
      {"tcp-reset without -p tcp", ModelOf().Input({RuleOf(RejectTarget{RejectWith::kTcpReset})}),
       "needs '-p tcp'"},
      {"tcp-reset with ! -p tcp",
       ModelOf().Input({RuleOf(RejectTarget{RejectWith::kTcpReset}).Protocol(6, true)}),
       "needs '-p tcp'"},
      {"tcp-reset with -p tcp",
       ModelOf().Input({RuleOf(RejectTarget{RejectWith::kTcpReset}).Protocol(6)}), ""},
      {"an IPv6 REJECT in IPv4", ModelOf().Input({RuleOf(RejectTarget{RejectWith::kIcmp6NoRoute})}),
       "other IP version"},
      {"an IPv4 REJECT in IPv6",
       v6().Input({RuleOf(RejectTarget{RejectWith::kIcmpPortUnreachable})}), "other IP version"},
      {"MARK in filter", ModelOf().Input({RuleOf(MarkTarget{})}), ""},
      {"CT in filter", ModelOf().Input({RuleOf(NotrackTarget{})}),
       "CT target is only valid in the raw table"},
      {"NOTRACK in mangle", ModelOf().Add(kMangle, "PREROUTING", {RuleOf(NotrackTarget{true})}),
       "NOTRACK target is only valid in the raw table"},
      {"NOTRACK in raw", ModelOf().Add(kRaw, "OUTPUT", {RuleOf(NotrackTarget{true})}), ""},
      {"-i in OUTPUT", ModelOf().Add(kFilter, "OUTPUT", {RuleOf().In("lan0")}),
       "Can't use -i with OUTPUT"},
      {"-o in INPUT", ModelOf().Input({RuleOf().Out("lan0")}), "Can't use -o with INPUT"},
      {"-i in POSTROUTING", ModelOf().Add(kNat, "POSTROUTING", {RuleOf().In("lan0")}),
       "Can't use -i with POSTROUTING"},
      {"-o in PREROUTING", ModelOf().Add(kRaw, "PREROUTING", {RuleOf().Out("lan0")}),
       "Can't use -o with PREROUTING"},
      {"-o in a user chain from INPUT",
       ModelOf().Input({Jump("a")}).Add(kFilter, "a", {RuleOf().Out("lan0")}), ""},
      {"tcp without -p", ModelOf().Input({RuleOf().With(TcpMatch{})}), "needs '-p tcp'"},
      {"tcp with -p udp", ModelOf().Input({RuleOf().Protocol(17).With(TcpMatch{})}),
       "needs '-p tcp'"},
      {"tcp with ! -p tcp", ModelOf().Input({RuleOf().Protocol(6, true).With(TcpMatch{})}),
       "needs '-p tcp'"},
      {"udp without -p", ModelOf().Input({RuleOf().With(UdpMatch{})}), "needs '-p udp'"},
      {"icmp without -p", ModelOf().Input({RuleOf().With(IcmpMatch{})}), "needs '-p icmp'"},
      {"icmp6 with -p icmp", v6().Input({RuleOf().Protocol(1).With(IcmpMatch{})}),
       "needs '-p icmpv6'"},
      {"multiport without -p", ModelOf().Input({RuleOf().With(Ports({{1, 1}}))}),
       "multiport needs"},
      {"multiport with -p gre", ModelOf().Input({RuleOf().Protocol(47).With(Ports({{1, 1}}))}),
       "multiport needs"},
      {"multiport with -p sctp", ModelOf().Input({RuleOf().Protocol(132).With(Ports({{1, 1}}))}),
       ""},
      {"15 ports",
       ModelOf().Input({RuleOf().Protocol(6).With(Ports(std::vector<PortRange>(15, {1, 1})))}), ""},
      {"16 ports",
       ModelOf().Input({RuleOf().Protocol(6).With(Ports(std::vector<PortRange>(16, {1, 1})))}),
       "more than 15 ports"},
      {"8 ranges",
       ModelOf().Input({RuleOf().Protocol(6).With(Ports(std::vector<PortRange>(8, {1, 2})))}),
       "more than 15 ports"},
      {"a range upside down", ModelOf().Input({RuleOf().Protocol(6).With(Ports({{9, 2}}))}),
       "first port is above its last"},
      {"-f with IPv6", v6().Input({[] {
         Rule rule = RuleOf();
         rule.ip.fragment = true;
         return rule;
       }()}),
       "-f is not supported"},
      {"recent --update", ModelOf().Input({RuleOf().With(Recent(Op::kUpdate, 60, 4))}), ""},
      {"recent with a hitcount of 65535",
       ModelOf().Input({RuleOf().With(Recent(Op::kUpdate, 60, 65535))}), ""},
      {"recent with a hitcount of 65536",
       ModelOf().Input({RuleOf().With(Recent(Op::kUpdate, 60, 65536))}), "--hitcount is larger"},
      {"recent --set --seconds", ModelOf().Input({RuleOf().With(Recent(Op::kSet, 60, 0))}),
       "go with --rcheck and --update only"},
      {"recent --remove --hitcount", ModelOf().Input({RuleOf().With(Recent(Op::kRemove, 0, 1))}),
       "go with --rcheck and --update only"},
      {"recent --reap without seconds",
       ModelOf().Input({RuleOf().With(Recent(Op::kUpdate, 0, 1, true))}), "--reap needs --seconds"},
      {"recent without a name", ModelOf().Input({RuleOf().With([] {
         RecentMatch match;
         match.name.clear();
         return match;
       }())}),
       "a list's name"},
      {"limit of nothing", ModelOf().Input({RuleOf().With(LimitMatch{0, 5})}),
       "rate must not be 0"},
  };
  for (const Row& row : rows) {
    std::vector<std::string> errors;
    const bool valid = Validate(row.model, &errors);
    EXPECT_EQ(valid, errors.empty()) << row.name;
    if (*row.error == '\0') {
      EXPECT_TRUE(valid) << row.name << ": " << (errors.empty() ? "" : errors[0]);
    } else {
      ASSERT_EQ(errors.size(), 1U) << row.name;
      EXPECT_NE(errors[0].find(row.error), std::string::npos) << row.name << ": " << errors[0];
    }
  }
}

TEST(Validate, SaysWhereAndAppends) {
  const auto model =
      ModelOf().Input({RuleOf(SnatTarget{}).At("rules.v4", 7), Jump("nowhere").At("rules.v4", 9)});
  std::vector<std::string> errors = {"before"};
  EXPECT_FALSE(Validate(model, &errors));
  ASSERT_EQ(errors.size(), 3U);
  EXPECT_EQ(errors[0], "before");
  EXPECT_EQ(errors[1], "rules.v4:9: Chain 'nowhere' does not exist");
  EXPECT_EQ(errors[2], "rules.v4:7: the SNAT target is only valid in the nat table, not in filter");
}

TEST(Model, HasTheKernelsChainsInItsOrder) {
  const FamilyModel model = EmptyModel(Family::kIpv6);
  EXPECT_EQ(model.family, Family::kIpv6);
  const auto names = [&](Table table) {
    std::string text;
    for (const Chain& chain : model.table(table).chains) {
      EXPECT_TRUE(chain.builtin);
      EXPECT_EQ(chain.policy, Verdict::kAccept);
      text += chain.name + " ";
    }
    return text;
  };
  EXPECT_EQ(names(kFilter), "INPUT FORWARD OUTPUT ");
  EXPECT_EQ(names(kNat), "PREROUTING INPUT OUTPUT POSTROUTING ");
  EXPECT_EQ(names(kMangle), "PREROUTING INPUT FORWARD OUTPUT POSTROUTING ");
  EXPECT_EQ(names(kRaw), "PREROUTING OUTPUT ");
  EXPECT_NE(model.table(kRaw).Find("OUTPUT"), nullptr);
  EXPECT_EQ(model.table(kRaw).Find("INPUT"), nullptr);
}

}  // namespace
}  // namespace postern::rules

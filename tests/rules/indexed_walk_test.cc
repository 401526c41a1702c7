// With an index a walk does what it does without: random rules, random packets, both ways.
//
// Each pair of rule sets sees the same packets one after the other; so what limit, recent and
// connlimit remember is compared, too.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "tests/rules/fixture.h"
#include "tests/rules/random_rules.h"

namespace postern::rules {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr uint32_t kNever = UINT32_MAX;

void AddMatch(Chance& chance, Family family, Rule* rule) {
  auto& matches = rule->matches;
  switch (chance.Below(11)) {
    case 0:
    case 1: {
      auto match = TransportPorts<TcpMatch>(chance);
      if (chance.Once(4)) match.flag_mask = match.flag_compare = net::kTcpSyn;
      if (chance.Once(8)) match.option = 2;
      matches.emplace_back(match);
      break;
    }
    case 2:
      matches.emplace_back(TransportPorts<UdpMatch>(chance));
      break;
    case 3:
      matches.emplace_back(Multiport(chance));
      break;
    case 4:
      matches.emplace_back(StateMatch{chance.States(), chance.Once(4)});
      break;
    case 5: {
      ConntrackMatch match;
      match.fields = static_cast<uint16_t>(ConntrackMatch::kState |
                                           (chance.Once(3) ? ConntrackMatch::kDirection : 0));
      if (chance.Once(4)) match.inverted = ConntrackMatch::kState;
      match.state = chance.States();
      matches.emplace_back(match);
      break;
    }
    case 6:
      matches.emplace_back(MarkMatch{chance.Below(3), 3, chance.Once(3)});
      break;
    case 7:
      matches.emplace_back(LimitMatch{10'000 * (1 + chance.Below(5)), 1 + chance.Below(9)});
      break;
    case 8: {
      RecentMatch match;
      match.operation = static_cast<RecentMatch::Operation>(chance.Below(4));
      match.name = chance.Once(2) ? "a" : "b";
      match.hitcount = match.operation == RecentMatch::Operation::kCheck ? chance.Below(4) : 0;
      match.mask = net::PrefixMask(family, family == Family::kIpv4 ? 32 : 128);
      matches.emplace_back(match);
      break;
    }
    case 9:
      if (family == Family::kIpv4) {
        matches.emplace_back(IcmpMatch{static_cast<uint8_t>(8 * chance.Below(2))});
      } else {
        matches.emplace_back(IcmpMatch{static_cast<uint8_t>(128 + chance.Below(2))});
      }
      break;
    default:
      if (chance.Once(4)) matches.emplace_back(TcpMatch{});
      if (chance.Once(4)) matches.emplace_back(UdpMatch{});
  }
}

void AddMatches(Chance& chance, Family family, Rule* rule) {
  for (uint32_t i = chance.Below(4); i > 0; --i) AddMatch(chance, family, rule);
}

TestPacket APacket(Chance& chance, Family family) {
  TestPacket packet(net::ToString(family, AnAddress(chance, family)),
                    net::ToString(family, AnAddress(chance, family)));
  const uint32_t kind = chance.Below(8);
  if (kind < 3) packet.Tcp(chance.Port(), chance.Port(), chance.Once(2) ? net::kTcpSyn : 0x10);
  if (kind == 3) packet.Tcp(chance.Port(), chance.Port(), net::kTcpSyn, {2, 4, 5, 0xb4});
  if (kind == 4 || kind == 5) packet.Udp(chance.Port(), chance.Port());
  if (kind == 6) packet.Icmp(family == Family::kIpv4 ? 8 : 128, 0);
  if (kind == 7) packet.Udp(chance.Port(), chance.Port(), chance.Once(2) ? 136 : 50);
  if (chance.Once(8)) packet.Cut(chance.Below(20));
  if (chance.Once(12)) packet.Fragment(static_cast<uint16_t>(8 * chance.Below(3)));
  if (chance.Once(2)) packet.Mark(chance.Below(4));
  return packet;
}

class LogLines : public LogSink {
 public:
  void Log(const LogTarget& target, const net::Packet& packet, net::Hook, net::PortId, net::PortId,
           net::Time) override {
    lines.push_back(target.prefix + std::to_string(packet.mark));
  }
  std::vector<std::string> lines;
};

// A walk with all that it leaves behind.
struct Side {
  Side(const Model& model, uint32_t index_from)
      : walker(model, nullptr, nullptr, {"lan0", "wan0", "wan1"}, index_from),
        counters(*walker.rules, 64, 4096) {
    walker.log = &log;
    walker.worker = &counters;
  }
  WalkResult Walk(TestPacket packet, Table table, ctrack::CtInfo info, uint32_t connection) {
    walker.ct = {connection == 0 ? nullptr : &connections[connection], info};
    const WalkResult result = walker.Walk(packet, table);
    mark = packet.packet().mark;
    return result;
  }
  std::vector<Counters> Totals() const {
    std::vector<Counters> totals(walker.rules->rule_count());
    counters.AddTo(totals);
    return totals;
  }

  Walker walker;
  LogLines log;
  WorkerRules counters;
  std::array<ctrack::Connection, 4> connections;
  uint32_t mark = 0;
};

void CompareOnePacket(Chance& chance, Family family, Table table, Side* indexed, Side* linear) {
  const TestPacket packet = APacket(chance, family);
  const auto info = static_cast<ctrack::CtInfo>(
      chance.Below(static_cast<uint32_t>(ctrack::CtInfo::kInvalid) + 1));
  const bool has_connection =
      info != ctrack::CtInfo::kInvalid && info != ctrack::CtInfo::kUntracked;
  const uint32_t connection = has_connection ? 1 + chance.Below(3) : 0;
  const net::PortId in = chance.Once(8) ? net::kNoPort : static_cast<uint16_t>(chance.Below(3));
  const net::Time step = chance.Below(100) * net::kMillisecond;
  for (Side* side : {indexed, linear}) {
    side->walker.hook = table == Table::kRaw ? Hook::kPrerouting : Hook::kInput;
    side->walker.in = in;
    side->walker.out = in == net::kNoPort ? 1 : net::kNoPort;
    side->walker.now += step;
  }
  const WalkResult got = indexed->Walk(packet, table, info, connection);
  const WalkResult expected = linear->Walk(packet, table, info, connection);
  EXPECT_EQ(got.verdict, expected.verdict);
  EXPECT_EQ(got.reason, expected.reason);
  EXPECT_EQ(got.decided_by, expected.decided_by);
  EXPECT_EQ(indexed->walker.Path(), linear->walker.Path());
  EXPECT_EQ(indexed->walker.path.overflow, linear->walker.path.overflow);
  EXPECT_EQ(indexed->mark, linear->mark);
  EXPECT_EQ(indexed->walker.ct.info, linear->walker.ct.info);
  // A rule that isn't looked at adds nothing that the path depends on.
  EXPECT_EQ(indexed->walker.path.depends & ~linear->walker.path.depends, 0);
}

void Compare(uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Chance chance(seed);
  const Family family = chance.Once(3) ? Family::kIpv6 : Family::kIpv4;
  const Table table = chance.Once(4) ? Table::kRaw : Table::kFilter;
  const ModelOf model = AModel(chance, family, table, AddMatches, 150);
  Side indexed(model, 1);
  Side linear(model, kNever);
  for (int i = 0; i < 300 && !::testing::Test::HasFailure(); ++i) {
    CompareOnePacket(chance, family, table, &indexed, &linear);
  }
  EXPECT_EQ(indexed.log.lines, linear.log.lines);
  EXPECT_EQ(indexed.Totals(), linear.Totals());
}

TEST(IndexedWalk, DoesWhatALinearWalkDoes) {
  for (uint64_t seed = 1; seed <= 60 && !HasFailure(); ++seed) Compare(seed);
}

RuleOf Block(uint32_t i) { return RuleOf(DropTarget{}).From("198.51.100." + std::to_string(i)); }

// Indexes of unchanged chains are taken over from the previous rule set, and no others.
TEST(IndexedWalk, FollowsEachChange) {
  std::vector<Rule> rules;
  for (uint32_t i = 0; i < 100; ++i) rules.push_back(Block(i));
  const Walker before(ModelOf().Input(rules));

  rules.insert(rules.begin(), Block(200));
  rules[50] = Block(201);
  Walker changed(ModelOf().Input(rules), nullptr, before.rules.get());
  const auto drops = [](Walker& walker, const char* source) {
    TestPacket packet = TestPacket(source).Udp(1, 2);
    return walker.Walk(packet).verdict == Verdict::kDrop;
  };
  EXPECT_TRUE(drops(changed, "198.51.100.200"));
  EXPECT_TRUE(drops(changed, "198.51.100.201"));
  EXPECT_TRUE(drops(changed, "198.51.100.99"));
  EXPECT_FALSE(drops(changed, "198.51.100.49"));

  Walker same(ModelOf().Input(rules), nullptr, changed.rules.get());
  EXPECT_TRUE(drops(same, "198.51.100.201"));
  EXPECT_FALSE(drops(same, "198.51.100.49"));

  // The text is the same, but not what an interface's name means.
  for (Rule& rule : rules) rule.ip.in.name = "wan0";
  const Walker first(ModelOf().Input(rules), nullptr, same.rules.get());
  Walker renamed(ModelOf().Input(rules), nullptr, first.rules.get(), {"wan0", "lan0"});
  EXPECT_TRUE(drops(renamed, "198.51.100.99"));
}

}  // namespace
}  // namespace postern::rules

// The index of a long chain: it names every rule that can match, and few others.
#include "dataplane/rules/classify/chain_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <string>

#include "tests/rules/fixture.h"

namespace postern::rules {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr uint32_t kMany = 10'000;

std::string Host(uint32_t i) {
  return "198.18." + std::to_string(i / 256) + "." + std::to_string(i % 256);
}

RuleOf Ports(RuleOf rule, uint16_t first, uint16_t last) {
  TcpMatch match;
  match.destination = {first, last};
  return rule.Protocol(net::kProtoTcp).With(match);
}

// A chain of its own.
class Indexed {
 public:
  Indexed(const std::function<Rule(uint32_t)>& rule, uint32_t count, bool by_state = true) {
    std::vector<RuleBounds> bounds;
    for (uint32_t i = 0; i < count; ++i) rules_.push_back(rule(i));
    for (const Rule& r : rules_) {
      const IpPart part = CompileIpPart(r.ip, {"lan0", "wan0"});
      bounds.push_back(BoundsOf(r, part, by_state));
    }
    index_ = ChainIndex::Build(bounds, Family::kIpv4, 7);
  }

  const ChainIndex* index() const { return index_.get(); }
  std::vector<uint32_t> Find(TestPacket& packet, ctrack::CtInfo info = ctrack::CtInfo::kNew,
                             net::PortId in = 0) const {
    ctrack::CtRef ct{nullptr, info};
    WalkContext context;
    context.packet = &packet.packet();
    context.ct = &ct;
    context.in = in;
    const PacketKey key(context);
    Candidates candidates;
    candidates.Select(*index_, ClassifyKey(key, context));
    std::vector<uint32_t> found;
    for (uint32_t word = 0; word * kWordRules < rules_.size(); ++word) {
      uint64_t left = candidates.Word(&word);
      for (; left != 0; left &= left - 1) {
        found.push_back(word * kWordRules + static_cast<uint32_t>(std::countr_zero(left)));
      }
    }
    return found;
  }

 private:
  std::vector<Rule> rules_;
  std::shared_ptr<const ChainIndex> index_;
};

using Positions = std::vector<uint32_t>;

TEST(ChainIndex, FindsTheRuleOfAHostAmongManyHosts) {
  const Indexed chain([](uint32_t i) { return RuleOf(DropTarget{}).From(Host(i)); }, kMany);
  ASSERT_NE(chain.index(), nullptr);
  EXPECT_EQ(chain.Find(TestPacket(Host(7777)).Udp(1, 2)), (Positions{7777}));
  EXPECT_EQ(chain.Find(TestPacket("203.0.113.1").Udp(1, 2)), Positions{});
}

TEST(ChainIndex, FindsRulesOfHostAndPort) {
  // A hundred hosts with a hundred services each: neither alone is enough.
  const Indexed chain(
      [](uint32_t i) {
        return RuleOf(AcceptTarget{}).To(Host(i / 100)).Tcp(static_cast<uint16_t>(i % 100));
      },
      kMany);
  EXPECT_EQ(chain.Find(TestPacket("192.0.2.1", Host(42)).Tcp(1000, 17)), (Positions{4217}));
  EXPECT_EQ(chain.Find(TestPacket("192.0.2.1", Host(42)).Udp(1000, 17)), Positions{});
}

TEST(ChainIndex, FindsRedirectedPortsOfOneAddress) {
  const Indexed chain(
      [](uint32_t i) {
        return RuleOf(DnatTarget{}).To("192.0.2.1").In("wan0").Tcp(static_cast<uint16_t>(i));
      },
      kMany);
  TestPacket packet = TestPacket("198.51.100.1", "192.0.2.1").Tcp(5, 80);
  EXPECT_EQ(chain.Find(packet, ctrack::CtInfo::kNew, 1), (Positions{80}));
  EXPECT_EQ(chain.Find(packet, ctrack::CtInfo::kNew, 0), Positions{});
}

TEST(ChainIndex, FindsRangesOfPorts) {
  const Indexed chain(
      [](uint32_t i) {
        const auto first = static_cast<uint16_t>(6 * i);
        return Rule(Ports(RuleOf(DropTarget{}), first, static_cast<uint16_t>(first + 5)));
      },
      kMany);
  EXPECT_EQ(chain.Find(TestPacket().Tcp(1, 6 * 500 + 3)), (Positions{500}));
  EXPECT_EQ(chain.Find(TestPacket().Tcp(1, 6 * 500 + 6)), (Positions{501}));
}

TEST(ChainIndex, MergesWideAndNarrowRulesInOrder) {
  // Every hundredth rule is for a network, and every thousandth for all.
  const Indexed chain(
      [](uint32_t i) -> Rule {
        if (i % 1000 == 0) return RuleOf();
        if (i % 100 == 0) return RuleOf().From("198.18.0.0/15");
        return RuleOf().From(Host(i));
      },
      3000);
  Positions expected;
  for (uint32_t i = 0; i < 3000; i += 100) expected.push_back(i);
  expected.insert(std::upper_bound(expected.begin(), expected.end(), 1234U), 1234);
  EXPECT_EQ(chain.Find(TestPacket(Host(1234)).Udp(1, 2)), expected);
}

TEST(ChainIndex, RulesThatOverlapWidelyStayWithinBounds) {
  // Each range is half of all ports: as sets of every interval they would take quadratic room.
  const Indexed chain(
      [](uint32_t i) {
        const auto first = static_cast<uint16_t>(3 * i);
        return Rule(Ports(RuleOf().To(Host(i)), first, static_cast<uint16_t>(first + 32'000)));
      },
      kMany);
  EXPECT_EQ(chain.Find(TestPacket("192.0.2.1", Host(77)).Tcp(1, 300)), (Positions{77}));
  EXPECT_LT(chain.index()->bytes(), size_t{kMany} * 400);
}

TEST(ChainIndex, IsNotMadeWhereRulesAreAllAlike) {
  const Indexed chain([](uint32_t i) { return RuleOf().With(MarkMatch{i, ~0U, false}); }, kMany);
  EXPECT_EQ(chain.index(), nullptr);
}

TEST(ChainIndex, LeavesOutByStateOnlyWhereItCannotChange) {
  const auto rule = [](uint32_t i) {
    return RuleOf().State(i % 2 == 0 ? kCtStateNew : kCtStateEstablished);
  };
  const Indexed filter(rule, 100);
  EXPECT_EQ(filter.Find(TestPacket().Udp(1, 2)).size(), 50);
  EXPECT_EQ(filter.Find(TestPacket().Udp(1, 2), ctrack::CtInfo::kInvalid).size(), 0);
  const Indexed raw(rule, 100, false);
  EXPECT_EQ(raw.index(), nullptr);
}

// What stands before a bound decides whether it may be used: here it takes a token.
TEST(ChainIndex, LeavesNothingOutBehindAMatchThatDoesSomething) {
  const Indexed chain(
      [](uint32_t i) {
        TcpMatch port;
        port.destination = {static_cast<uint16_t>(i), static_cast<uint16_t>(i)};
        RuleOf rule = RuleOf().Protocol(net::kProtoTcp);
        if (i % 10 == 0) rule.With(LimitMatch{});
        return rule.With(port);
      },
      100);
  EXPECT_EQ(chain.Find(TestPacket().Tcp(1, 55)),
            (Positions{0, 10, 20, 30, 40, 50, 55, 60, 70, 80, 90}));
}

// A multiport without ports to read drops the packet; a plain --dport only says no.
TEST(ChainIndex, KeepsRulesThatDropAPacketWithoutPorts) {
  const Indexed chain(
      [](uint32_t i) -> Rule {
        if (i % 10 != 0) return RuleOf().Tcp(static_cast<uint16_t>(i));
        MultiportMatch match;
        match.ports = {{static_cast<uint16_t>(i), static_cast<uint16_t>(i)}};
        return RuleOf().Protocol(net::kProtoTcp).With(match);
      },
      100);
  EXPECT_EQ(chain.Find(TestPacket().Tcp(1, 55)), (Positions{55}));
  EXPECT_EQ(chain.Find(TestPacket().Tcp(1, 55).Cut(3)),
            (Positions{0, 10, 20, 30, 40, 50, 60, 70, 80, 90}));
}

}  // namespace
}  // namespace postern::rules

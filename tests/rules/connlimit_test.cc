// -m connlimit: who counts, for how long, and after the rules are gone.
#include "dataplane/rules/matches/connlimit.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/rules/fixture.h"

namespace postern::rules {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

ConnlimitMatch Above(uint32_t limit, unsigned prefix = 32, bool destination = false) {
  ConnlimitMatch match;
  match.limit = limit;
  match.destination = destination;
  match.mask = net::PrefixMask(Family::kIpv4, prefix);
  match.mask_length = static_cast<uint8_t>(prefix);
  return match;
}

// Connections that a test makes, closes and ends, and their packets through a walker.
class Connections {
 public:
  explicit Connections(Walker* walker) : walker_(*walker) {}
  // The first packet of a new connection.
  bool Open(std::string_view source = "192.0.2.1", std::string_view destination = "198.51.100.2") {
    auto connection = std::make_unique<ctrack::Connection>();
    connection->tuples[0].source = Address(source);
    connection->tuples[0].destination = Address(destination);
    connection->tuples[0].protocol = net::kProtoTcp;
    connection->protocol.tcp.state = ctrack::TcpState::kSynSent;
    all_.push_back(std::move(connection));
    return Send(all_.size() - 1);
  }
  bool Send(size_t i) {
    ctrack::Connection& connection = *all_[i];
    walker_.ct = {&connection, ctrack::CtInfo::kNew};
    packet_ = std::make_unique<TestPacket>();
    packet_->Tcp(1024, 80);
    packet_->packet().ip.source = connection.original().source;
    packet_->packet().ip.destination = connection.original().destination;
    return walker_.Matched(*packet_);
  }
  ctrack::Connection& At(size_t i) { return *all_[i]; }
  void End(size_t i) { ReleaseConnlimit(*all_[i]); }

 private:
  Walker& walker_;
  std::vector<std::unique_ptr<ctrack::Connection>> all_;
  std::unique_ptr<TestPacket> packet_;
};

TEST(Connlimit, MatchesTheTwentyFirstConnection) {
  Walker walker(ModelOf().Input({RuleOf(RejectTarget{}).Tcp(80).With(Above(20))}));
  Connections connections(&walker);
  for (int i = 1; i <= 20; ++i) EXPECT_FALSE(connections.Open()) << i;
  EXPECT_TRUE(connections.Open());
  connections.End(20);  // the rejected one's connection is never confirmed
  EXPECT_FALSE(connections.Open("192.0.2.2")) << "another source";
  EXPECT_FALSE(connections.Send(3)) << "a known connection isn't one more";
  EXPECT_TRUE(connections.Open());
  connections.End(22);
  connections.End(0);
  EXPECT_FALSE(connections.Open()) << "there is room again";
  EXPECT_TRUE(connections.Open());
}

TEST(Connlimit, UptoIsTheInversion) {
  ConnlimitMatch upto = Above(2);
  upto.invert = true;
  Walker walker(ModelOf().Input({RuleOf().With(upto)}));
  Connections connections(&walker);
  EXPECT_TRUE(connections.Open());
  EXPECT_TRUE(connections.Open());
  EXPECT_FALSE(connections.Open());
}

TEST(Connlimit, GroupsByMaskAndSide) {
  Walker nets(ModelOf().Input({RuleOf().With(Above(2, 24))}));
  Connections of_net(&nets);
  EXPECT_FALSE(of_net.Open("192.0.2.1"));
  EXPECT_FALSE(of_net.Open("192.0.2.2"));
  EXPECT_TRUE(of_net.Open("192.0.2.3"));
  EXPECT_FALSE(of_net.Open("203.0.113.3"));

  Walker all(ModelOf().Input({RuleOf().With(Above(1, 0))}));
  Connections of_all(&all);
  EXPECT_FALSE(of_all.Open("192.0.2.1"));
  EXPECT_TRUE(of_all.Open("203.0.113.3"));

  Walker servers(ModelOf().Input({RuleOf().With(Above(1, 32, true))}));
  Connections of_server(&servers);
  EXPECT_FALSE(of_server.Open("192.0.2.1", "198.51.100.1"));
  EXPECT_TRUE(of_server.Open("192.0.2.2", "198.51.100.1"));
  EXPECT_FALSE(of_server.Open("192.0.2.2", "198.51.100.2"));
}

TEST(Connlimit, LeavesOutConnectionsThatAreClosed) {
  using ctrack::TcpState;
  struct Row {
    TcpState state;
    bool counts;
  };
  const Row rows[] = {
      {TcpState::kSynSent, true},   {TcpState::kEstablished, true}, {TcpState::kFinWait, true},
      {TcpState::kCloseWait, true}, {TcpState::kLastAck, true},     {TcpState::kTimeWait, false},
      {TcpState::kClose, false},
  };
  for (const Row& row : rows) {
    Walker walker(ModelOf().Input({RuleOf().With(Above(1))}));
    Connections connections(&walker);
    EXPECT_FALSE(connections.Open());
    connections.At(0).protocol.tcp.state = row.state;
    // The tracker tells of it (ConnectionObserver::OnClosed).
    if (!row.counts) ReleaseConnlimit(connections.At(0));
    EXPECT_FALSE(connections.Send(0)) << "its own packet counts itself: 1";
    EXPECT_EQ(connections.Open(), row.counts) << static_cast<int>(row.state);
  }
}

TEST(Connlimit, CountsAPacketWithoutConnectionForItselfAlone) {
  Walker walker(ModelOf().Input({RuleOf().With(Above(1))}));
  Connections connections(&walker);
  EXPECT_FALSE(connections.Open());
  walker.ct = {nullptr, ctrack::CtInfo::kUntracked};
  auto packet = TestPacket("192.0.2.1").Tcp(1, 2);
  EXPECT_TRUE(walker.Matched(packet)) << "one and itself";
  EXPECT_TRUE(walker.Matched(packet)) << "still two";
  auto cut = TestPacket("192.0.2.1").Tcp(1, 2).Cut(2);
  EXPECT_EQ(walker.Walk(cut).reason, net::DropReason::kMatchHotdrop) << "no tuple";
  auto ports = TestPacket("192.0.2.1").Tcp(1, 2).Cut(4);
  EXPECT_TRUE(walker.Matched(ports)) << "the ports are all that a tuple needs";
  EXPECT_FALSE(connections.Send(0)) << "nothing was left behind";
}

TEST(Connlimit, CountsTheAddressOfThePacketNotOfTheConnection) {
  // A rule without --ctstate NEW meets replies too: they count for the server's address.
  Walker walker(ModelOf().Input({RuleOf().With(Above(1))}));
  Connections connections(&walker);
  EXPECT_FALSE(connections.Open("192.0.2.1"));
  EXPECT_FALSE(connections.Open("192.0.2.2"));
  auto reply = TestPacket("198.51.100.2", "192.0.2.1").Tcp(80, 1024);
  walker.ct = {&connections.At(0), ctrack::CtInfo::kEstablishedReply};
  EXPECT_FALSE(walker.Matched(reply)) << "one for the server";
  EXPECT_FALSE(walker.Matched(reply)) << "the same one";
  walker.ct = {&connections.At(1), ctrack::CtInfo::kEstablishedReply};
  EXPECT_TRUE(walker.Matched(reply)) << "two";
  connections.End(0);
  EXPECT_FALSE(walker.Matched(reply)) << "it took back both";
}

TEST(Connlimit, CountsEachRuleByItself) {
  Walker walker(ModelOf().Input({RuleOf().With(Above(0)), RuleOf().With(Above(1)),
                                 RuleOf().With(Above(1, 24)), RuleOf().With(Above(1, 24, true)),
                                 RuleOf().With(Above(1, 0))}));
  Connections connections(&walker);
  connections.Open();
  connections.Open();
  // Five rules and room for four references: the fifth counts the present packet alone.
  EXPECT_EQ(walker.Path().size(), 5U) << "rules 1 to 4 and the policy";
  connections.End(0);
  connections.End(0);  // safe to repeat
  connections.Send(1);
  EXPECT_EQ(walker.Path().size(), 2U) << "rule 1 and the policy";
}

TEST(Connlimit, DropsWhereItCannotCount) {
  RuleSet::Options options;
  options.connlimit_keys = 2;
  Walker walker(ModelOf().Input({RuleOf().With(Above(5))}));
  walker.rules =
      RuleSet::Compile(ModelOf().Input({RuleOf().With(Above(5))}), options, nullptr, nullptr);
  Connections connections(&walker);
  const auto reason_of = [&](const char* source) {
    connections.Open(source);
    auto packet = TestPacket(source).Tcp(1, 2);
    return walker.Walk(packet).reason;
  };
  EXPECT_EQ(reason_of("192.0.2.1"), net::DropReason::kNone);
  EXPECT_EQ(reason_of("192.0.2.2"), net::DropReason::kNone);
  EXPECT_EQ(reason_of("192.0.2.3"), net::DropReason::kMatchHotdrop) << "no room for a third";
  connections.End(0);
  EXPECT_EQ(reason_of("192.0.2.3"), net::DropReason::kNone);

  walker.extensions = Extensions(0);
  EXPECT_EQ(reason_of("192.0.2.2"), net::DropReason::kMatchHotdrop) << "no extension to be had";
}

TEST(ConnlimitStates, LiveAsLongAsAConnectionCountsInThem) {
  SharedState shared;
  auto walker = std::make_unique<Walker>(ModelOf().Input({RuleOf().With(Above(1))}), &shared);
  auto connections = std::make_unique<Connections>(walker.get());
  connections->Open();
  EXPECT_EQ(shared.connlimit->size(), 1U);
  const auto after = RuleSet::Compile(ModelOf(), {}, &shared, walker->rules.get());
  walker->rules = nullptr;
  shared.connlimit->Collect();
  EXPECT_EQ(shared.connlimit->size(), 1U) << "a connection still refers to it";
  connections->End(0);
  shared.connlimit->Collect();
  EXPECT_EQ(shared.connlimit->size(), 0U);
}

TEST(ConnlimitState, FindsItsWayThroughManyKeys) {
  constexpr uint32_t kKeys = 100000;
  ConnlimitState state(kKeys);
  std::vector<ConnlimitState::Node*> nodes;
  for (uint32_t i = 0; i < kKeys; ++i) {
    uint32_t count = 0;
    nodes.push_back(state.Add({IpAddress::V4(i), Family::kIpv4, 0}, &count));
    ASSERT_NE(nodes.back(), nullptr);
    ASSERT_EQ(count, 1U);
  }
  uint32_t count = 0;
  EXPECT_EQ(state.Add({IpAddress::V4(kKeys), Family::kIpv4, 0}, &count), nullptr);
  EXPECT_EQ(state.Count({IpAddress::V4(77), Family::kIpv4, 0}), 1U);
  EXPECT_EQ(state.Count({IpAddress::V4(77), Family::kIpv4, 1}), 0U) << "another zone";
  for (size_t i = 0; i < nodes.size(); i += 2) ConnlimitState::Release(nodes[i]);
  EXPECT_EQ(state.living(), kKeys / 2);
  for (uint32_t i = 0; i < kKeys; ++i) {
    ASSERT_EQ(state.Count({IpAddress::V4(i), Family::kIpv4, 0}), i % 2) << i;
  }
}

TEST(ConnlimitState, CountsExactlyForTwoThreads) {
  ConnlimitState state(64);
  const auto run = [&state](uint32_t seed) {
    net::Rng rng(seed);
    std::vector<ConnlimitState::Node*> held;
    for (int i = 0; i < 50000; ++i) {
      if (held.size() < 100 && rng.Below(2) == 0) {
        uint32_t count = 0;
        ConnlimitState::Node* node =
            state.Add({IpAddress::V4(rng.Below(50)), Family::kIpv4, 0}, &count);
        ASSERT_NE(node, nullptr);
        ASSERT_GE(count, 1U);
        held.push_back(node);
      } else if (!held.empty()) {
        ConnlimitState::Release(held.back());
        held.pop_back();
      }
    }
    // Leaves one reference to its own key.
    for (ConnlimitState::Node* node : held) ConnlimitState::Release(node);
    uint32_t count = 0;
    state.Add({IpAddress::V4(7), Family::kIpv4, 0}, &count);
  };
  std::thread one(run, 1U), two(run, 2U);
  one.join();
  two.join();
  EXPECT_EQ(state.living(), 2U);
  for (uint32_t i = 0; i < 50; ++i) {
    EXPECT_EQ(state.Count({IpAddress::V4(i), Family::kIpv4, 0}), i == 7 ? 2U : 0U) << i;
  }
}

}  // namespace
}  // namespace postern::rules

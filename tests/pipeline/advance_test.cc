// Packets of known connections that have no shortcut: what others of their class have met is
// enough, and conntrack is asked as ever (dataplane/pipeline/advance.cc). That all is left as the
// slow path would is established_test's to prove.
#include <gtest/gtest.h>

#include "tests/pipeline/world.h"

namespace postern::test {
namespace {

using net::Table;

constexpr char kClient[] = "192.168.1.10";
constexpr char kServer[] = "198.51.100.7";
constexpr char kOutside[] = "203.0.113.2";

void LoadRules(World* world, uint16_t states) {
  world->Chain(Table::kNat, "POSTROUTING").rules = {
      To("wan0", MakeRule(rules::MasqueradeTarget{}))};
  auto& forward = world->Chain(Table::kFilter, "FORWARD");
  forward.policy = net::Verdict::kDrop;
  forward.rules = {
      MakeRule(rules::AcceptTarget{}, {State(states)}),
      From("lan0", MakeRule(rules::AcceptTarget{}, {State(rules::kCtStateNew)})),
  };
  world->Publish();
}

// A connection is opened, used and closed in seven packets. How many of them followed a path that
// was known.
uint64_t Live(World* world, uint16_t port, net::Time at) {
  constexpr uint8_t kAck = net::kTcpAck;
  const auto client = [&](uint8_t flags, uint32_t seq, uint32_t ack, size_t length) {
    return world->Send(kLan,
                       Packet()
                           .Ipv4(kClient, kServer)
                           .Tcp(port, 80, flags)
                           .Seq(seq)
                           .Ack(ack)
                           .Window(8000)
                           .PayloadLength(length),
                       at);
  };
  const auto server = [&](uint8_t flags, uint32_t seq, uint32_t ack, size_t length) {
    return world->Send(kWan,
                       Packet()
                           .Ipv4(kServer, kOutside)
                           .Tcp(80, port, flags)
                           .Seq(seq)
                           .Ack(ack)
                           .Window(8000)
                           .PayloadLength(length),
                       at);
  };
  const uint64_t before = world->output.remembered;
  EXPECT_EQ(client(net::kTcpSyn, 1000, 0, 0).size(), 1U);
  EXPECT_EQ(server(net::kTcpSyn | kAck, 5000, 1001, 0).size(), 1U);
  EXPECT_EQ(client(kAck, 1001, 5001, 10).size(), 1U);
  EXPECT_EQ(server(kAck, 5001, 1011, 20).size(), 1U);
  EXPECT_EQ(client(net::kTcpFin | kAck, 1011, 5021, 0).size(), 1U);
  EXPECT_EQ(server(net::kTcpFin | kAck, 5021, 1012, 0).size(), 1U);
  EXPECT_EQ(client(kAck, 1012, 5022, 0).size(), 1U);
  return world->output.remembered - before;
}

class StateOf final : public pipeline::WorkerCommand {
 public:
  explicit StateOf(uint16_t port) : port_(port) {}
  bool Step(pipeline::Pipeline& pipeline, net::Time now) override {
    invalid = pipeline.tracker().stats().invalid;
    return pipeline.tracker().Visit(now, 4096, &cursor_, [this](ctrack::Connection& connection) {
      if (connection.original().source_key == port_) state = connection.protocol.tcp.state;
    });
  }
  ctrack::TcpState state = ctrack::TcpState::kNone;
  uint64_t invalid = 0;

 private:
  const uint16_t port_;
  uint32_t cursor_ = 0;
};

TEST(Advance, OnlyTheFirstConnectionOfAClassWalks) {
  World world;
  LoadRules(&world, rules::kCtStateEstablished);
  Live(&world, 40000, kStart);
  // All seven packets, the SYN as well (opening.cc).
  EXPECT_EQ(Live(&world, 40001, kStart + net::kSecond), 7U);
  StateOf second(40001);
  world.engine().Run(0, &second);
  EXPECT_EQ(second.state, ctrack::TcpState::kTimeWait);
  // Each of the twelve that were accepted as ESTABLISHED has counted.
  EXPECT_EQ(world.Count(Table::kFilter, 1, 1).packets, 12U);
}

TEST(Advance, AnswersOfUdpNeedNoWalk) {
  World world;
  LoadRules(&world, rules::kCtStateEstablished);
  for (const uint16_t port : {uint16_t{5000}, uint16_t{5001}}) {
    world.Send(kLan, Packet().Ipv4(kClient, kServer).Udp(port, 53), kStart);
    const uint64_t before = world.output.remembered;
    EXPECT_EQ(world.Send(kWan, Packet().Ipv4(kServer, kOutside).Udp(53, port), kStart).size(), 1U);
    EXPECT_EQ(world.output.remembered - before, port == 5001 ? 1U : 0U);
  }
}

TEST(Advance, RulesInRawAreWalked) {
  World world;
  world.Chain(Table::kRaw, "PREROUTING").rules = {From("wan0", MakeRule(rules::NoTarget{}))};
  LoadRules(&world, rules::kCtStateEstablished);
  Live(&world, 40000, kStart);
  EXPECT_LT(Live(&world, 40001, kStart + net::kSecond), 6U);
  EXPECT_EQ(world.Count(Table::kRaw, 0, 1).packets, 6U);
}

// Conntrack has seen the packet when it turns out that it must walk: it isn't asked again.
TEST(Advance, ConntrackIsAskedOnce) {
  World world;
  LoadRules(&world, rules::kCtStateEstablished);
  Live(&world, 40000, kStart);
  // Out of the window: INVALID, so that it isn't translated back, but for the appliance.
  world.Send(kLan, Packet().Ipv4(kClient, kServer).Tcp(40001, 80, net::kTcpSyn).Seq(1), kStart);
  const auto answer = Packet().Ipv4(kServer, kOutside);
  auto good = answer;
  world.Send(kWan, good.Tcp(80, 40001, net::kTcpSyn | net::kTcpAck).Seq(5).Ack(2).Window(10),
             kStart);
  StateOf before(40001);
  world.engine().Run(0, &before);
  EXPECT_EQ(before.state, ctrack::TcpState::kSynRecv);
  auto bad = answer;
  const auto sent =
      world.Send(kWan, bad.Tcp(80, 40001, net::kTcpAck).Seq(900000).Ack(2).Window(10), kStart);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_TRUE(sent[0].host);
  StateOf after(40001);
  world.engine().Run(0, &after);
  EXPECT_EQ(after.invalid, before.invalid + 1);
  EXPECT_EQ(after.state, before.state);
}

}  // namespace
}  // namespace postern::test

// Translations whose replies must reach the worker that holds the connection.
#include <set>

#include "dataplane/net/flow_hash.h"
#include "tests/nat/binding_fixture.h"

namespace postern::nat {
namespace {

// Sharding: the pipeline's own Suits with every number of workers.
class ShardedBindingTest : public BindingTest, public testing::WithParamInterface<unsigned> {
 protected:
  void SetUp() override {
    oracle.suits = [this](const Tuple& reply) { return map.OwnerOf(reply) == worker; };
  }
  net::OwnerMap map{0x3a7b, GetParam()};
  unsigned worker = 0;
};

TEST_P(ShardedBindingTest, RepliesReachTheHolder) {
  for (worker = 0; worker < GetParam(); ++worker) {
    for (uint16_t i = 0; i < 200; ++i) {
      const auto port = static_cast<uint16_t>(30000 + 97 * i);
      const Choice tcp = Source(Flow(net::kProtoTcp, port, 443), To(kWan));
      ASSERT_TRUE(oracle.suits(*Mirror(tcp.tuple)));
      ASSERT_GE(tcp.tuple.source_key, 1024);
      const Choice ping = Source(Ping(i), To(kWan));
      ASSERT_TRUE(oracle.suits(*Mirror(ping.tuple)));
      const Choice low = Source(Flow(net::kProtoUdp, 500, 500), To(kWan));
      ASSERT_TRUE(oracle.suits(*Mirror(low.tuple)));
      ASSERT_LT(low.tuple.source_key, 512);
    }
  }
}

TEST_P(ShardedBindingTest, SuitablePortIsKept) {
  unsigned kept = 0;
  for (uint16_t port = 20000; port < 30000; ++port) {
    Tuple want = Flow(net::kProtoTcp, port, 443);
    want.source = kWan;
    const Choice choice = Source(Flow(net::kProtoTcp, port, 443), To(kWan));
    const bool suits = oracle.suits(*Mirror(want));
    ASSERT_EQ(choice.tuple.source_key == port, suits);
    kept += suits ? 1 : 0;
  }
  EXPECT_NEAR(kept, 10000.0 / GetParam(), 1500);
}

// A node information query's id isn't translated (icmpv6_manip_pkt), so another one in the tuple
// would only keep the answer from its connection.
TEST_P(ShardedBindingTest, IdThatIsNotWrittenIsKept) {
  Tuple query = Flow(net::kProtoIcmpv6, 0, net::kIcmpv6NodeInfoQuery << 8);
  Tuple ping = Flow(net::kProtoIcmpv6, 0, net::kIcmpv6EchoRequest << 8);
  query.family = ping.family = Family::kIpv6;
  query.source = ping.source = *net::ParseAddress(Family::kIpv6, "2001:db8:2::11");
  query.destination = ping.destination = *net::ParseAddress(Family::kIpv6, "2001:db8:ffff::7");
  const NatRange range = To(*net::ParseAddress(Family::kIpv6, "2001:db8:1::2"));
  unsigned moved = 0;
  for (uint16_t id = 0; id < 100; ++id) {
    query.source_key = ping.source_key = id;
    EXPECT_EQ(Source(query, range).tuple.source_key, id);
    moved += Source(ping, range).tuple.source_key == id ? 0 : 1;
  }
  EXPECT_EQ(moved > 0, GetParam() > 1);
}

TEST_P(ShardedBindingTest, StrictKeepsEveryPort) {
  strict = true;
  for (uint16_t port = 20000; port < 20100; ++port) {
    EXPECT_EQ(Source(Flow(net::kProtoTcp, port, 443), To(kWan)).tuple.source_key, port);
  }
}

TEST_P(ShardedBindingTest, NothingToChooseIsTakenAnyway) {
  for (worker = 0; worker < GetParam(); ++worker) {
    Choice choice = Source(Flow(net::kProtoTcp, 40000, 443), To(kWan, 5000, 5000));
    EXPECT_EQ(choice.tuple.source_key, 5000);
    EXPECT_FALSE(choice.exhausted);
    choice = Destination(Flow(net::kProtoTcp, 40000, 8080), To(kLan, 80, 80));
    EXPECT_EQ(choice.tuple.destination_key, 80);
    EXPECT_FALSE(choice.exhausted);
    EXPECT_EQ(Source(Flow(net::kProtoEsp, 0, 0), To(kWan)).tuple.source, kWan);
    EXPECT_EQ(Source(Flow(net::kProtoUdpLite, 4000, 5), To(kWan)).tuple.source_key, 4000);
  }
}

// Whether it matters that nobody else has the tuple: a destination without a choice of ports is
// taken as it is, and the source's half settles the clash.
TEST_P(ShardedBindingTest, SaysWhereAnotherTupleWouldHaveBeenTaken) {
  const Tuple flow = Flow(net::kProtoTcp, 40000, 8080);
  EXPECT_FALSE(Destination(flow, To(kLan)).checked);
  EXPECT_FALSE(Destination(flow, To(kLan, 80, 80)).checked);
  EXPECT_TRUE(Destination(flow, To(kLan, 80, 89)).checked);
  EXPECT_TRUE(Destination(flow, To(kLan, 8080, 8089)).checked);
  EXPECT_TRUE(Destination(Ping(7), To(kLan)).checked);
  EXPECT_TRUE(Source(flow, To(kWan)).checked);
  EXPECT_FALSE(Source(flow, To(kWan, 80, 80)).checked);
}

// All ports of the worker's share are in use: one of another share serves, handed over.
TEST_P(ShardedBindingTest, ExhaustedShareFallsBackToAnyPort) {
  const auto suits = oracle.suits;
  oracle.taken = [&](const Tuple& reply) { return suits(reply); };
  const Choice choice = Source(Flow(net::kProtoTcp, 40000, 443), To(kWan));
  EXPECT_EQ(choice.exhausted, GetParam() == 1);
  if (GetParam() > 1) {
    EXPECT_FALSE(suits(*Mirror(choice.tuple)));
  }
}

TEST_P(ShardedBindingTest, SmallRangeIsUsedUp) {
  std::set<uint16_t> used;
  oracle.taken = [&](const Tuple& reply) { return used.contains(reply.destination_key); };
  for (int i = 0; i < 100; ++i) {
    const Choice choice = Source(Flow(net::kProtoUdp, 40000, 53), To(kWan, 1100, 1199));
    ASSERT_FALSE(choice.exhausted) << i;
    ASSERT_TRUE(used.insert(choice.tuple.source_key).second);
  }
  EXPECT_TRUE(Source(Flow(net::kProtoUdp, 40000, 53), To(kWan, 1100, 1199)).exhausted);
}

INSTANTIATE_TEST_SUITE_P(Workers, ShardedBindingTest, testing::Values(1, 2, 3, 16, 64));

// What doesn't suit costs no attempt: with one port in 64 suiting, a search among taken ports still
// makes netfilter's number of real attempts.
TEST_F(BindingTest, UnsuitablePortsDontEatTheAttempts) {
  const net::OwnerMap map(0x3a7b, 16);
  std::set<uint16_t> tried;
  oracle.suits = [&](const Tuple& reply) { return map.OwnerOf(reply) == 3; };
  oracle.taken = [&](const Tuple& reply) {
    if (oracle.suits(reply)) tried.insert(reply.destination_key);
    return tried.size() < 120;
  };
  const Choice choice = Source(Flow(net::kProtoTcp, 40000, 443), To(kWan));
  EXPECT_FALSE(choice.exhausted);
  EXPECT_TRUE(oracle.suits(*Mirror(choice.tuple)));
}

// A worker without any share (it can't happen with OwnerMap) costs a bounded search.
TEST_F(BindingTest, HopelessSuitIsBounded) {
  int asked = 0;
  oracle.suits = [&](const Tuple&) {
    ++asked;
    return false;
  };
  const Choice choice = Source(Flow(net::kProtoTcp, 40000, 443), To(kWan));
  EXPECT_EQ(choice.tuple.source_key, 40000);
  EXPECT_FALSE(choice.exhausted);
  EXPECT_LE(asked, 4100);
}

}  // namespace
}  // namespace postern::nat

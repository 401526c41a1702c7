// First packets that are spared the walk (dataplane/pipeline/opening.cc). That they are told what
// the walk would tell them is for equivalence_test.cc to show.
#include <gtest/gtest.h>

#include "tests/pipeline/world.h"

namespace postern::test {
namespace {

using net::Table;

void Masquerade(World* world) {
  world->Chain(Table::kNat, "POSTROUTING").rules = {
      To("wan0", MakeRule(rules::MasqueradeTarget{}))};
  world->Publish();
}

// So many that some share a bucket and a tag with others: what is known of those whose place in the
// table isn't certainly free must be as good. Few at once, since only the first of a burst goes
// this way then.
class Opening : public testing::TestWithParam<bool> {};

TEST_P(Opening, AnswersFindEachOfManyConnections) {
  constexpr uint32_t kFlows = 120'000;
  constexpr uint32_t kBurst = 2;
  World::Options options;
  options.conntrack_max = kFlows;
  World world(options);
  const bool masquerade = GetParam();
  if (masquerade) {
    Masquerade(&world);
  } else {
    world.Publish();
  }
  const auto client_of = [](uint32_t flow) { return "192.168.1." + std::to_string(10 + flow % 4); };
  // A server each, so that every port can be kept.
  const auto server_of = [](uint32_t flow) { return "198.51.100." + std::to_string(1 + flow % 4); };
  const auto port_of = [](uint32_t flow) { return static_cast<uint16_t>(1024 + flow / 4); };
  const auto send_all = [&](net::PortId from, net::Time at) {
    for (uint32_t first = 0; first < kFlows; first += kBurst) {
      std::vector<Bytes> burst;
      for (uint32_t flow = first; flow < first + kBurst; ++flow) {
        const std::string outside = masquerade ? "203.0.113.2" : client_of(flow);
        Packet packet = from == kLan
                            ? Packet().Ipv4(client_of(flow), server_of(flow)).Udp(port_of(flow), 53)
                            : Packet().Ipv4(server_of(flow), outside).Udp(53, port_of(flow));
        packet.Eth(kPeerMac, from == kLan ? kLanMac : kWanMac);
        burst.push_back(packet.Build().Frame());
      }
      const std::vector<Sent> sent = world.SendBurst(from, burst, at);
      ASSERT_EQ(sent.size(), kBurst) << first;
      for (const Sent& one : sent) ASSERT_EQ(one.port, from == kLan ? kWan : kLan) << first;
    }
  };
  send_all(kLan, kStart);
  EXPECT_GT(world.output.remembered, kFlows / 10 * 9);
  EXPECT_EQ(world.engine().conntrack_entries(), kFlows);
  send_all(kWan, kStart + net::kSecond);
  EXPECT_EQ(world.engine().conntrack_entries(), kFlows);
  // Each is forgotten with all that was known of it, and can begin anew.
  world.engine().AdvanceTo(kStart + 200 * net::kSecond);
  EXPECT_EQ(world.engine().conntrack_entries(), 0U);
  send_all(kLan, kStart + 201 * net::kSecond);
  EXPECT_EQ(world.engine().conntrack_entries(), kFlows);
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutNat, Opening, testing::Bool());

}  // namespace
}  // namespace postern::test

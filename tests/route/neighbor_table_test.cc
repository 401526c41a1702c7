#include "dataplane/route/neighbor_table.h"

#include "tests/route/neighbor_fixture.h"

namespace postern::route {
namespace {

TEST_F(NeighborTest, AsksThenSendsWhatWaited) {
  Send();
  Send();
  ASSERT_EQ(sent.size(), 1U);
  const auto* arp = sent[0].At<net::ArpHeader>(14);
  EXPECT_EQ(arp->sender_mac, kOwnMac);
  EXPECT_EQ(IpAddress::FromWire(Family::kIpv4, arp->sender_ip), kOwn);
  EXPECT_EQ(arp->target_mac, MacAddress{});
  EXPECT_EQ(IpAddress::FromWire(Family::kIpv4, arp->target_ip), kHost);
  EXPECT_EQ(sent[0].out_port, kLan);
  EXPECT_EQ(Find(), nullptr);
  EXPECT_EQ(Sent(), Frames{"arp? ff:ff:ff:ff:ff:ff"});
  Reply();
  EXPECT_EQ(Sent(), (Frames{"ip 02:00:00:00:00:01", "ip 02:00:00:00:00:01"}));
  ASSERT_NE(Find(), nullptr);
  EXPECT_EQ(*Find(), kHostMac);
  Send();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].At<net::EthernetHeader>(0)->source, kOwnMac);
  EXPECT_EQ(sent[0].At<net::EthernetHeader>(0)->type.Host(), net::kEtherTypeIpv4);
}

TEST_F(NeighborTest, ADeadNeighbourIsUnreachableAndStaysSoForAWhile) {
  Send();
  Send();
  Pass(3 * net::kSecond - net::kMillisecond);
  EXPECT_EQ(Sent().size(), 3U);
  EXPECT_EQ(unresolved, 0);
  Pass(100 * net::kMillisecond);
  EXPECT_EQ(unresolved, 2);
  Send();
  EXPECT_EQ(unresolved, 3);
  EXPECT_TRUE(Sent().empty());
  Pass(4 * net::kSecond);
  EXPECT_EQ(table->size(), 0U);
  Send();
  EXPECT_EQ(Sent().size(), 1U);
}

TEST_F(NeighborTest, TheQueueLosesItsOldest) {
  for (int i = 0; i < 11; ++i) Send();
  EXPECT_EQ(drops[DropReason::kNeighborQueueFull], 3);
  Clear();
  Reply();
  EXPECT_EQ(Sent().size(), 8U);
}

TEST_F(NeighborTest, StaleIsProbedByUnicastWhenUsed) {
  Send();
  Reply();
  Clear();
  Pass(30 * net::kSecond);
  EXPECT_TRUE(Sent().empty());
  Send();  // stale, used: delay
  EXPECT_EQ(Sent(), Frames{"ip 02:00:00:00:00:01"});
  Pass(5 * net::kSecond);
  EXPECT_EQ(Sent(), Frames{"arp? 02:00:00:00:00:01"});
  Reply();
  Pass(20 * net::kSecond);
  EXPECT_TRUE(Sent().empty());
  EXPECT_NE(Find(), nullptr);
}

TEST_F(NeighborTest, AnUnansweredProbeEndsTheNeighbour) {
  Send();
  Reply();
  Pass(31 * net::kSecond);
  Send();
  Clear();
  const uint32_t before = table->generation();
  Pass(5 * net::kSecond);
  EXPECT_NE(Find(), nullptr);
  Pass(3 * net::kSecond);
  EXPECT_EQ(Sent().size(), 3U);
  EXPECT_EQ(Find(), nullptr);
  EXPECT_NE(table->generation(), before);
}

TEST_F(NeighborTest, AnUnusedStaleNeighbourGoes) {
  Send();
  Reply();
  // The sweep goes round the table once in a few seconds.
  Pass(130 * net::kSecond);
  EXPECT_EQ(table->size(), 0U);
}

TEST_F(NeighborTest, AnswersRequestsForOurAddressesOnAnyPort) {
  Arp(true, kHostMac, kHost, kOwn, MacAddress::Broadcast());
  ASSERT_EQ(sent.size(), 1U);
  const auto* arp = sent[0].At<net::ArpHeader>(14);
  EXPECT_EQ(arp->sender_mac, kOwnMac);
  EXPECT_EQ(IpAddress::FromWire(Family::kIpv4, arp->sender_ip), kOwn);
  EXPECT_EQ(arp->target_mac, kHostMac);
  EXPECT_EQ(IpAddress::FromWire(Family::kIpv4, arp->target_ip), kHost);
  EXPECT_EQ(Sent(), Frames{"arp! 02:00:00:00:00:01"});
  EXPECT_NE(Find(), nullptr);  // who asks for us is learned
  Arp(true, kHostMac, kHost, V4("203.0.113.2"), MacAddress::Broadcast());
  EXPECT_EQ(Sent().size(), 1U);  // arp_ignore=0
  Arp(true, kHostMac, kHost, V4("192.0.2.99"), MacAddress::Broadcast());
  EXPECT_TRUE(Sent().empty());
}

TEST_F(NeighborTest, AnswersDuplicateDetectionWithoutLearning) {
  Arp(true, kHostMac, IpAddress{}, kOwn, MacAddress::Broadcast());
  EXPECT_EQ(Sent(), Frames{"arp! 02:00:00:00:00:01"});
  EXPECT_EQ(table->size(), 0U);
}

TEST_F(NeighborTest, ACopyIsLearnedFromButNotAnswered) {
  Arp(true, kHostMac, kHost, kOwn, MacAddress::Broadcast(), true);
  EXPECT_TRUE(Sent().empty());
  EXPECT_NE(Find(), nullptr);
}

TEST_F(NeighborTest, GratuitousArpUpdatesButMakesNoEntry) {
  Arp(true, kHostMac, kHost, kHost, MacAddress::Broadcast());
  Reply();  // not asked for either
  EXPECT_EQ(table->size(), 0U);
  Send();
  Reply();
  Clear();
  // Within the lock time the first answer counts.
  Arp(true, kOtherMac, kHost, kHost, MacAddress::Broadcast());
  EXPECT_EQ(*Find(), kHostMac);
  const uint32_t before = table->generation();
  now += 2 * net::kSecond;
  Arp(true, kOtherMac, kHost, kHost, MacAddress::Broadcast());
  EXPECT_EQ(*Find(), kOtherMac);
  EXPECT_NE(table->generation(), before);
}

TEST_F(NeighborTest, NobodyElseIsUs) {
  Arp(true, kOtherMac, kOwn, kOwn, MacAddress::Broadcast());
  Arp(false, kOtherMac, kOwn, kHost, MacAddress::Broadcast());
  EXPECT_EQ(table->size(), 0U);
  EXPECT_TRUE(sent.empty());
}

TEST_F(NeighborTest, MalformedArpIsDropped) {
  Arp(true, MacAddress::Broadcast(), kHost, kOwn, MacAddress::Broadcast());
  Arp(true, kHostMac, kHost, V4("224.0.0.1"), MacAddress::Broadcast());
  Arp(true, kHostMac, kHost, V4("127.0.0.1"), MacAddress::Broadcast());
  EXPECT_EQ(drops[DropReason::kArpMalformed], 3);
}

TEST_F(NeighborTest, StaticEntriesNeverChange) {
  table->Configure(&routes, {{Family::kIpv4, kHost, kHostMac, kLan}});
  now += 10 * net::kSecond;
  Reply(kOtherMac);
  Pass(200 * net::kSecond);
  Send();
  EXPECT_EQ(Sent(), Frames{"ip 02:00:00:00:00:01"});
  table->Configure(&routes, {});
  EXPECT_EQ(Find(), nullptr);
}

TEST_F(NeighborTest, AFullTableKeepsTheNeighboursThatAnswer) {
  NeighborSettings settings;
  settings.capacity = 16;
  Make(settings);
  Send();
  Reply();
  for (uint32_t i = 20; i < 220; ++i) Send(IpAddress::V4(0xc0000200 + i));
  EXPECT_EQ(table->size(), 16U);
  EXPECT_NE(Find(), nullptr);
}

TEST_F(NeighborTest, ReplayAssumesItsNeighbours) {
  NeighborSettings settings;
  settings.assume_reachable = true;
  Make(settings);
  Send();
  Send6();
  EXPECT_EQ(Sent(), (Frames{"ip 02:00:c0:00:02:0a", "ip 02:00:00:00:00:10"}));
  Reply();
  Pass(500 * net::kSecond);
  Send();
  EXPECT_EQ(Sent(), Frames{"ip 02:00:00:00:00:01"});  // what the capture says is better
}

}  // namespace
}  // namespace postern::route

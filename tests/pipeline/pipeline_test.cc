// The order of the hooks, NAT and confirmation, on whole packets.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/pipeline/world.h"

namespace postern::test {
namespace {

using net::Table;

constexpr char kClient[] = "192.168.1.10";
constexpr char kServer[] = "198.51.100.7";

Packet Syn(uint16_t port = 40000) {
  return Packet().Ipv4(kClient, kServer).Tcp(port, 80, net::kTcpSyn).Seq(1000).Window(64240);
}

// LAN may open, answers come back, the WAN is translated.
void LoadEdgeRules(World* world) {
  auto& forward = world->Chain(Table::kFilter, "FORWARD");
  forward.policy = net::Verdict::kDrop;
  forward.rules = {
      MakeRule(rules::AcceptTarget{}, {State(rules::kCtStateEstablished | rules::kCtStateRelated)}),
      From("lan0", MakeRule(rules::AcceptTarget{}, {State(rules::kCtStateNew)})),
  };
  world->Chain(Table::kNat, "POSTROUTING").rules = {
      To("wan0", MakeRule(rules::MasqueradeTarget{}))};
  world->Publish();
}

TEST(Pipeline, MasqueradesAndTranslatesBack) {
  World world;
  LoadEdgeRules(&world);
  auto sent = world.Send(kLan, Syn(), kStart);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].port, kWan);
  net::ParsedPacket out = ParseSent(sent[0]);
  EXPECT_EQ(net::ToString(out.family, out.source), "203.0.113.2");
  EXPECT_EQ(out.source_port, 40000);
  EXPECT_EQ(out.ttl, 63);

  sent = world.Send(kWan,
                    Packet()
                        .Ipv4(kServer, "203.0.113.2")
                        .Tcp(80, 40000, net::kTcpSyn | net::kTcpAck)
                        .Seq(5000)
                        .Ack(1001)
                        .Window(64240),
                    kStart + net::kMillisecond);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].port, kLan);
  out = ParseSent(sent[0]);
  EXPECT_EQ(net::ToString(out.family, out.destination), kClient);
  EXPECT_EQ(world.engine().conntrack_entries(), 1U);
}

TEST(Pipeline, DroppedFirstPacketLeavesNothing) {
  World world;
  LoadEdgeRules(&world);
  const auto sent = world.Send(kWan, Packet().Ipv4(kServer, "192.168.1.10").Udp(53, 5353), kStart);
  EXPECT_TRUE(sent.empty());
  EXPECT_EQ(world.engine().conntrack_entries(), 0U);
  EXPECT_EQ(world.engine().buffers_in_use(), 0U);
  EXPECT_EQ(world.output.drops, std::vector{net::DropReason::kPolicyDrop});
}

TEST(Pipeline, ForwardSeesAddressesAfterDnatAndBeforeSnat) {
  World world;
  LoadEdgeRules(&world);
  world.Chain(Table::kNat, "PREROUTING").rules = {
      From("wan0", Proto(net::kProtoTcp, MakeRule(rules::DnatTarget{RangeTo("192.168.1.100", 80)},
                                                  {DestinationPort(net::kProtoTcp, 8080)})))};
  rules::Rule inner = MakeRule(rules::AcceptTarget{});
  inner.ip.destination = {*net::ParseAddress(net::Family::kIpv4, "192.168.1.100"),
                          net::PrefixMask(net::Family::kIpv4, 32), false};
  inner.ip.source = {*net::ParseAddress(net::Family::kIpv4, kServer),
                     net::PrefixMask(net::Family::kIpv4, 32), false};
  world.Chain(Table::kFilter, "FORWARD").rules.push_back(inner);
  world.Chain(Table::kNat, "POSTROUTING")
      .rules.push_back(To("lan0", MakeRule(rules::SnatTarget{RangeTo("192.168.1.1")})));
  world.Publish();
  const auto sent =
      world.Send(kWan, Packet().Ipv4(kServer, "203.0.113.2").Tcp(1234, 8080, net::kTcpSyn), kStart);
  ASSERT_EQ(sent.size(), 1U);
  const net::ParsedPacket out = ParseSent(sent[0]);
  EXPECT_EQ(net::ToString(out.family, out.destination), "192.168.1.100");
  EXPECT_EQ(out.destination_port, 80);
  EXPECT_EQ(net::ToString(out.family, out.source), "192.168.1.1");
}

TEST(Pipeline, RejectOfDnattedPacketComesFromThePublicAddress) {
  World world;
  world.Chain(Table::kNat, "PREROUTING").rules = {
      From("wan0", MakeRule(rules::DnatTarget{RangeTo("192.168.1.100")}))};
  world.Chain(Table::kFilter, "FORWARD").rules = {
      MakeRule(rules::RejectTarget{rules::RejectWith::kIcmpPortUnreachable})};
  world.Publish();
  const auto sent = world.Send(
      kWan, Packet().Ipv4(kServer, "203.0.113.2").Udp(1234, 53).Payload("hello"), kStart);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].port, kWan);
  EXPECT_EQ(world.output.verdict, net::Verdict::kReject);
  OwnedPacket error(sent[0].frame);
  net::Parse(&error.packet);
  EXPECT_EQ(net::ToString(error->ip.family, error->ip.source), "203.0.113.2");
  EXPECT_TRUE(net::TransportChecksumValid(error.packet));
  const auto quoted = net::ParseQuoted(error.packet);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(net::ToString(quoted->tuple.family, quoted->tuple.destination), "203.0.113.2");
  EXPECT_EQ(world.engine().conntrack_entries(), 0U);
}

TEST(Pipeline, ResetAnswersTheSynWithItsNumber) {
  World world;
  world.Chain(Table::kFilter, "FORWARD").rules = {
      Proto(net::kProtoTcp, MakeRule(rules::RejectTarget{rules::RejectWith::kTcpReset}))};
  world.Publish();
  const auto sent = world.Send(kLan, Syn(), kStart);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].port, kLan);
  OwnedPacket reset(sent[0].frame);
  net::Parse(&reset.packet);
  const auto* tcp = reset->At<net::TcpHeader>(reset->ip.l4_offset);
  EXPECT_EQ(tcp->flags, net::kTcpRst | net::kTcpAck);
  EXPECT_EQ(tcp->acknowledgement.Host(), 1001U);
}

TEST(Pipeline, TimeExceededGoesBackToTheSender) {
  World world;
  LoadEdgeRules(&world);
  const auto sent = world.Send(kLan, Syn().Ttl(1), kStart);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].port, kLan);
  const net::ParsedPacket out = ParseSent(sent[0]);
  EXPECT_EQ(out.icmp_type, net::kIcmpTimeExceeded);
  EXPECT_EQ(net::ToString(out.family, out.source), "192.168.1.1");
  EXPECT_EQ(world.engine().conntrack_entries(), 0U);
}

TEST(Pipeline, FragmentationNeededNamesTheMtu) {
  World::Options options;
  options.wan_mtu = 1300;
  World world(options);
  LoadEdgeRules(&world);
  const auto sent = world.Send(
      kLan, Packet().Ipv4(kClient, kServer).Udp(1, 2).DontFragment().PayloadLength(1372), kStart);
  ASSERT_EQ(sent.size(), 1U);
  OwnedPacket error(sent[0].frame);
  net::Parse(&error.packet);
  EXPECT_EQ(error->ip.icmp_code, 4);
  EXPECT_EQ(error->At<net::IcmpHeader>(error->ip.l4_offset)->sequence.Host(), 1300);
}

TEST(Pipeline, FragmentsWithoutDfForASmallerMtu) {
  World::Options options;
  options.wan_mtu = 1300;
  World world(options);
  LoadEdgeRules(&world);
  const auto sent =
      world.Send(kLan, Packet().Ipv4(kClient, kServer).Udp(1, 2).PayloadLength(1372), kStart);
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_LE(ParseSent(sent[0]).l3_length, 1300U);
  EXPECT_TRUE(ParseSent(sent[0]).more_fragments);
  EXPECT_EQ(world.engine().buffers_in_use(), 0U);
}

TEST(Pipeline, InputGoesToTheTwin) {
  World world;
  world.Publish();
  const auto sent =
      world.Send(kWan, Packet().Ipv4(kServer, "203.0.113.2").Tcp(1234, 22, net::kTcpSyn), kStart);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_TRUE(sent[0].host);
  EXPECT_EQ(sent[0].port, kWan);
}

TEST(Pipeline, NatIsDecidedOnceWhateverIsLoadedLater) {
  World world;
  LoadEdgeRules(&world);
  world.Send(kLan, Packet().Ipv4(kClient, kServer).Udp(5000, 53), kStart);
  world.Chain(Table::kNat, "POSTROUTING").rules.clear();
  world.Publish();
  const auto sent =
      world.Send(kLan, Packet().Ipv4(kClient, kServer).Udp(5000, 53), kStart + net::kMillisecond);
  ASSERT_EQ(sent.size(), 1U);
  const net::ParsedPacket out = ParseSent(sent[0]);
  EXPECT_EQ(net::ToString(out.family, out.source), "203.0.113.2");
}

TEST(Pipeline, EveryWayToLoseAFrameHasItsReason) {
  struct Row {
    const char* what;
    Bytes frame;
    net::DropReason reason;
  };
  const auto framed = [](Packet packet) { return packet.Eth(kPeerMac, kLanMac).Build().Frame(); };
  const std::vector<Row> rows = {
      {"too short", Bytes(10), net::DropReason::kFrameTooShort},
      {"VLAN", framed(Packet().Ipv4(kClient, kServer).Udp(1, 2).EtherType(0x8100)),
       net::DropReason::kVlanTagged},
      {"unknown type", framed(Packet().Ipv4(kClient, kServer).Udp(1, 2).EtherType(0x9999)),
       net::DropReason::kUnknownEtherType},
      {"not for us",
       Packet().Ipv4(kClient, kServer).Udp(1, 2).Eth(kPeerMac, "02:00:00:00:00:77").Build().Frame(),
       net::DropReason::kNotForUs},
      {"header checksum", framed(Packet().Ipv4(kClient, kServer).Udp(1, 2).BadIpChecksum()),
       net::DropReason::kIpChecksum},
      {"longer than the frame", framed(Packet().Ipv4(kClient, kServer).Udp(1, 2).IpLengthAs(900)),
       net::DropReason::kIpTruncated},
      {"our own address as source", framed(Packet().Ipv4("203.0.113.2", kServer).Udp(1, 2)),
       net::DropReason::kMartianSource},
      {"loopback", framed(Packet().Ipv4(kClient, "127.0.0.1").Udp(1, 2)),
       net::DropReason::kMartianDestination},
      {"loose source route",
       framed(Packet().Ipv4(kClient, kServer).Udp(1, 2).IpOptions({131, 7, 4, 192, 0, 2, 1})),
       net::DropReason::kSourceRoute},
      {"no IPv6 route", framed(Packet().Ipv6("2001:db8:2::10", "2001:db8:9::1").Udp(1, 2)),
       net::DropReason::kNoRoute},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    World world;
    world.Publish();
    world.SendRaw(kLan, row.frame, kStart);
    ASSERT_FALSE(world.output.drops.empty());
    EXPECT_EQ(net::ToString(world.output.drops.front()), net::ToString(row.reason));
    EXPECT_EQ(world.engine().buffers_in_use(), 0U);
  }
}

// Two workers hold connections whose answers would look the same; neither sees the other's.
TEST(Pipeline, TwoWorkersNeverGiveOneTranslatedTupleTwice) {
  World::Options options;
  options.workers = 2;
  World world(options);
  world.Chain(Table::kNat, "POSTROUTING").rules = {
      To("wan0", MakeRule(rules::SnatTarget{RangeTo("203.0.113.2", 5000)}))};
  world.Publish();
  size_t sent = 0;
  // Several servers, so that the first to come is once the answers' owner and once the other.
  for (uint16_t i = 0; i < 128; ++i) {
    const std::string server = "198.51.100." + std::to_string(1 + i / 8);
    const auto port = static_cast<uint16_t>(20000 + i);
    sent += world.Send(kLan, Packet().Ipv4(kClient, server).Udp(port, 9), kStart).size();
  }
  EXPECT_EQ(sent, 16U);
  EXPECT_EQ(std::count(world.output.drops.begin(), world.output.drops.end(),
                       net::DropReason::kNatExhausted),
            112);
  EXPECT_EQ(world.engine().conntrack_entries(), 16U);
  EXPECT_EQ(world.engine().buffers_in_use(), 0U);
}

TEST(Pipeline, LogSaysItsPrefixAndThePacketGoesOn) {
  World world;
  rules::LogTarget log;
  log.prefix = "seen: ";
  world.Chain(Table::kFilter, "FORWARD").rules = {MakeRule(log)};
  world.Publish();
  EXPECT_EQ(world.Send(kLan, Syn(), kStart).size(), 1U);
  EXPECT_EQ(world.output.logs, std::vector<std::string>{"seen: "});
}

}  // namespace
}  // namespace postern::test

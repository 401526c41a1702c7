#include "tests/ctrack/fixture.h"

namespace postern::ctrack {
namespace {

using enum CtInfo;
using test::Packet;

TEST(Defaults, AreTheKernels) {
  const Settings s;
  EXPECT_EQ(s.udp_timeout, 30U);
  EXPECT_EQ(s.udp_timeout_stream, 120U);
  EXPECT_EQ(s.icmp_timeout, 30U);
  EXPECT_EQ(s.icmpv6_timeout, 30U);
  EXPECT_EQ(s.generic_timeout, 600U);
  EXPECT_EQ(s.gre_timeout, 30U);
  EXPECT_EQ(s.gre_timeout_stream, 180U);
  EXPECT_EQ(s.tcp_max_retrans, 3);
  EXPECT_TRUE(s.tcp_loose);
  EXPECT_FALSE(s.tcp_be_liberal);
  EXPECT_TRUE(s.checksum);
}

struct UdpRow {
  double pause;  // seconds before the packet
  bool reply;
  CtInfo info;
  uint64_t timeout;
  bool assured;
};

void Play(World* world, std::initializer_list<UdpRow> rows) {
  size_t number = 0;
  for (const UdpRow& row : rows) {
    SCOPED_TRACE("row " + std::to_string(++number));
    world->Pass(row.pause);
    const Seen seen = world->Send(row.reply ? ServerUdp() : ClientUdp());
    EXPECT_EQ(seen.info, row.info);
    ASSERT_NE(seen.connection, nullptr);
    EXPECT_EQ(world->Left(*seen.connection), row.timeout);
    EXPECT_EQ(seen.connection->Has(kAssured), row.assured);
  }
}

// CONFORMANCE 10.
TEST(Udp, StreamOnlyAfterMoreThanTwoSecondsOfTrafficBothWays) {
  World world;
  Play(&world, {
                   {0, false, kNew, 30, false},
                   {0.1, true, kEstablishedReply, 30, false},
                   {0.1, false, kEstablished, 30, false},
                   {1.8, true, kEstablishedReply, 30, false},  // exactly two seconds
                   {0.001, false, kEstablished, 120, true},
                   {1, true, kEstablishedReply, 120, true},
               });
}

TEST(Udp, OneWayTrafficNeverBecomesAStream) {
  World world;
  Play(&world, {{0, false, kNew, 30, false},
                {10, false, kNew, 30, false},
                {20, false, kNew, 30, false},
                {1, true, kEstablishedReply, 30, false},
                {1, true, kEstablishedReply, 120, true}});
}

TEST(Udp, ANameLookupIsGoneAfterThirtySeconds) {
  World world;
  Play(&world, {{0, false, kNew, 30, false}, {0.02, true, kEstablishedReply, 30, false}});
  world.Pass(30);
  EXPECT_EQ(world.Send(ServerUdp()).info, kNew) << "the late answer begins a connection of its own";
}

TEST(Udp, ChecksumsAndLengths) {
  World world;
  EXPECT_EQ(world.Send(ClientUdp().BadChecksum()).info, kInvalid);
  EXPECT_EQ(world.Send(ClientUdp().UdpLengthAs(7)).info, kInvalid);
  EXPECT_EQ(world.Send(ClientUdp().UdpLengthAs(100)).info, kInvalid);
  EXPECT_EQ(world.Send(ClientUdp().NoUdpChecksum()).info, kNew);
  EXPECT_EQ(world.tracker.size(), 1U);
}

TEST(Udp, AVerifiedChecksumIsNotComputedAgain) {
  World world;
  test::OwnedPacket packet = ClientUdp().BadChecksum().Build();
  packet->checksum_verified = true;
  const TrackResult result = world.tracker.Track(*packet, net::Hook::kPrerouting, world.now);
  EXPECT_EQ(result.ct.info, kNew);
  world.tracker.Release(result.ct);
}

TEST(UdpLite, AssuredWithTheFirstPacketAfterAnAnswer) {
  World world;
  const Packet query = Packet().Ipv4(kClient, kServer).UdpLite(1, 2).Payload("12345678");
  const Packet answer = Packet().Ipv4(kServer, kClient).UdpLite(2, 1).Payload("12345678");
  EXPECT_EQ(world.Left(*world.Send(query).connection), 30U);
  EXPECT_EQ(world.Left(*world.Send(answer).connection), 30U);
  const Seen seen = world.Send(query);
  EXPECT_EQ(world.Left(*seen.connection), 120U);
  EXPECT_TRUE(seen.connection->Has(kAssured));
}

TEST(Icmp, QueriesAndTheirAnswers) {
  struct Row {
    uint8_t query, answer;
  };
  for (const Row& row : {Row{8, 0}, Row{13, 14}, Row{15, 16}, Row{17, 18}}) {
    SCOPED_TRACE(int{row.query});
    World world;
    const Packet query = Packet().Ipv4(kClient, kServer).Icmp(row.query, 0, 77, 1);
    const Packet answer = Packet().Ipv4(kServer, kClient).Icmp(row.answer, 0, 77, 1);
    EXPECT_EQ(world.Send(answer).info, kInvalid) << "nobody asked";
    EXPECT_EQ(world.Send(query).info, kNew);
    EXPECT_EQ(world.Send(query).info, kNew) << "no answer yet";
    EXPECT_EQ(world.Send(answer).info, kEstablishedReply);
    world.Pass(20);
    const Seen seen = world.Send(query);
    EXPECT_EQ(seen.info, kEstablished);
    EXPECT_EQ(world.Left(*seen.connection), 30U);
    EXPECT_FALSE(seen.connection->Has(kAssured));
    EXPECT_EQ(world.Send(Packet().Ipv4(kServer, kClient).Icmp(row.answer, 0, 78, 1)).info, kInvalid)
        << "another id";
  }
}

TEST(Icmp, UnknownTypesAndBadChecksums) {
  World world;
  EXPECT_EQ(world.Send(Packet().Ipv4(kClient, kServer).Icmp(10)).info, kInvalid);
  EXPECT_EQ(world.Send(Packet().Ipv4(kClient, kServer).Icmp(42)).info, kInvalid);
  EXPECT_EQ(world.Send(Packet().Ipv4(kClient, kServer).Icmp(8, 0, 1).BadChecksum()).info, kInvalid);
  EXPECT_EQ(world.Send(Packet().Ipv4(kClient, kServer).Icmpv6(128, 0, 1)).info, kInvalid);
  EXPECT_EQ(world.shared.entries.load(), 0U);
}

TEST(Icmpv6, EchoIsTrackedNeighbourDiscoveryIsLeftAlone) {
  World world;
  const auto message = [](uint8_t type) {
    return Packet().Ipv6("2001:db8::1", "2001:db8::2").Icmpv6(type, 0, 5, 1);
  };
  for (const uint8_t type : {130, 131, 132, 133, 134, 135, 136, 143}) {
    EXPECT_EQ(world.Send(message(type)).info, kUntracked) << int{type};
  }
  for (const uint8_t type : {129, 137, 140, 200}) {
    EXPECT_EQ(world.Send(message(type)).info, kInvalid) << int{type};
  }
  EXPECT_EQ(world.Send(message(135).BadChecksum()).info, kInvalid);
  const Seen seen = world.Send(message(128));
  EXPECT_EQ(seen.info, kNew);
  EXPECT_EQ(world.Left(*seen.connection), 30U);
  EXPECT_EQ(world.Send(Packet().Ipv6("2001:db8::2", "2001:db8::1").Icmpv6(129, 0, 5, 1)).info,
            kEstablishedReply);
}

TEST(Generic, AnyProtocolByItsAddresses) {
  World world;
  const Packet there = Packet().Ipv4(kClient, kServer).Raw(net::kProtoEsp).Payload("12345678");
  const Packet back = Packet().Ipv4(kServer, kClient).Raw(net::kProtoEsp).Payload("12345678");
  EXPECT_EQ(world.Left(*world.Send(there).connection), 600U);
  EXPECT_EQ(world.Send(back).info, kEstablishedReply);
  world.Pass(5);
  const Seen seen = world.Send(there);
  EXPECT_EQ(seen.info, kEstablished);
  EXPECT_EQ(world.Left(*seen.connection), 600U);
  EXPECT_FALSE(seen.connection->Has(kAssured));
}

TEST(Gre, StreamTimeoutOnceAnswered) {
  World world;
  const test::Bytes header = {0, 0, 8, 0, 1, 2, 3, 4};
  const Packet there = Packet().Ipv4(kClient, kServer).Raw(net::kProtoGre).Payload(header);
  const Packet back = Packet().Ipv4(kServer, kClient).Raw(net::kProtoGre).Payload(header);
  EXPECT_EQ(world.Left(*world.Send(there).connection), 30U);
  EXPECT_EQ(world.Left(*world.Send(back).connection), 30U);
  const Seen seen = world.Send(there);
  EXPECT_EQ(world.Left(*seen.connection), 180U);
  EXPECT_TRUE(seen.connection->Has(kAssured));
}

}  // namespace
}  // namespace postern::ctrack

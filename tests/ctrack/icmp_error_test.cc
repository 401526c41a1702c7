#include "tests/ctrack/fixture.h"

namespace postern::ctrack {
namespace {

using enum CtInfo;
using test::Packet;

constexpr std::string_view kRouter = "203.0.113.1";

// CONFORMANCE 11 and 12, as far as they are conntrack's.
TEST(IcmpError, BelongsToTheConnectionThatItQuotes) {
  World world;
  const Packet query = ClientUdp();
  const Connection* connection = world.Send(query).connection;
  const Packet error = Packet().Ipv4(kRouter, kClient).Icmp(3, 1).Quote(query.Frame());
  Seen seen = world.Send(error);
  EXPECT_EQ(seen.info, kRelatedReply);
  EXPECT_EQ(seen.connection, connection);
  EXPECT_FALSE(connection->Has(kSeenReply)) << "an error is no answer";

  const Packet answer = ServerUdp();
  world.Send(answer);
  const Packet other_way = Packet().Ipv4(kRouter, kServer).Icmp(3, 3).Quote(answer.Frame());
  seen = world.Send(other_way);
  EXPECT_EQ(seen.info, kRelated);
  EXPECT_EQ(seen.connection, connection);
}

TEST(IcmpError, EveryErrorType) {
  World world;
  const Packet query = ClientUdp();
  world.Send(query);
  for (const uint8_t type : {3, 4, 5, 11, 12}) {
    EXPECT_EQ(world.Send(Packet().Ipv4(kRouter, kClient).Icmp(type).Quote(query.Frame())).info,
              kRelatedReply)
        << int{type};
  }
}

TEST(IcmpError, NeverRefreshes) {
  World world;
  const Packet query = ClientUdp();
  const Connection* connection = world.Send(query).connection;
  const Packet error = Packet().Ipv4(kRouter, kClient).Icmp(11).Quote(query.Frame());
  world.Pass(20);
  EXPECT_EQ(world.Send(error).info, kRelatedReply);
  EXPECT_EQ(world.Left(*connection), 10U);
  world.Pass(10);
  EXPECT_EQ(world.Send(error).info, kInvalid) << "expired";
}

TEST(IcmpError, WhatIsInvalid) {
  World world;
  const Packet query = ClientUdp();
  world.Send(query);
  const auto error = [] { return Packet().Ipv4(kRouter, kClient).Icmp(3, 1); };
  struct Row {
    const char* what;
    Packet packet;
    CtInfo info;
  };
  const Row rows[] = {
      {"quotes nothing known", error().Quote(ClientUdp(4321).Frame()), kInvalid},
      {"quotes the mirror, which nobody sent", error().Quote(ServerUdp().Frame()), kInvalid},
      {"sent to somebody else",
       Packet().Ipv4(kRouter, "192.0.2.99").Icmp(3, 1).Quote(query.Frame()), kInvalid},
      {"quotes no ports", error().Quote(query.Frame(), 23), kInvalid},
      {"quotes half a header", error().Quote(query.Frame(), 19), kInvalid},
      {"quotes nothing", error(), kInvalid},
      {"has a bad checksum", error().Quote(query.Frame()).BadChecksum(), kInvalid},
      {"quotes a later fragment", error().Quote(ClientUdp().Fragment(1, 64, false).Frame()),
       kInvalid},
      {"quotes the least", error().Quote(query.Frame(), 28), kRelatedReply},
      {"quotes just the ports", error().Quote(query.Frame(), 24), kRelatedReply},
      {"quotes a packet with options",
       error().Quote(ClientUdp().IpOptions({1, 1, 1, 1, 1}).Frame(), 36), kRelatedReply},
  };
  for (const Row& row : rows) EXPECT_EQ(world.Send(row.packet).info, row.info) << row.what;
  EXPECT_EQ(world.tracker.size(), 1U);
  EXPECT_EQ(world.shared.entries.load(), 1U);
}

TEST(IcmpError, AboutAnEchoRequest) {
  World world;
  const Packet ping = Packet().Ipv4(kClient, kServer).Icmp(8, 0, 99, 1).PayloadLength(40);
  const Connection* connection = world.Send(ping).connection;
  const Seen seen = world.Send(Packet().Ipv4(kRouter, kClient).Icmp(11).Quote(ping.Frame()));
  EXPECT_EQ(seen.info, kRelatedReply);
  EXPECT_EQ(seen.connection, connection);
}

// The error comes to the translated address; what it quotes was translated, too.
TEST(IcmpError, AboutATranslatedConnection) {
  World world;
  const Packet query = ClientUdp();
  const test::OwnedPacket packet = query.Build();
  TrackResult result = world.tracker.Track(*packet, net::Hook::kPrerouting, world.now);
  Tuple reply = result.ct.connection->reply();
  reply.destination = *net::ParseAddress(net::Family::kIpv4, "203.0.113.2");
  reply.destination_key = 61000;
  world.tracker.AlterReply(result.ct.connection, reply);
  net::DropReason reason{};
  ASSERT_TRUE(world.tracker.Confirm(result.ct, world.now, &reason));

  const Packet sent = Packet().Ipv4("203.0.113.2", kServer).Udp(61000, 53).Payload("query");
  const Seen seen =
      world.Send(Packet().Ipv4(kRouter, "203.0.113.2").Icmp(3, 3).Quote(sent.Frame()));
  EXPECT_EQ(seen.info, kRelatedReply);
  EXPECT_EQ(seen.connection, result.ct.connection);
  EXPECT_EQ(world.Send(Packet().Ipv4(kRouter, "203.0.113.2").Icmp(3, 3).Quote(query.Frame())).info,
            kInvalid)
      << "nobody outside can have seen the inner tuple";
}

TEST(IcmpError, Ipv6PacketTooBig) {
  World world;
  const Packet query = Packet().Ipv6("2001:db8::1", "2001:db8:1::2").Udp(1000, 53).Payload("query");
  const Connection* connection = world.Send(query).connection;
  Seen seen = world.Send(
      Packet().Ipv6("2001:db8::ff", "2001:db8::1").Icmpv6(2, 0, 0, 1280).Quote(query.Frame()));
  EXPECT_EQ(seen.info, kRelatedReply);
  EXPECT_EQ(seen.connection, connection);
  seen = world.Send(
      Packet().Ipv6("2001:db8::ff", "2001:db8::9").Icmpv6(2, 0, 0, 1280).Quote(query.Frame()));
  EXPECT_EQ(seen.info, kInvalid);
}

TEST(IcmpError, OfAConnectionThatAnotherWorkerHolds) {
  World world;
  const Packet query = ClientUdp();
  const auto mirror = net::Mirror(*net::TupleOf(query.Build()->ip));
  world.table.Insert(*mirror, world.table.Hash(*mirror), TableValue::Remote(3));
  EXPECT_EQ(world.Send(Packet().Ipv4(kRouter, kClient).Icmp(3, 1).Quote(query.Frame())).hand_to, 3);
}

}  // namespace
}  // namespace postern::ctrack

#include <set>

#include "tests/ctrack/fixture.h"

namespace postern::ctrack {
namespace {

using enum CtInfo;
using test::Packet;

Tuple TupleOf(const Packet& packet) { return *net::TupleOf(packet.Build()->ip); }

// A connection that has become a stream.
Connection* Assured(World* world, uint16_t port) {
  world->Send(ClientUdp(port));
  world->Send(ServerUdp(port));
  world->Pass(2.1);
  Connection* connection = world->Send(ClientUdp(port)).connection;
  EXPECT_TRUE(connection->Has(kAssured));
  return connection;
}

TEST(Tracker, ADroppedFirstPacketLeavesNothing) {
  World world;
  EXPECT_EQ(world.Send(ClientUdp(), net::Hook::kPrerouting, /*dropped=*/true).info, kNew);
  EXPECT_EQ(world.table.size(), 0U);
  EXPECT_EQ(world.pool.used(), 0U);
  EXPECT_EQ(world.shared.entries.load(), 0U);
  EXPECT_TRUE(world.observer.events.empty());
  EXPECT_EQ(world.Send(ClientUdp()).info, kNew);
}

TEST(Tracker, ConfirmedConnectionAnswersToBothTuples) {
  World world;
  const Seen seen = world.Send(ClientUdp());
  Direction direction;
  EXPECT_EQ(world.tracker.Find(TupleOf(ClientUdp()), &direction, world.now), seen.connection);
  EXPECT_EQ(direction, Direction::kOriginal);
  EXPECT_EQ(world.tracker.Find(TupleOf(ServerUdp()), &direction, world.now), seen.connection);
  EXPECT_EQ(direction, Direction::kReply);
  EXPECT_EQ(seen.connection->status, uint32_t{kConfirmed});
  EXPECT_EQ(world.table.size(), 2U);
  EXPECT_EQ(world.tracker.size(), 1U);
}

TEST(Tracker, FirstReplyIsEstablishedAndSoIsEverythingAfterIt) {
  World world;
  EXPECT_EQ(world.Send(ClientUdp()).info, kNew);
  EXPECT_EQ(world.Send(ClientUdp()).info, kNew);
  EXPECT_EQ(world.Send(ServerUdp()).info, kEstablishedReply);
  EXPECT_EQ(world.Send(ClientUdp()).info, kEstablished);
  EXPECT_EQ(world.observer.AllChanges(), uint32_t{kChangeReply});
}

TEST(Tracker, TheTimeoutRunsFromConfirmation) {
  World world;
  const test::OwnedPacket packet = ClientUdp().Build();
  TrackResult result = world.tracker.Track(*packet, net::Hook::kPrerouting, world.now);
  world.Pass(10);
  net::DropReason reason{};
  ASSERT_TRUE(world.tracker.Confirm(result.ct, world.now, &reason));
  EXPECT_EQ(world.Left(*result.ct.connection), 30U);
}

TEST(Tracker, AKnownTupleIsntLookedUpAgain) {
  World world;
  const Seen first = world.Send(ClientUdp());
  const test::OwnedPacket packet = ServerUdp().Build();
  const TableValue known = world.table.Lookup(TupleOf(ServerUdp()));
  const TrackResult result =
      world.tracker.Track(*packet, net::Hook::kPrerouting, world.now, true, known);
  EXPECT_EQ(result.ct.connection, first.connection);
  EXPECT_EQ(result.ct.info, kEstablishedReply);
}

TEST(Tracker, AKnownConnectionThatDiedInTheBurstHasASuccessor) {
  World world;
  const Seen first = world.Send(ClientUdp());
  const TableValue known = world.table.Lookup(TupleOf(ClientUdp()));
  world.tracker.Destroy(first.connection, world.now);
  const Seen second = world.Send(ClientUdp());
  const test::OwnedPacket packet = ClientUdp().Build();
  const TrackResult result =
      world.tracker.Track(*packet, net::Hook::kPrerouting, world.now, true, known);
  EXPECT_EQ(result.ct.connection, second.connection);
  EXPECT_NE(result.ct.connection, first.connection);
}

TEST(Tracker, TranslatedReplyIsTheOneThatCounts) {
  World world;
  const test::OwnedPacket packet = ClientUdp().Build();
  TrackResult result = world.tracker.Track(*packet, net::Hook::kPrerouting, world.now);
  Tuple reply = result.ct.connection->reply();
  reply.destination = net::IpAddress::V4(0xcb007102);
  world.tracker.AlterReply(result.ct.connection, reply);
  net::DropReason reason{};
  ASSERT_TRUE(world.tracker.Confirm(result.ct, world.now, &reason));
  EXPECT_EQ(world.Send(Packet().Ipv4(kServer, "203.0.113.2").Udp(53, 1234)).info,
            kEstablishedReply);
  EXPECT_EQ(world.Send(ServerUdp()).info, kNew);
}

// CONFORMANCE 15: never a stray translation.
TEST(Tracker, ClashingReplyIsDroppedAtConfirmation) {
  World world;
  world.Send(ClientUdp(1));
  const test::OwnedPacket packet = ClientUdp(2).Build();
  TrackResult result = world.tracker.Track(*packet, net::Hook::kPrerouting, world.now);
  world.tracker.AlterReply(result.ct.connection, *net::Mirror(TupleOf(ClientUdp(1))));
  EXPECT_TRUE(
      world.tracker.TupleTaken(result.ct.connection->reply(), result.ct.connection, world.now));
  net::DropReason reason{};
  EXPECT_FALSE(world.tracker.Confirm(result.ct, world.now, &reason));
  EXPECT_EQ(reason, net::DropReason::kConntrackClash);
  world.tracker.Release(result.ct);
  EXPECT_EQ(world.table.size(), 2U);
  EXPECT_EQ(world.tracker.stats().insert_failed, 1U);
  EXPECT_EQ(world.pool.used(), 1U);
}

// CONFORMANCE 16: two first packets under way at once are one connection.
TEST(Tracker, TwoFirstPacketsAtOnce) {
  World world;
  const test::OwnedPacket packet = ClientUdp().Build();
  TrackResult one = world.tracker.Track(*packet, net::Hook::kPrerouting, world.now);
  TrackResult two = world.tracker.Track(*packet, net::Hook::kPrerouting, world.now);
  EXPECT_NE(one.ct.connection, two.ct.connection);
  EXPECT_FALSE(world.tracker.TupleTaken(one.ct.connection->reply(), two.ct.connection, world.now));
  net::DropReason reason{};
  ASSERT_TRUE(world.tracker.Confirm(one.ct, world.now, &reason));
  EXPECT_FALSE(world.tracker.TupleTaken(one.ct.connection->reply(), two.ct.connection, world.now))
      << "the same connection is left to clash resolution";
  ASSERT_TRUE(world.tracker.Confirm(two.ct, world.now, &reason));
  EXPECT_EQ(two.ct.connection, one.ct.connection);
  EXPECT_EQ(world.tracker.size(), 1U);
  EXPECT_EQ(world.shared.entries.load(), 1U);
  EXPECT_EQ(world.tracker.stats().clash_resolve, 1U);

  const test::OwnedPacket syn = Packet().Ipv4(kClient, kServer).Tcp(1, 2, net::kTcpSyn).Build();
  TrackResult tcp_one = world.tracker.Track(*syn, net::Hook::kPrerouting, world.now);
  TrackResult tcp_two = world.tracker.Track(*syn, net::Hook::kPrerouting, world.now);
  ASSERT_TRUE(world.tracker.Confirm(tcp_one.ct, world.now, &reason));
  EXPECT_FALSE(world.tracker.Confirm(tcp_two.ct, world.now, &reason)) << "TCP may not clash";
  world.tracker.Release(tcp_two.ct);
}

TEST(Tracker, OneWhoTalksToHimself) {
  World world;
  const Packet packet = Packet().Ipv4(kClient, kClient).Udp(7, 7).Payload("x");
  EXPECT_EQ(world.Send(packet).info, kNew);
  EXPECT_EQ(world.table.size(), 1U);
  world.Pass(31);
  world.tracker.Sweep(world.now, 100);
  EXPECT_EQ(world.table.size(), 0U);
}

TEST(Tracker, AnotherWorkersConnectionIsHandedOver) {
  World world;
  const Tuple tuple = TupleOf(ClientUdp());
  world.table.Insert(tuple, world.table.Hash(tuple), TableValue::Remote(5));
  const Seen seen = world.Send(ClientUdp());
  EXPECT_EQ(seen.hand_to, 5);
  EXPECT_EQ(seen.connection, nullptr);
  EXPECT_TRUE(world.tracker.TupleTaken(tuple, nullptr, world.now));
  EXPECT_EQ(world.shared.entries.load(), 0U);
}

TEST(Tracker, ExpiredConnectionsAreDeadBeforeTheyAreSwept) {
  World world;
  const uint32_t id = world.Send(ClientUdp()).connection->id;
  world.Pass(29.999);
  Direction direction;
  EXPECT_NE(world.tracker.Find(TupleOf(ClientUdp()), &direction, world.now), nullptr);
  world.Pass(0.001);
  EXPECT_FALSE(world.tracker.TupleTaken(TupleOf(ServerUdp()), nullptr, world.now));
  EXPECT_EQ(world.observer.Count(ConnEvent::kDestroy), 1U);
  const Seen seen = world.Send(ClientUdp());
  EXPECT_EQ(seen.info, kNew);
  EXPECT_NE(seen.connection->id, id);
}

TEST(Tracker, AnExpiredConnectionDoesntStandInTheWayOfConfirmation) {
  World world;
  world.Send(ClientUdp(1));
  world.Pass(31);
  const test::OwnedPacket packet = ClientUdp(2).Build();
  TrackResult result = world.tracker.Track(*packet, net::Hook::kPrerouting, world.now);
  world.tracker.AlterReply(result.ct.connection, *net::Mirror(TupleOf(ClientUdp(1))));
  net::DropReason reason{};
  EXPECT_TRUE(world.tracker.Confirm(result.ct, world.now, &reason));
}

TEST(Tracker, SweepFreesInBoundedSteps) {
  World world;
  for (uint16_t port = 1; port <= 100; ++port) world.Send(ClientUdp(port));
  world.Pass(31);
  world.tracker.Sweep(world.now, 30);
  EXPECT_EQ(world.tracker.size(), 70U);
  for (int i = 0; i < 3; ++i) world.tracker.Sweep(world.now, 30);
  EXPECT_EQ(world.tracker.size(), 0U);
  EXPECT_EQ(world.table.size(), 0U);
  EXPECT_EQ(world.shared.entries.load(), 0U);
  EXPECT_EQ(world.observer.Count(ConnEvent::kDestroy), 100U);
  EXPECT_EQ(world.observer.closed.size(), 100U);
  world.tracker.Reap();
  EXPECT_EQ(world.pool.used(), 0U);
}

// What an end needs is in a connection's first line for IPv4 without a zone, and elsewhere for the
// others.
TEST(Tracker, ConnectionsOfAllKindsEndTogetherInTheOrderOfTheirSlots) {
  World world;
  std::vector<uint32_t> ids;
  for (uint16_t port = 1; port <= 100; ++port) {
    test::OwnedPacket packet = ClientUdp(port).Build();
    if (port % 3 == 1) packet = Packet().Ipv6("2001:db8::1", "2001:db8::2").Udp(port, 53).Build();
    TrackResult result = world.tracker.Track(*packet, net::Hook::kPrerouting, world.now);
    if (port % 3 == 2) {
      for (Tuple& tuple : result.ct.connection->tuples) tuple.zone = 7;
    }
    net::DropReason reason{};
    ASSERT_TRUE(world.tracker.Confirm(result.ct, world.now, &reason));
    ASSERT_EQ(result.ct.connection->HasKeys(), port % 3 == 0);
    ids.push_back(result.ct.connection->id);
  }
  world.Pass(31);
  world.observer.events.clear();
  world.tracker.Sweep(world.now, 100);
  EXPECT_EQ(world.table.size(), 0U);
  EXPECT_EQ(world.tracker.stats().deleted, 100U);
  EXPECT_EQ(world.tracker.stats().early_drop, 0U);
  EXPECT_EQ(world.observer.closed, ids);
  ASSERT_EQ(world.observer.events.size(), ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(world.observer.events[i].event, ConnEvent::kDestroy);
    EXPECT_EQ(world.observer.events[i].id, ids[i]);
  }
}

TEST(Tracker, OneOfEachKindIsDestroyed) {
  World world;
  std::array<Connection*, 2> connections = {
      world.Send(ClientUdp()).connection,
      world.Send(Packet().Ipv6("2001:db8::1", "2001:db8::2").Udp(7, 53)).connection};
  EXPECT_EQ(world.table.size(), 4U);
  for (Connection* connection : connections) world.tracker.Destroy(connection, world.now);
  EXPECT_EQ(world.table.size(), 0U);
}

// CONFORMANCE 25.
TEST(Tracker, WhenTheTableIsFullUnassuredConnectionsGoFirst) {
  World world;
  world.settings.max = 4;
  for (uint16_t port = 1; port <= 3; ++port) Assured(&world, port);
  world.Send(ClientUdp(4));
  EXPECT_EQ(world.Send(ClientUdp(5)).info, kNew);
  EXPECT_EQ(world.tracker.stats().early_drop, 1U);
  EXPECT_EQ(world.tracker.size(), 4U);
  Direction direction;
  EXPECT_EQ(world.tracker.Find(TupleOf(ClientUdp(4)), &direction, world.now), nullptr);
  for (uint16_t port = 1; port <= 3; ++port) {
    EXPECT_NE(world.tracker.Find(TupleOf(ClientUdp(port)), &direction, world.now), nullptr);
  }
}

TEST(Tracker, WhenAllAreAssuredTheNewOneIsDroppedAndCounted) {
  World world;
  world.settings.max = 3;
  for (uint16_t port = 1; port <= 3; ++port) Assured(&world, port);
  const Seen seen = world.Send(ClientUdp(9));
  EXPECT_EQ(seen.verdict, net::Verdict::kDrop);
  EXPECT_EQ(seen.reason, net::DropReason::kConntrackTableFull);
  EXPECT_EQ(world.tracker.stats().drop, 1U);
  EXPECT_EQ(world.shared.entries.load(), 3U);
  EXPECT_EQ(world.Send(ServerUdp(1)).info, kEstablishedReply) << "the others don't suffer";
  EXPECT_EQ(world.Send(Packet().Ipv4(kClient, kServer).Icmp(10)).verdict, net::Verdict::kAccept)
      << "INVALID needs no entry";
  world.settings.max = 0;  // no limit
  EXPECT_EQ(world.Send(ClientUdp(9)).info, kNew);
}

TEST(Tracker, TheLimitHoldsOverAllWorkers) {
  World one;
  one.settings.max = 10;
  one.shared.entries = 10;  // the others'
  EXPECT_EQ(one.Send(ClientUdp()).reason, net::DropReason::kConntrackTableFull);
  one.shared.entries = 9;
  EXPECT_EQ(one.Send(ClientUdp()).info, kNew);
}

TEST(Tracker, AFullPoolDropsToo) {
  World world(4);
  for (uint16_t port = 1; port <= 4; ++port) world.Send(ClientUdp(port));
  EXPECT_EQ(world.Send(ClientUdp(5)).reason, net::DropReason::kConntrackTableFull);
  EXPECT_EQ(world.shared.entries.load(), 4U);
  // What died in an earlier burst makes room, even before it is reaped.
  Direction direction;
  world.tracker.Destroy(world.tracker.Find(TupleOf(ClientUdp(1)), &direction, world.now),
                        world.now);
  EXPECT_EQ(world.Send(ClientUdp(5)).reason, net::DropReason::kConntrackTableFull);
  world.Pass(0.001);
  EXPECT_EQ(world.Send(ClientUdp(5)).info, kNew);
}

TEST(Tracker, UnderPressureTheSweepMakesRoom) {
  World world(300);
  world.settings.max = 200;
  std::vector<Connection*> connections;
  for (uint16_t port = 1; port <= 200; ++port) {
    const Packet syn = Packet().Ipv4(kClient, kServer).Tcp(port, 80, net::kTcpSyn);
    connections.push_back(world.Send(syn).connection);
    connections.back()->status |= kAssured;
  }
  EXPECT_EQ(world.Send(ClientUdp(999)).reason, net::DropReason::kConntrackTableFull);
  world.tracker.Sweep(world.now, 100);
  EXPECT_EQ(world.tracker.size(), 200U) << "open and assured ones stay";
  for (size_t i = 0; i < 30; ++i) connections[i]->protocol.tcp.state = TcpState::kFinWait;
  for (int i = 0; i < 3; ++i) world.tracker.Sweep(world.now, 100);
  EXPECT_EQ(world.tracker.size(), 189U) << "closing ones go until 5 % are free";
  EXPECT_EQ(world.tracker.stats().early_drop, 11U);
  EXPECT_EQ(world.Send(ClientUdp(999)).info, kNew);
}

TEST(Tracker, WithoutPressureTheSweepTakesOnlyTheExpired) {
  World world(300);
  world.settings.max = 200;
  for (uint16_t port = 1; port <= 199; ++port) world.Send(ClientUdp(port));
  for (int i = 0; i < 3; ++i) world.tracker.Sweep(world.now, 300);
  EXPECT_EQ(world.tracker.size(), 199U);
}

TEST(Tracker, IdsAreUniqueOverWorkers) {
  World one;
  ConnectionPool pool(64);
  FlowTable table(128, net::FlowHasher(kHashKey), pool);
  Recorder observer;
  Tracker other(&table, &pool, &one.shared, &observer, 2);
  other.SetSettings(&one.settings);
  std::set<uint32_t> ids;
  for (uint16_t port = 1; port <= 20; ++port) {
    EXPECT_TRUE(ids.insert(one.Send(ClientUdp(port)).connection->id).second);
    const test::OwnedPacket packet = ClientUdp(port).Build();
    TrackResult result = other.Track(*packet, net::Hook::kPrerouting, one.now);
    EXPECT_TRUE(ids.insert(result.ct.connection->id).second);
    other.Release(result.ct);
  }
  EXPECT_FALSE(ids.contains(0));
  one.shared.next_id = 0;  // after 2^32
  EXPECT_NE(one.Send(ClientUdp(100)).connection->id, 0U);
}

TEST(Tracker, VisitsEveryStayerExactlyOnceWhileOthersComeAndGo) {
  World world;
  std::set<uint32_t> stayers;
  for (uint16_t port = 1; port <= 100; ++port) {
    const Seen seen = world.Send(ClientUdp(port));
    if (port % 2 == 0) stayers.insert(seen.connection->id);
  }
  std::multiset<uint32_t> visited;
  uint32_t cursor = 0;
  uint16_t next = 1;
  while (!world.tracker.Visit(world.now, 7, &cursor,
                              [&visited](Connection& c) { visited.insert(c.id); })) {
    Direction direction;
    Connection* leaver = world.tracker.Find(TupleOf(ClientUdp(next)), &direction, world.now);
    if (leaver != nullptr) world.tracker.Destroy(leaver, world.now);
    world.tracker.Reap();
    world.Send(ClientUdp(static_cast<uint16_t>(1000 + next)));
    next = static_cast<uint16_t>(next + 2);
  }
  for (const uint32_t id : stayers) EXPECT_EQ(visited.count(id), 1U) << id;
}

TEST(Tracker, VisitSkipsTheExpired) {
  World world;
  world.Send(ClientUdp(1));
  world.Pass(31);
  world.Send(ClientUdp(2));
  size_t visits = 0;
  uint32_t cursor = 0;
  EXPECT_TRUE(world.tracker.Visit(world.now, 100, &cursor, [&visits](Connection&) { ++visits; }));
  EXPECT_EQ(visits, 1U);
}

TEST(Tracker, FlushRemovesEverything) {
  World world;
  for (uint16_t port = 1; port <= 50; ++port) world.Send(ClientUdp(port));
  uint32_t cursor = 0;
  int calls = 1;
  while (!world.tracker.Flush(world.now, 20, &cursor)) ++calls;
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(world.tracker.size(), 0U);
  EXPECT_EQ(world.table.size(), 0U);
  EXPECT_EQ(world.observer.Count(ConnEvent::kDestroy), 50U);
}

TEST(Tracker, AccountsOnlyWhenAskedTo) {
  World world;
  EXPECT_EQ(world.Send(ClientUdp(1)).connection->extension, nullptr);
  world.settings.acct = world.settings.timestamp = true;
  const Connection* connection = world.Send(ClientUdp(2)).connection;
  world.Send(ServerUdp(2));
  world.Send(ClientUdp(2));
  ASSERT_NE(connection->extension, nullptr);
  EXPECT_EQ(connection->extension->packets[0], 2U);
  EXPECT_EQ(connection->extension->bytes[0], 2U * (20 + 8 + 5));
  EXPECT_EQ(connection->extension->packets[1], 1U);
  EXPECT_EQ(connection->extension->bytes[1], 20U + 8 + 6);
  EXPECT_EQ(connection->extension->start, world.now);
}

TEST(Tracker, AFixedTimeoutStays) {
  World world;
  Connection* connection = world.Send(ClientUdp()).connection;
  connection->status |= kFixedTimeout;
  world.Pass(10);
  world.Send(ClientUdp());
  EXPECT_EQ(world.Left(*connection), 20U);
}

TEST(Tracker, AnExpectedConnectionIsRelatedUntilAnswered) {
  World world;
  world.Send(ClientUdp()).connection->status |= kExpected;
  EXPECT_EQ(world.Send(ClientUdp()).info, kRelated);
  EXPECT_EQ(world.Send(ServerUdp()).info, kEstablishedReply);
  EXPECT_EQ(world.Send(ClientUdp()).info, kEstablished);
}

TEST(Tracker, TheMarkIsLeftAlone) {
  World world;
  Connection* connection = world.Send(ClientUdp()).connection;
  connection->mark = 0x1234;
  world.Send(ServerUdp());
  world.Send(ClientUdp());
  EXPECT_EQ(connection->mark, 0x1234U);
}

}  // namespace
}  // namespace postern::ctrack

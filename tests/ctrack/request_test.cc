// What the operator asks of the table: connections made and changed, and listings while it churns.
#include <map>

#include "tests/ctrack/fixture.h"

namespace postern::ctrack {
namespace {

Tuple UdpTuple(uint16_t port) {
  Tuple tuple;
  tuple.protocol = 17;
  tuple.source = *net::ParseAddress(net::Family::kIpv4, kClient);
  tuple.destination = *net::ParseAddress(net::Family::kIpv4, kServer);
  tuple.source_key = port;
  tuple.destination_key = 53;
  return tuple;
}

ConnectionRequest Request(uint16_t port, uint32_t seconds = 100) {
  ConnectionRequest request;
  request.original = UdpTuple(port);
  request.reply = *net::Mirror(request.original);
  request.timeout = seconds;
  return request;
}

// As the pipeline does it where nothing is translated.
RequestOutcome Make(World* world, const ConnectionRequest& request) {
  RequestOutcome outcome = RequestOutcome::kDone;
  CtRef ct;
  ct.connection = world->tracker.Begin(request, world->now, &outcome);
  if (ct.connection == nullptr) return outcome;
  net::DropReason reason = net::DropReason::kNone;
  EXPECT_TRUE(world->tracker.Confirm(ct, world->now, &reason));
  return outcome;
}

TEST(Request, MakesAConnectionThatPacketsBelongTo) {
  World world;
  ConnectionRequest request = Request(1234);
  request.status = kSeenReply | kAssured;
  request.mark = 7;
  ASSERT_EQ(Make(&world, request), RequestOutcome::kDone);
  EXPECT_EQ(world.observer.Count(ConnEvent::kNew), 1U);
  const Seen seen = world.Send(ClientUdp());
  EXPECT_EQ(seen.info, CtInfo::kEstablished);
  EXPECT_EQ(seen.connection->mark, 7U);
  EXPECT_TRUE(seen.connection->Has(kAssured));
  EXPECT_EQ(world.Send(ServerUdp()).info, CtInfo::kEstablishedReply);
}

TEST(Request, RefusesWhatTheKernelRefuses) {
  World world;
  ASSERT_EQ(Make(&world, Request(1)), RequestOutcome::kDone);
  EXPECT_EQ(Make(&world, Request(1)), RequestOutcome::kExists);
  ConnectionRequest clash = Request(2);
  clash.reply = *net::Mirror(UdpTuple(1));
  EXPECT_EQ(Make(&world, clash), RequestOutcome::kExists);
  ConnectionRequest expected = Request(3);
  expected.status = kExpected;
  EXPECT_EQ(Make(&world, expected), RequestOutcome::kBusy);
  EXPECT_EQ(world.shared.entries.load(), 1U) << "a refused one leaves nothing behind";
  EXPECT_EQ(world.pool.used(), 1U);
  // The kernel makes room for a new connection before it gives up, but not of assured ones.
  ConnectionRequest assured = Request(4);
  assured.status = kAssured;
  ASSERT_EQ(Make(&world, assured), RequestOutcome::kDone);
  Direction direction{};
  world.tracker.Find(UdpTuple(1), &direction, world.now)->status |= kAssured;
  world.settings.max = 2;
  EXPECT_EQ(Make(&world, Request(5)), RequestOutcome::kFull);
}

TEST(Request, ChangesWhatItNames) {
  World world;
  ASSERT_EQ(Make(&world, Request(1)), RequestOutcome::kDone);
  Direction direction{};
  Connection* connection = world.tracker.Find(UdpTuple(1), &direction, world.now);
  ConnectionRequest change;
  change.timeout = 4'000'000'000;
  EXPECT_EQ(world.tracker.Change(connection, change, world.now), RequestOutcome::kDone);
  EXPECT_EQ(world.Left(*connection), kMostTimeout);
  change = {};
  change.mark = 5;
  change.status = kConfirmed | kFixedTimeout;
  EXPECT_EQ(world.tracker.Change(connection, change, world.now), RequestOutcome::kDone);
  EXPECT_EQ(connection->mark, 5U);
  EXPECT_EQ(world.Left(*connection), kMostTimeout);
  change = {};
  change.timeout = 5;
  EXPECT_EQ(world.tracker.Change(connection, change, world.now), RequestOutcome::kNotPermitted);
  change = {};
  change.status = connection->status | kExpected;
  EXPECT_EQ(world.tracker.Change(connection, change, world.now), RequestOutcome::kBusy);
  EXPECT_EQ(world.observer.Count(ConnEvent::kUpdate), 2U);
}

// A listing while connections come and go: one that stays is met once, whatever happens to others.
TEST(Request, AWalkMeetsWhatStaysExactlyOnce) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    World world(4096);
    net::Rng rng(seed);
    constexpr uint16_t kStaying = 1000;
    for (uint16_t port = 1; port <= 2 * kStaying; ++port) {
      ASSERT_EQ(Make(&world, Request(port)), RequestOutcome::kDone);
    }
    std::map<uint16_t, unsigned> met;
    uint16_t fresh = 10'000;
    uint32_t cursor = 0;
    const auto count = [&met](Connection& c) { ++met[c.original().source_key]; };
    while (!world.tracker.Visit(world.now, 1 + rng.Below(64), &cursor, count)) {
      // Odd ports stay; even ones go, and others take their slots.
      for (unsigned i = rng.Below(30); i > 0; --i) {
        Direction direction{};
        const auto port = static_cast<uint16_t>(2 * (1 + rng.Below(kStaying)));
        Connection* gone = world.tracker.Find(UdpTuple(port), &direction, world.now);
        if (gone != nullptr) world.tracker.Destroy(gone, world.now);
        world.tracker.Reap();
        ASSERT_EQ(Make(&world, Request(fresh++)), RequestOutcome::kDone);
      }
    }
    for (uint16_t port = 1; port <= 2 * kStaying; port += 2) {
      ASSERT_EQ(met[port], 1U) << "port " << port << " with seed " << seed;
    }
    for (const auto& [port, times] : met) ASSERT_LE(times, 1U) << port;
  }
}

}  // namespace
}  // namespace postern::ctrack

// Random traffic over few tuples: whatever comes, the books must balance.
#include "tests/ctrack/fixture.h"

namespace postern::ctrack {
namespace {

using test::Packet;

class Churn {
 public:
  explicit Churn(uint64_t seed) : world_(48), rng_(seed) { world_.settings.max = 40; }

  void Step() {
    switch (rng_.Below(12)) {
      case 0:
        world_.Pass(rng_.Below(40));
        break;
      case 1:
        world_.tracker.Sweep(world_.now, rng_.Below(20));
        break;
      default:
        world_.Pass(0.001 * rng_.Below(3));
        world_.Send(RandomPacket(), net::Hook::kPrerouting, /*dropped=*/rng_.Below(4) == 0);
    }
  }

  void Check() {
    size_t confirmed = 0;
    for (uint32_t slot = 0; slot < world_.pool.high_water(); ++slot) {
      const Connection* connection = world_.pool.At(slot);
      if (connection == nullptr || connection->Has(kDying)) continue;
      ++confirmed;
      ASSERT_TRUE(connection->Has(kConfirmed)) << "no packet is under way";
      for (const Direction direction : {Direction::kOriginal, Direction::kReply}) {
        const TableValue value = world_.table.Lookup(connection->tuple(direction));
        ASSERT_EQ(value.connection(), connection);
        ASSERT_EQ(value.direction(), direction);
      }
    }
    ASSERT_EQ(world_.tracker.size(), confirmed);
    ASSERT_EQ(world_.table.size(), 2 * confirmed);
    ASSERT_EQ(world_.shared.entries.load(), confirmed);
    ASSERT_LE(confirmed, world_.settings.max);
    ASSERT_EQ(world_.observer.Count(ConnEvent::kNew) - world_.observer.Count(ConnEvent::kDestroy),
              confirmed);
  }

  void End() {
    uint32_t cursor = 0;
    ASSERT_TRUE(world_.tracker.Flush(world_.now, 1000, &cursor));
    world_.tracker.Reap();
    Check();
    EXPECT_EQ(world_.pool.used(), 0U);
  }

 private:
  Packet RandomPacket() {
    Packet packet = Datagram();
    if (rng_.Below(3) != 0) return packet;
    // An error about a packet that may or may not have been.
    const bool to_client = rng_.Below(2) == 0;
    return Packet()
        .Ipv4("203.0.113.1", to_client ? kClient : kServer)
        .Icmp(static_cast<uint8_t>(rng_.Below(20)), 0)
        .Quote(packet.Frame(), 20 + rng_.Below(40));
  }

  Packet Datagram() {
    const bool reply = rng_.Below(2) == 0;
    const auto port = static_cast<uint16_t>(1000 + rng_.Below(25));
    Packet packet;
    packet.Ipv4(reply ? kServer : kClient, reply ? kClient : kServer);
    switch (rng_.Below(4)) {
      case 0:
        packet.Udp(reply ? 53 : port, reply ? port : 53);
        break;
      case 1:
        packet.Icmp(reply ? 0 : 8, 0, port);
        break;
      default:
        packet.Tcp(reply ? 80 : port, reply ? port : 80, static_cast<uint8_t>(rng_.Below(64)))
            .Seq(rng_.Below(3) * 1000)
            .Ack(rng_.Below(3) * 1000)
            .Window(static_cast<uint16_t>(rng_.Next()))
            .TcpOptions(RandomOptions());
    }
    return packet.PayloadLength(rng_.Below(50));
  }

  test::Bytes RandomOptions() {
    test::Bytes options(rng_.Below(41));
    for (uint8_t& byte : options) byte = static_cast<uint8_t>(rng_.Below(12));
    return options;
  }

  World world_;
  net::Rng rng_;
};

TEST(Churn, TheBooksBalance) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Churn churn(seed);
    for (int step = 0; step < 3000; ++step) {
      churn.Step();
      if (step % 50 == 0) churn.Check();
      if (testing::Test::HasFatalFailure()) return;
    }
    churn.End();
  }
}

}  // namespace
}  // namespace postern::ctrack

#include "dataplane/route/icmp_error.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "dataplane/net/checksum.h"
#include "tests/support/heap_pool.h"

namespace postern::route {
namespace {

using net::Family;
using test::Packet;

constexpr const char* kHost = "192.0.2.10";
constexpr const char* kServer = "198.51.100.20";
constexpr const char* kHost6 = "2001:db8:1::10";
constexpr const char* kServer6 = "2001:db8:2::20";

net::IpAddress Router() { return net::IpAddress::V4(0xc0000201); }
net::IpAddress Router6() { return *net::ParseAddress(Family::kIpv6, "2001:db8:1::1"); }

test::Bytes Datagram(const net::Packet& packet) { return {packet.L3(), packet.L3End()}; }

TEST(IcmpErrorTest, Ipv4LooksAsTheKernelsDoes) {
  test::HeapPool pool;
  net::Packet offending =
      pool.Take(Packet().Ipv4(kHost, kServer).Tos(0xff).Udp(1000, 2000).PayloadLength(20));
  net::Packet error;
  ASSERT_TRUE(
      BuildIcmpError(&pool, offending, {net::kIcmpUnreachable, 4, 1400}, Router(), 77, &error));
  const auto* ip = error.At<net::Ipv4Header>(error.ip.l3_offset);
  EXPECT_EQ(ip->version_ihl, 0x45);
  EXPECT_EQ(ip->tos, 0xde);  // (tos & 0x1e) | internetwork control
  EXPECT_EQ(ip->id.Host(), 77);
  EXPECT_EQ(ip->fragment.Host(), 0);
  EXPECT_EQ(ip->ttl, 64);
  EXPECT_EQ(error.ip.source, Router());
  EXPECT_EQ(error.ip.destination, offending.ip.source);
  EXPECT_EQ(error.ip.icmp_type, 3);
  EXPECT_EQ(error.ip.icmp_code, 4);
  EXPECT_EQ(error.At<net::IcmpHeader>(error.ip.l4_offset)->sequence.Host(), 1400);
  EXPECT_TRUE(net::TransportChecksumValid(error));
  const test::Bytes whole = Datagram(error);
  EXPECT_EQ(test::Bytes(whole.begin() + 28, whole.end()), Datagram(offending));
  pool.Free(&offending);
  pool.Free(&error);
  EXPECT_EQ(pool.lent(), 0U);
}

TEST(IcmpErrorTest, QuotesAsMuchAsTheMinimumMtuHolds) {
  test::HeapPool pool;
  net::Packet big = pool.Take(Packet().Ipv4(kHost, kServer).Udp(1, 2).PayloadLength(1400));
  net::Packet big6 = pool.Take(Packet().Ipv6(kHost6, kServer6).Udp(1, 2).PayloadLength(1400));
  net::Packet error, error6;
  ASSERT_TRUE(BuildIcmpError(&pool, big, {net::kIcmpTimeExceeded, 0, 0}, Router(), 1, &error));
  ASSERT_TRUE(
      BuildIcmpError(&pool, big6, {net::kIcmpv6PacketTooBig, 0, 1280}, Router6(), 1, &error6));
  EXPECT_EQ(error.ip.l3_length, 576U);
  EXPECT_EQ(error6.ip.l3_length, 1280U);
  EXPECT_EQ(error6.ip.ttl, 64);
  EXPECT_EQ(error6.ip.tos, 0);
  EXPECT_TRUE(net::TransportChecksumValid(error6));
  EXPECT_EQ(error6.At<net::Be32>(error6.ip.l4_offset + 4U)->Host(), 1280U);
  pool.Free(&big);
  pool.Free(&big6);
  pool.Free(&error);
  pool.Free(&error6);
}

TEST(IcmpErrorTest, APointerIsTheFirstByte) {
  test::HeapPool pool;
  net::Packet offending = pool.Take(Packet().Ipv4(kHost, kServer).Udp(1, 2));
  net::Packet error;
  ASSERT_TRUE(
      BuildIcmpError(&pool, offending, {net::kIcmpParameterProblem, 0, 20}, Router(), 1, &error));
  EXPECT_EQ(error.L4()[4], 20);
  pool.Free(&offending);
  pool.Free(&error);
}

TEST(IcmpErrorTest, NeverAnswersWhatMustNotBeAnswered) {
  struct Row {
    const char* name;
    Packet packet;
    bool may;
  };
  const auto icmp = [](uint8_t type) { return Packet().Ipv4(kHost, kServer).Icmp(type); };
  const auto icmp6 = [](uint8_t type) { return Packet().Ipv6(kHost6, kServer6).Icmpv6(type); };
  const Row rows[] = {
      {"UDP", Packet().Ipv4(kHost, kServer).Udp(1, 2), true},
      {"RST", Packet().Ipv4(kHost, kServer).Tcp(1, 2, net::kTcpRst), true},
      {"echo", icmp(8), true},
      {"timestamp", icmp(13), true},
      {"unreachable", icmp(3), false},
      {"redirect", icmp(5), false},
      {"time exceeded", icmp(11), false},
      {"router advertisement", icmp(9), false},
      {"unknown ICMP", icmp(19), false},
      {"ICMP without a type", Packet().Ipv4(kHost, kServer).Raw(1), false},
      {"first fragment",
       Packet().Ipv4(kHost, kServer).Fragment(1, 0, true).Raw(17).PayloadLength(8), true},
      {"later fragment",
       Packet().Ipv4(kHost, kServer).Fragment(1, 8, false).Raw(17).PayloadLength(8), false},
      {"to a multicast", Packet().Ipv4(kHost, "224.0.0.5").Udp(1, 2), false},
      {"to all", Packet().Ipv4(kHost, "255.255.255.255").Udp(1, 2), false},
      {"from nobody", Packet().Ipv4("0.0.0.0", kServer).Udp(1, 2), false},
      {"from a multicast", Packet().Ipv4("224.0.0.5", kServer).Udp(1, 2), false},
      {"broadcast frame",
       Packet().Eth("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff").Ipv4(kHost, kServer).Udp(1, 2),
       false},
      {"UDP over IPv6", Packet().Ipv6(kHost6, kServer6).Udp(1, 2), true},
      {"echo over IPv6", icmp6(128), true},
      {"packet too big", icmp6(2), false},
      {"unknown ICMPv6 error", icmp6(100), false},
      {"from ::", Packet().Ipv6("::", kServer6).Udp(1, 2), false},
      {"to ff02::1", Packet().Ipv6(kHost6, "ff02::1").Udp(1, 2), false},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(MayAnswerWithError(*row.packet.Build(), IcmpError{}), row.may) << row.name;
  }
}

TEST(IcmpErrorTest, OnlyPacketTooBigAnswersAMulticast) {
  test::HeapPool pool;
  net::Packet offending = pool.Take(Packet().Ipv6(kHost6, "ff0e::1").Udp(1, 2));
  net::Packet error;
  EXPECT_FALSE(
      BuildIcmpError(&pool, offending, {net::kIcmpv6TimeExceeded, 0, 0}, Router6(), 1, &error));
  ASSERT_TRUE(
      BuildIcmpError(&pool, offending, {net::kIcmpv6PacketTooBig, 0, 1280}, Router6(), 1, &error));
  pool.Free(&offending);
  pool.Free(&error);
}

TEST(IcmpErrorTest, WithoutABufferNothingHappens) {
  test::HeapPool pool;
  net::Packet offending = pool.Take(Packet().Ipv4(kHost, kServer).Udp(1, 2));
  pool.set_limit(1);
  net::Packet error;
  EXPECT_FALSE(
      BuildIcmpError(&pool, offending, {net::kIcmpUnreachable, 1, 0}, Router(), 1, &error));
  EXPECT_EQ(error.buffer, nullptr);
  pool.Free(&offending);
}

// ---- resets ----

struct ResetRow {
  uint8_t flags;
  uint32_t seq, ack;
  size_t payload;
  uint8_t reset_flags;
  uint32_t reset_seq, reset_ack;
};

TEST(TcpResetTest, NumbersFollowTheOffendingSegment) {
  using net::kTcpAck, net::kTcpFin, net::kTcpRst, net::kTcpSyn;
  const ResetRow rows[] = {
      {kTcpSyn, 1000, 0, 0, kTcpRst | kTcpAck, 0, 1001},
      {kTcpSyn | kTcpFin, 1000, 0, 0, kTcpRst | kTcpAck, 0, 1002},
      {0, 1000, 0, 50, kTcpRst | kTcpAck, 0, 1050},
      {kTcpSyn, 0xffffffff, 0, 0, kTcpRst | kTcpAck, 0, 0},
      {kTcpAck, 1000, 5000, 50, kTcpRst, 5000, 0},
      {kTcpSyn | kTcpAck, 1000, 5000, 0, kTcpRst, 5000, 0},
  };
  for (const bool v4 : {true, false}) {
    for (const ResetRow& row : rows) {
      test::HeapPool pool;
      Packet builder;
      v4 ? builder.Ipv4(kHost, kServer) : builder.Ipv6(kHost6, kServer6);
      builder.Tcp(1234, 80, row.flags).Seq(row.seq).Ack(row.ack).Mss(1460);
      net::Packet offending = pool.Take(builder.PayloadLength(row.payload));
      net::Packet reset;
      ASSERT_TRUE(BuildTcpReset(&pool, offending, 99, &reset));
      const auto* tcp = reset.At<net::TcpHeader>(reset.ip.l4_offset);
      EXPECT_EQ(tcp->flags, row.reset_flags);
      EXPECT_EQ(tcp->sequence.Host(), row.reset_seq);
      EXPECT_EQ(tcp->acknowledgement.Host(), row.reset_ack);
      EXPECT_EQ(tcp->window.Host(), 0);
      EXPECT_EQ(reset.ip.source, offending.ip.destination);
      EXPECT_EQ(reset.ip.destination, offending.ip.source);
      EXPECT_EQ(reset.ip.source_port, 80);
      EXPECT_EQ(reset.ip.destination_port, 1234);
      EXPECT_EQ(reset.ip.ttl, 64);
      EXPECT_EQ(reset.ip.tos, 0);
      EXPECT_EQ(reset.ip.dont_fragment, v4);
      if (v4) {
        EXPECT_EQ(reset.ip.fragment_id, 0U);
      }
      EXPECT_TRUE(net::TransportChecksumValid(reset));
      pool.Free(&offending);
      pool.Free(&reset);
    }
  }
}

TEST(TcpResetTest, SomeSegmentsGetNone) {
  const Packet rows[] = {
      Packet().Ipv4(kHost, kServer).Tcp(1, 2, net::kTcpRst),
      Packet().Ipv4(kHost, kServer).Tcp(1, 2, net::kTcpSyn).BadChecksum(),
      Packet().Ipv4(kHost, kServer).Udp(1, 2),
      Packet().Ipv4(kHost, kServer).Raw(6).PayloadLength(19),
      Packet().Ipv4(kHost, "224.0.0.1").Tcp(1, 2, net::kTcpSyn),
      Packet().Ipv6(kHost6, "ff02::1").Tcp(1, 2, net::kTcpSyn),
  };
  test::HeapPool pool;
  for (const Packet& row : rows) {
    net::Packet reset;
    EXPECT_FALSE(BuildTcpReset(&pool, *row.Build(), 1, &reset));
  }
  EXPECT_EQ(pool.lent(), 0U);
}

// ---- rate limits ----

TEST(IcmpRateLimiterTest, ADestinationHasABurstOfSixThenOneASecond) {
  IcmpRateLimiter limiter(1);
  net::Time now = 1000 * net::kSecond;
  const auto allowed = [&](int tries) {
    int count = 0;
    for (int i = 0; i < tries; ++i) {
      count += limiter.Allow(Family::kIpv4, Router(), net::kIcmpUnreachable, now) ? 1 : 0;
    }
    return count;
  };
  EXPECT_EQ(allowed(10), 6);
  now += net::kSecond - 1;
  EXPECT_EQ(allowed(5), 0);
  now += 1;
  EXPECT_EQ(allowed(5), 1);
  now += 100 * net::kSecond;
  EXPECT_EQ(allowed(10), 6);
}

// Times of day, as replay has them, don't fit into a bucket whole.
TEST(IcmpRateLimiterTest, OfNoRouteFiveAreToldAtOnceThenOneASecond) {
  IcmpRateLimiter limiter(1);
  const net::IpAddress source = *net::ParseAddress(net::Family::kIpv4, kHost);
  net::Time now = 1795297857 * net::kSecond;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(limiter.AllowUnroutable(source, now)) << i;
  EXPECT_FALSE(limiter.AllowUnroutable(source, now));
  now += net::kSecond;
  EXPECT_TRUE(limiter.AllowUnroutable(source, now));
  EXPECT_FALSE(limiter.AllowUnroutable(source, now));
  // What is spent is spent of the same credit.
  EXPECT_FALSE(limiter.Allow(net::Family::kIpv4, source, net::kIcmpUnreachable, now));
}

TEST(IcmpRateLimiterTest, Ipv6HasFourASecond) {
  IcmpRateLimiter limiter(1);
  net::Time now = 1000 * net::kSecond;
  int count = 0;
  for (int i = 0; i < 10; ++i) {
    count += limiter.Allow(Family::kIpv6, Router6(), net::kIcmpv6Unreachable, now) ? 1 : 0;
  }
  EXPECT_EQ(count, 6);
  now += net::kSecond / 4;
  EXPECT_TRUE(limiter.Allow(Family::kIpv6, Router6(), net::kIcmpv6Unreachable, now));
  EXPECT_FALSE(limiter.Allow(Family::kIpv6, Router6(), net::kIcmpv6Unreachable, now));
}

TEST(IcmpRateLimiterTest, SomeTypesAreNeverLimited) {
  IcmpRateLimiter limiter(1);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(limiter.Allow(Family::kIpv4, Router(), net::kIcmpEchoReply, 1));
    ASSERT_TRUE(limiter.Allow(Family::kIpv6, Router6(), net::kIcmpv6PacketTooBig, 1));
    ASSERT_TRUE(limiter.Allow(Family::kIpv6, Router6(), net::kIcmpv6EchoReply, 1));
  }
}

TEST(IcmpRateLimiterTest, OverAllDestinationsTheBurstIsFiftyAndBlurred) {
  int counts[8] = {};
  bool differ = false;
  for (int seed = 0; seed < 8; ++seed) {
    IcmpRateLimiter limiter(static_cast<uint64_t>(seed));
    for (uint32_t host = 0; host < 500; ++host) {
      counts[seed] += limiter.Allow(Family::kIpv4, net::IpAddress::V4(0xc6336400 + host),
                                    net::kIcmpUnreachable, net::kSecond)
                          ? 1
                          : 0;
    }
    EXPECT_GE(counts[seed], 25);
    EXPECT_LE(counts[seed], 100);
    differ |= counts[seed] != counts[0];
  }
  EXPECT_TRUE(differ);
}

TEST(IcmpRateLimiterTest, TheGlobalBucketFillsInStepsOfTwentyMilliseconds) {
  IcmpRateLimiter limiter(3);
  net::Time now = net::kSecond;
  uint32_t host = 0;
  const auto drain = [&] {
    int count = 0;
    while (limiter.Allow(Family::kIpv4, net::IpAddress::V4(0xc6336400 + host++),
                         net::kIcmpUnreachable, now)) {
      ++count;
    }
    return count;
  };
  EXPECT_GT(drain(), 0);
  now += 19 * net::kMillisecond;
  EXPECT_EQ(drain(), 0);
  now += 1 * net::kMillisecond;
  EXPECT_GE(drain(), 10);  // 20 tokens of at most 2 each
}

// Each token is given once, however many workers ask for it.
TEST(IcmpRateLimiterTest, WorkersShareOneBurst) {
  IcmpRateLimiter limiter(1);
  std::atomic<int> allowed{0};
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([&] {
      for (int n = 0; n < 2000; ++n) {
        const net::Time now = net::kSecond + static_cast<net::Time>(n) * net::kMillisecond / 2;
        if (limiter.Allow(Family::kIpv4, Router(), net::kIcmpUnreachable, now)) ++allowed;
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  // The second that would bring another one isn't over.
  EXPECT_EQ(allowed.load(), 6);
}

}  // namespace
}  // namespace postern::route

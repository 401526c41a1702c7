#include "nat/rewrite.h"

#include <gtest/gtest.h>

#include "dataplane/net/checksum.h"
#include "dataplane/net/random.h"
#include "tests/support/packet_builder.h"
#include "tests/support/sample_frames.h"

namespace postern::nat {
namespace {

using Frame = test::Packet;
using net::Family;
using net::IpAddress;
using net::Manip;
using net::Mirror;
using net::Packet;
using net::Tuple;
using net::TupleOf;
using test::Bytes;
using test::OwnedPacket;

constexpr std::string_view kLan4 = "192.168.1.101", kWan4 = "203.0.113.2", kWeb4 = "198.51.100.7";
constexpr std::string_view kRouter4 = "198.51.100.254";
constexpr std::string_view kLan6 = "fd00::101", kWan6 = "2001:db8:1::2", kWeb6 = "2001:db8:2::7";
constexpr std::string_view kRouter6 = "2001:db8:2::fe";

IpAddress Address(Family family, std::string_view text) { return *net::ParseAddress(family, text); }
std::string_view Lan(Family f) { return f == Family::kIpv4 ? kLan4 : kLan6; }
std::string_view Wan(Family f) { return f == Family::kIpv4 ? kWan4 : kWan6; }
std::string_view Web(Family f) { return f == Family::kIpv4 ? kWeb4 : kWeb6; }
std::string_view Router(Family f) { return f == Family::kIpv4 ? kRouter4 : kRouter6; }

Frame From(Family family, std::string_view source, std::string_view destination) {
  return family == Family::kIpv4 ? Frame().Ipv4(source, destination)
                                 : Frame().Ipv6(source, destination);
}

// What a fresh parse says, to compare with the ParsedPacket that was kept in step.
void ExpectInStep(const Packet& packet) {
  Packet fresh = packet;
  ASSERT_EQ(net::Parse(&fresh).kind, net::FrameKind::kIp);  // the IPv4 checksum is right, too
  EXPECT_EQ(fresh.ip.source, packet.ip.source);
  EXPECT_EQ(fresh.ip.destination, packet.ip.destination);
  EXPECT_EQ(fresh.ip.source_port, packet.ip.source_port);
  EXPECT_EQ(fresh.ip.destination_port, packet.ip.destination_port);
  EXPECT_EQ(fresh.ip.icmp_id, packet.ip.icmp_id);
  EXPECT_EQ(fresh.ip.gre_key, packet.ip.gre_key);
}

Tuple RandomTarget(const Tuple& like, net::Rng& rng) {
  Tuple target = like;
  const size_t width = like.family == Family::kIpv4 ? 4 : 16;
  for (size_t i = 0; i < width; ++i) {
    target.source.bytes[i] = static_cast<uint8_t>(rng.Next());
    target.destination.bytes[i] = static_cast<uint8_t>(rng.Next());
  }
  // Values at which one's complement has two zeros come up often.
  const uint16_t extremes[] = {0, 1, 0xfffe, 0xffff};
  const auto key = [&] {
    return rng.Below(2) == 0 ? extremes[rng.Below(4)] : static_cast<uint16_t>(rng.Next());
  };
  target.source_key = key();
  if (net::HasPorts(like.protocol)) target.destination_key = key();
  return target;
}

// ---- ordinary packets ----

TEST(RewriteTest, SourceAndDestination) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    OwnedPacket packet =
        From(family, Lan(family), Web(family)).Tcp(40000, 80, net::kTcpSyn).Mss(1460).Build(true);
    Tuple target = *TupleOf(packet->ip);
    target.source = Address(family, Wan(family));
    target.source_key = 1025;
    target.destination_key = 9999;  // the other half isn't touched
    ASSERT_TRUE(Rewrite(&*packet, Manip::kSource, target));
    const Bytes want =
        From(family, Wan(family), Web(family)).Tcp(1025, 80, net::kTcpSyn).Mss(1460).Frame();
    EXPECT_EQ(packet.Frame(), want);
    ExpectInStep(*packet);

    packet = From(family, Web(family), Wan(family)).Udp(53, 1025).Payload("answer").Build(true);
    target = *TupleOf(packet->ip);
    target.destination = Address(family, Lan(family));
    target.destination_key = 40000;
    target.source_key = 9999;
    ASSERT_TRUE(Rewrite(&*packet, Manip::kDestination, target));
    EXPECT_EQ(packet.Frame(),
              From(family, Web(family), Lan(family)).Udp(53, 40000).Payload("answer").Frame());
    ExpectInStep(*packet);
  }
}

TEST(RewriteTest, QueryId) {
  OwnedPacket packet = From(Family::kIpv4, kLan4, kWeb4).Icmp(8, 0, 77, 5).Payload("x").Build(true);
  Tuple target = *TupleOf(packet->ip);
  target.source = Address(Family::kIpv4, kWan4);
  target.source_key = 1234;
  ASSERT_TRUE(Rewrite(&*packet, Manip::kSource, target));
  EXPECT_EQ(packet.Frame(),
            From(Family::kIpv4, kWan4, kWeb4).Icmp(8, 0, 1234, 5).Payload("x").Frame());
  ExpectInStep(*packet);

  // The answer: its destination changes, and the id with it.
  packet = From(Family::kIpv6, kWeb6, kWan6).Icmpv6(129, 0, 1234, 5).Payload("x").Build(true);
  target = *TupleOf(packet->ip);
  target.destination = Address(Family::kIpv6, kLan6);
  target.source_key = 77;
  ASSERT_TRUE(Rewrite(&*packet, Manip::kDestination, target));
  EXPECT_EQ(packet.Frame(),
            From(Family::kIpv6, kWeb6, kLan6).Icmpv6(129, 0, 77, 5).Payload("x").Frame());
  ExpectInStep(*packet);
}

// The oracle: a checksum that was right is right afterwards, by full recomputation, and has
// the very value that a recomputation gives.
TEST(RewriteTest, ChecksumsEqualRecomputation) {
  net::Rng rng(11);
  const std::vector<Bytes> samples = test::SampleFrames();
  int rewritten = 0;
  for (int round = 0; round < 40000; ++round) {
    OwnedPacket packet(samples[rng.Below(static_cast<uint32_t>(samples.size()))], true);
    ASSERT_EQ(net::Parse(&*packet).kind, net::FrameKind::kIp);
    const auto tuple = TupleOf(packet->ip);
    if (!tuple || !Mirror(*tuple)) continue;
    if (packet->ip.more_fragments) continue;  // its checksum covers what isn't here
    if (!net::TransportChecksumValid(*packet)) continue;
    const Tuple target = RandomTarget(*tuple, rng);
    const Manip manip = rng.Below(2) == 0 ? Manip::kSource : Manip::kDestination;
    const bool had_none = packet->ip.protocol == net::kProtoUdp &&
                          packet->At<net::UdpHeader>(packet->ip.l4_offset)->checksum.Host() == 0;
    ASSERT_TRUE(Rewrite(&*packet, manip, target));
    ++rewritten;
    ExpectInStep(*packet);
    ASSERT_TRUE(net::TransportChecksumValid(*packet)) << net::ToString(target);
    const Bytes updated = packet.Frame();
    if (had_none) {
      ASSERT_EQ(packet->At<net::UdpHeader>(packet->ip.l4_offset)->checksum.Host(), 0);
      continue;
    }
    net::SetTransportChecksum(&*packet);
    if (packet->ip.family == Family::kIpv4) {
      net::SetIpv4Checksum(packet->At<net::Ipv4Header>(packet->ip.l3_offset));
    }
    ASSERT_EQ(packet.Frame(), updated) << net::ToString(target);
  }
  EXPECT_GT(rewritten, 5000);
}

TEST(RewriteTest, ThereAndBackIsTheSameFrame) {
  net::Rng rng(12);
  for (const Bytes& sample : test::SampleFrames()) {
    OwnedPacket packet(sample, true);
    net::Parse(&*packet);
    const auto tuple = TupleOf(packet->ip);
    if (!tuple) continue;
    for (const Manip manip : {Manip::kSource, Manip::kDestination}) {
      ASSERT_TRUE(Rewrite(&*packet, manip, RandomTarget(*tuple, rng)));
      ASSERT_TRUE(Rewrite(&*packet, manip, *tuple));
      ASSERT_EQ(packet.Frame(), sample);
    }
  }
}

// CONFORMANCE 21.
TEST(RewriteTest, UdpZeroChecksumStaysZero) {
  OwnedPacket packet =
      From(Family::kIpv4, kLan4, kWeb4).Udp(1, 2).NoUdpChecksum().Payload("abc").Build(true);
  Tuple target = *TupleOf(packet->ip);
  target.source = Address(Family::kIpv4, kWan4);
  target.source_key = 3;
  ASSERT_TRUE(Rewrite(&*packet, Manip::kSource, target));
  EXPECT_EQ(packet.Frame(),
            From(Family::kIpv4, kWan4, kWeb4).Udp(3, 2).NoUdpChecksum().Payload("abc").Frame());
}

TEST(RewriteTest, UdpChecksumThatBecomesZeroIsSentAsAllOnes) {
  OwnedPacket packet = From(Family::kIpv4, kLan4, kWeb4).Udp(1, 2).Payload("abcd").Build(true);
  Tuple target = *TupleOf(packet->ip);
  const auto checksum = [&] { return packet->At<net::UdpHeader>(34)->checksum.Host(); };
  // The port that takes up the whole of the sum.
  target.source_key = static_cast<uint16_t>(1 + checksum());
  ASSERT_TRUE(Rewrite(&*packet, Manip::kSource, target));
  EXPECT_EQ(checksum(), 0xffff);
  EXPECT_TRUE(net::TransportChecksumValid(*packet));
}

// A wrong checksum stays wrong: the receiver must see it.
TEST(RewriteTest, DoesntMendWhatWasBroken) {
  for (const bool tcp : {false, true}) {
    Frame frame = From(Family::kIpv4, kLan4, kWeb4);
    tcp ? frame.Tcp(1, 2, net::kTcpAck) : frame.Udp(1, 2);
    OwnedPacket packet = frame.Payload("abc").BadChecksum().Build(true);
    Tuple target = *TupleOf(packet->ip);
    target.source = Address(Family::kIpv4, kWan4);
    ASSERT_TRUE(Rewrite(&*packet, Manip::kSource, target));
    EXPECT_FALSE(net::TransportChecksumValid(*packet));
  }
}

TEST(RewriteTest, LaterFragmentsGetAddressesOnly) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    OwnedPacket packet = From(family, Lan(family), Web(family))
                             .Fragment(7, 64, false)
                             .Raw(net::kProtoUdp)
                             .PayloadLength(16)
                             .Build(true);
    Tuple target;
    target.family = family;
    target.protocol = net::kProtoUdp;
    target.source = Address(family, Wan(family));
    target.source_key = 1;
    ASSERT_TRUE(Rewrite(&*packet, Manip::kSource, target));
    EXPECT_EQ(packet.Frame(), From(family, Wan(family), Web(family))
                                  .Fragment(7, 64, false)
                                  .Raw(net::kProtoUdp)
                                  .PayloadLength(16)
                                  .Frame());
  }
}

TEST(RewriteTest, CallIdOfEnhancedGreIsTheReceivers) {
  const auto gre = [](std::string_view to, uint8_t id) {
    return From(Family::kIpv4, kWeb4, to).Raw(47).Payload({0x30, 1, 0x88, 0x0b, 0, 0, 0, id});
  };
  OwnedPacket packet = gre(kWan4, 9).Build(true);
  Tuple target = *TupleOf(packet->ip);
  target.destination = Address(Family::kIpv4, kLan4);
  target.destination_key = 5;
  ASSERT_TRUE(Rewrite(&*packet, Manip::kDestination, target));
  EXPECT_EQ(packet.Frame(), gre(kLan4, 5).Frame());
  ExpectInStep(*packet);
  ASSERT_TRUE(Rewrite(&*packet, Manip::kSource, target));
  EXPECT_EQ(packet.Frame(), gre(kLan4, 5).Frame());
}

TEST(RewriteTest, ShortTransportIsLeftAlone) {
  for (const uint8_t protocol :
       {net::kProtoTcp, net::kProtoUdp, net::kProtoSctp, net::kProtoIcmp, net::kProtoGre}) {
    for (size_t length = 0; length < 8; ++length) {
      OwnedPacket packet =
          From(Family::kIpv4, kLan4, kWeb4).Raw(protocol).PayloadLength(length).Build(true);
      const Bytes before = packet.Frame();
      Tuple target;
      target.protocol = protocol;
      EXPECT_FALSE(Rewrite(&*packet, Manip::kSource, target)) << int{protocol} << " " << length;
      EXPECT_EQ(packet.Frame(), before);
    }
  }
}

// ---- ICMP errors ----

struct ErrorCase {
  Family family;
  uint8_t protocol;  // of the connection
  size_t quoted;     // bytes of transport that are quoted
};

// One connection LAN -> web, masqueraded as WAN, with a translated port or id.
class IcmpErrorTest : public testing::TestWithParam<ErrorCase> {
 protected:
  // A packet of the connection, cut as an error would quote it.
  Bytes Quoted(std::string_view source, uint16_t source_key, std::string_view destination) const {
    const ErrorCase& c = GetParam();
    Frame frame = From(c.family, source, destination).Ttl(1);
    switch (c.protocol) {
      case net::kProtoTcp:
        frame.Tcp(source_key, 443, net::kTcpAck).Seq(77);
        break;
      case net::kProtoUdp:
        frame.Udp(source_key, 443);
        break;
      case net::kProtoIcmp:
        frame.Icmp(8, 0, source_key, 3);
        break;
      default:
        frame.Icmpv6(128, 0, source_key, 3);
    }
    Bytes whole = frame.PayloadLength(64).Frame();
    const size_t headers = 14 + (c.family == Family::kIpv4 ? 20U : 40U);
    whole.resize(std::min(whole.size(), headers + c.quoted));
    return whole;
  }
  Frame Error(std::string_view source, std::string_view destination, const Bytes& quoted) const {
    Frame frame = From(GetParam().family, source, destination).Quote(quoted);
    return GetParam().family == Family::kIpv4 ? frame.Icmp(11) : frame.Icmpv6(3);
  }
  Tuple Original() const {
    Tuple tuple;
    tuple.family = f();
    tuple.protocol = GetParam().protocol;
    tuple.source = Address(f(), Lan(f()));
    tuple.destination = Address(f(), Web(f()));
    tuple.source_key = kLanKey;
    tuple.destination_key = 443;
    if (tuple.protocol == net::kProtoIcmp) tuple.destination_key = 8 << 8;
    if (tuple.protocol == net::kProtoIcmpv6) tuple.destination_key = 128 << 8;
    return tuple;
  }
  Tuple Translated() const {
    Tuple tuple = Original();
    tuple.source = Address(f(), Wan(f()));
    tuple.source_key = kWanKey;
    return tuple;
  }
  Family f() const { return GetParam().family; }

  static constexpr uint16_t kLanKey = 40000;
  static constexpr uint16_t kWanKey = 1025;
};

// A router on the far side complains about a translated packet: the client must see its own.
TEST_P(IcmpErrorTest, FromOutside) {
  OwnedPacket packet =
      Error(Router(f()), Wan(f()), Quoted(Wan(f()), kWanKey, Web(f()))).Build(true);
  const Tuple target = *Mirror(Original());  // reply direction: web -> LAN
  ASSERT_TRUE(RewriteIcmpError(&*packet, Manip::kDestination, target));
  EXPECT_EQ(packet.Frame(),
            Error(Router(f()), Lan(f()), Quoted(Lan(f()), kLanKey, Web(f()))).Frame());
  EXPECT_TRUE(net::TransportChecksumValid(*packet));
  ExpectInStep(*packet);
  EXPECT_EQ(net::ParseQuoted(*packet)->tuple, Original());
}

// Echo replies draw no errors: ports only.
class IcmpErrorAboutAnswerTest : public IcmpErrorTest {};

// The client complains about an answer: the server must see what it sent. (Its own error about
// the web server's packet, which came to the LAN address.)
TEST_P(IcmpErrorAboutAnswerTest, FromInside) {
  const auto answer = [&](std::string_view to, uint16_t port) {
    Frame frame = From(f(), Web(f()), to);
    GetParam().protocol == net::kProtoTcp ? frame.Tcp(443, port, net::kTcpAck)
                                          : frame.Udp(443, port);
    Bytes whole = frame.PayloadLength(64).Frame();
    const size_t headers = 14 + (f() == Family::kIpv4 ? 20U : 40U);
    whole.resize(headers + GetParam().quoted);
    return whole;
  };
  OwnedPacket packet = Error(Lan(f()), Web(f()), answer(Lan(f()), kLanKey)).Build(true);
  ASSERT_TRUE(RewriteIcmpError(&*packet, Manip::kSource, Translated()));
  EXPECT_EQ(packet.Frame(), Error(Wan(f()), Web(f()), answer(Wan(f()), kWanKey)).Frame());
  ExpectInStep(*packet);
}

const ErrorCase kPorts[] = {
    {Family::kIpv4, net::kProtoTcp, 8},  {Family::kIpv4, net::kProtoTcp, 16},
    {Family::kIpv4, net::kProtoTcp, 20}, {Family::kIpv4, net::kProtoTcp, 60},
    {Family::kIpv4, net::kProtoUdp, 8},  {Family::kIpv4, net::kProtoUdp, 33},
    {Family::kIpv6, net::kProtoTcp, 8},  {Family::kIpv6, net::kProtoTcp, 84},
    {Family::kIpv6, net::kProtoUdp, 8},  {Family::kIpv6, net::kProtoUdp, 72}};
const ErrorCase kQueries[] = {{Family::kIpv4, net::kProtoIcmp, 8},
                              {Family::kIpv4, net::kProtoIcmp, 72},
                              {Family::kIpv6, net::kProtoIcmpv6, 8},
                              {Family::kIpv6, net::kProtoIcmpv6, 72}};
INSTANTIATE_TEST_SUITE_P(Ports, IcmpErrorTest, testing::ValuesIn(kPorts));
INSTANTIATE_TEST_SUITE_P(Queries, IcmpErrorTest, testing::ValuesIn(kQueries));
INSTANTIATE_TEST_SUITE_P(Ports, IcmpErrorAboutAnswerTest, testing::ValuesIn(kPorts));

// netfilter mends a quoted TCP checksum where the whole header is quoted, not where just its bytes
// are.
TEST(RewriteIcmpErrorTest, ChecksumOfAHalfQuotedTcpHeaderIsLeft) {
  const Bytes quoted = From(Family::kIpv4, kWan4, kWeb4).Tcp(1025, 80, net::kTcpAck).Frame();
  OwnedPacket packet =
      From(Family::kIpv4, kRouter4, kWan4).Icmp(3, 1).Quote(quoted, 20 + 19).Build(true);
  Tuple target;
  target.protocol = net::kProtoTcp;
  target.source = Address(Family::kIpv4, kWeb4);
  target.destination = Address(Family::kIpv4, kLan4);
  target.source_key = 80;
  target.destination_key = 40000;
  ASSERT_TRUE(RewriteIcmpError(&*packet, Manip::kDestination, target));
  const auto inner = net::ParseQuoted(*packet);
  ASSERT_TRUE(inner);
  EXPECT_EQ(inner->tuple.source_key, 40000);
  const uint8_t* checksum = packet->data + inner->l4_offset + 16;
  EXPECT_TRUE(std::equal(checksum, checksum + 2, quoted.begin() + 34 + 16));
}

// The quoted IPv4 header has options, the quoted UDP packet no checksum.
TEST(RewriteIcmpErrorTest, QuotedOptionsAndZeroChecksum) {
  const auto quoted = [](std::string_view source, uint16_t port) {
    return From(Family::kIpv4, source, kWeb4)
        .IpOptions({7, 7, 4, 0, 0, 0, 0})
        .Udp(port, 53)
        .NoUdpChecksum()
        .Payload("abc")
        .Frame();
  };
  OwnedPacket packet =
      From(Family::kIpv4, kRouter4, kWan4).Icmp(3, 1).Quote(quoted(kWan4, 1025)).Build(true);
  Tuple target;
  target.protocol = net::kProtoUdp;
  target.source = Address(Family::kIpv4, kWeb4);
  target.destination = Address(Family::kIpv4, kLan4);
  target.source_key = 53;
  target.destination_key = 40000;
  ASSERT_TRUE(RewriteIcmpError(&*packet, Manip::kDestination, target));
  EXPECT_EQ(packet.Frame(),
            From(Family::kIpv4, kRouter4, kLan4).Icmp(3, 1).Quote(quoted(kLan4, 40000)).Frame());
}

TEST(RewriteIcmpErrorTest, RefusesWhatNetfilterDrops) {
  const Bytes quoted = From(Family::kIpv4, kWan4, kWeb4).Udp(1025, 53).Payload("abc").Frame();
  Tuple target;
  target.protocol = net::kProtoUdp;
  target.source = Address(Family::kIpv4, kWeb4);
  target.destination = Address(Family::kIpv4, kLan4);
  target.source_key = 53;
  target.destination_key = 40000;
  const auto error = [] { return From(Family::kIpv4, kRouter4, kWan4).Icmp(3, 1); };
  const struct {
    const char* name;
    Frame frame;
    bool accepted;
  } kRows[] = {
      {"whole", error().Quote(quoted), true},
      {"28 bytes", error().Quote(quoted, 28), true},
      {"27 bytes", error().Quote(quoted, 27), false},
      {"24 bytes", error().Quote(quoted, 24), false},
      {"nothing", error(), false},
      {"wrong checksum", error().Quote(quoted).BadChecksum(), false},
      {"redirect", From(Family::kIpv4, kRouter4, kWan4).Icmp(5).Quote(quoted), false},
      {"no error", From(Family::kIpv4, kRouter4, kWan4).Icmp(8).Quote(quoted), false},
      {"UDP", From(Family::kIpv4, kRouter4, kWan4).Udp(1, 2).Quote(quoted), false},
  };
  for (const auto& row : kRows) {
    OwnedPacket packet = row.frame.Build(true);
    const Bytes before = packet.Frame();
    EXPECT_EQ(RewriteIcmpError(&*packet, Manip::kDestination, target), row.accepted) << row.name;
    if (!row.accepted) {
      EXPECT_EQ(packet.Frame(), before) << row.name;
    }
  }
}

// ---- whatever comes ----

TEST(RewriteRobustnessTest, MutatedAndCutFrames) {
  net::Rng rng(13);
  const std::vector<Bytes> samples = test::SampleFrames();
  for (int round = 0; round < 60000; ++round) {
    const Bytes frame =
        test::Mutate(samples[rng.Below(static_cast<uint32_t>(samples.size()))], &rng);
    OwnedPacket packet(frame, true);
    if (net::Parse(&*packet).kind != net::FrameKind::kIp) continue;
    Tuple like;
    like.family = packet->ip.family;
    like.protocol = packet->ip.protocol;
    if (const auto quoted = net::ParseQuoted(*packet)) {
      like = quoted->tuple;
      net::SetTransportChecksum(&*packet);
    }
    const Tuple target = RandomTarget(like, rng);
    const Manip manip = rng.Below(2) == 0 ? Manip::kSource : Manip::kDestination;
    RewriteIcmpError(&*packet, manip, target);
    Rewrite(&*packet, manip, target);
  }
}

}  // namespace
}  // namespace postern::nat

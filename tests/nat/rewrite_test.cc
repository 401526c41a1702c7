#include "nat/rewrite.h"

#include "tests/nat/rewrite_fixture.h"
#include "tests/support/sample_frames.h"

namespace postern::nat {
namespace {

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

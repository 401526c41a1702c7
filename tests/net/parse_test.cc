#include "dataplane/net/parse.h"

#include <gtest/gtest.h>

#include "dataplane/net/checksum.h"
#include "dataplane/net/tuple.h"
#include "tests/net/queries.h"
#include "tests/support/sample_frames.h"

namespace postern::net {
namespace {

// ---- what is refused ----

TEST(ParseTest, RefusesWithAReason) {
  const struct {
    const char* name;
    Frame frame;
    DropReason reason;
  } kRows[] = {
      {"whole", Udp4(), DropReason::kNone},
      {"whole v6", Udp6(), DropReason::kNone},
      {"no Ethernet header", Udp4().TruncateTo(13), DropReason::kFrameTooShort},
      {"empty", Udp4().TruncateTo(0), DropReason::kFrameTooShort},
      {"VLAN", Udp4().EtherType(0x8100), DropReason::kVlanTagged},
      {"QinQ", Udp4().EtherType(0x88a8), DropReason::kVlanTagged},
      {"LLDP", Udp4().EtherType(0x88cc), DropReason::kUnknownEtherType},
      {"802.3 length", Udp4().EtherType(46), DropReason::kUnknownEtherType},
      {"ARP of UDP bytes", Udp4().EtherType(0x0806), DropReason::kArpMalformed},
      {"half an IPv4 header", Udp4().TruncateTo(33), DropReason::kIpTruncated},
      {"cut payload", Udp4().TruncateTo(46), DropReason::kIpTruncated},
      {"bad header checksum", Udp4().BadIpChecksum(), DropReason::kIpChecksum},
      {"total length below the header", Udp4().IpLengthAs(19), DropReason::kIpHeaderInvalid},
      {"total length beyond the frame", Udp4().IpLengthAs(34), DropReason::kIpTruncated},
      {"IPv6 in an IPv4 frame", Udp6().EtherType(0x0800), DropReason::kIpHeaderInvalid},
      {"IPv4 in an IPv6 frame", Udp4().PadTo(60).EtherType(0x86dd), DropReason::kIpHeaderInvalid},
      {"half an IPv6 header", Udp6().TruncateTo(53), DropReason::kIpTruncated},
      {"cut IPv6 payload", Udp6().TruncateTo(66), DropReason::kIpTruncated},
      {"payload length beyond the frame", Udp6().IpLengthAs(14), DropReason::kIpTruncated},
      {"jumbogram", Udp6().Extension(kProtoHopByHop, {0, 0xc2, 4, 0, 1, 0, 0}).IpLengthAs(0),
       DropReason::kIpv6HeaderChain},
      {"extension beyond the datagram",
       Frame().Ipv6(kA6, kB6).Extension(kProtoHopByHop, {1, 1, 4, 0, 0, 0, 0}).Raw(17),
       DropReason::kIpv6HeaderChain},
  };
  for (const auto& row : kRows) {
    const OwnedPacket packet = row.frame.Build(true);
    EXPECT_EQ(packet.parse.reason, row.reason) << row.name << ": " << ToString(packet.parse.reason);
    EXPECT_EQ(packet.parse.kind == FrameKind::kIp, row.reason == DropReason::kNone) << row.name;
  }
}

TEST(ParseTest, RefusesShortIhlAndOtherVersions) {
  for (const uint8_t version_ihl : {0x44, 0x40, 0x35, 0x55, 0x65}) {
    Bytes frame = Udp4().Frame();
    frame[14] = version_ihl;
    OwnedPacket packet(frame, true);
    EXPECT_EQ(Parse(&*packet).reason, DropReason::kIpHeaderInvalid) << int{version_ihl};
  }
  Bytes frame = Udp4().TruncateTo(50).Frame();
  frame[14] = 0x4f;  // 60 bytes of header
  OwnedPacket packet(frame, true);
  EXPECT_EQ(Parse(&*packet).reason, DropReason::kIpTruncated);
}

TEST(ParseTest, ArpNeedsItsWholeHeader) {
  Bytes arp(42);
  arp[12] = 0x08;
  arp[13] = 0x06;
  const uint8_t header[] = {0, 1, 8, 0, 6, 4, 0, 1};
  std::copy(std::begin(header), std::end(header), arp.begin() + 14);
  OwnedPacket whole(arp, true);
  EXPECT_EQ(Parse(&*whole).kind, FrameKind::kArp);
  arp.pop_back();
  OwnedPacket cut(arp, true);
  EXPECT_EQ(Parse(&*cut).reason, DropReason::kArpMalformed);
}

// ---- what is read ----

TEST(ParseTest, ReadsIpv4) {
  const OwnedPacket packet = Frame()
                                 .Ipv4(kA4, kB4)
                                 .Tos(0xb8)
                                 .Ttl(3)
                                 .Id(0x1234)
                                 .DontFragment()
                                 .Tcp(40000, 80, kTcpSyn | kTcpEce)
                                 .Mss(1460)
                                 .Payload("hello")
                                 .PadTo(100)
                                 .Build(true);
  const ParsedPacket& ip = packet->ip;
  ASSERT_EQ(packet.parse.kind, FrameKind::kIp);
  EXPECT_EQ(ip.family, Family::kIpv4);
  EXPECT_EQ(ip.protocol, kProtoTcp);
  EXPECT_EQ(ip.tos, 0xb8);
  EXPECT_EQ(ip.ttl, 3);
  EXPECT_EQ(ip.l3_offset, 14);
  EXPECT_EQ(ip.l4_offset, 34);
  EXPECT_EQ(ip.l3_length, 20U + 24 + 5);  // padding left out
  EXPECT_EQ(ip.L4Length(), 29U);
  EXPECT_EQ(ip.payload_offset, 34 + 24);
  EXPECT_EQ(ToString(ip.family, ip.source), kA4);
  EXPECT_EQ(ToString(ip.family, ip.destination), kB4);
  EXPECT_TRUE(ip.dont_fragment);
  EXPECT_FALSE(ip.fragment);
  EXPECT_EQ(ip.fragment_id, 0x1234U);
  EXPECT_TRUE(ip.l4_valid && ip.l4_header);
  EXPECT_EQ(ip.tcp_flags, kTcpSyn | kTcpEce);
  EXPECT_EQ(ip.source_port, 40000);
  EXPECT_EQ(ip.destination_port, 80);
  EXPECT_FALSE(ip.has_options);
}

TEST(ParseTest, ReadsIpv6BehindItsExtensions) {
  const OwnedPacket packet =
      Frame()
          .Ipv6(kA6, kB6)
          .Tos(0x2e)
          .Ttl(9)
          .Extension(kProtoHopByHop, {0, 1, 4, 0, 0, 0, 0})
          .Extension(kProtoDestinationOptions, {1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
          .Udp(40000, 53)
          .Payload("abc")
          .Build(true);
  const ParsedPacket& ip = packet->ip;
  ASSERT_EQ(packet.parse.kind, FrameKind::kIp);
  EXPECT_EQ(ip.family, Family::kIpv6);
  EXPECT_EQ(ip.protocol, kProtoUdp);
  EXPECT_EQ(ip.tos, 0x2e);
  EXPECT_EQ(ip.ttl, 9);
  EXPECT_EQ(ip.l4_offset, 14 + 40 + 8 + 16);
  EXPECT_EQ(ip.L4Length(), 11U);
  EXPECT_TRUE(ip.has_options);
  EXPECT_TRUE(ip.l4_valid);
  EXPECT_EQ(ip.destination_port, 53);
}

TEST(ParseTest, PayloadLengthZeroIsADatagramOfForty) {
  const OwnedPacket packet =
      Frame().Ipv6(kA6, kB6).Raw(kProtoNoNext).PadTo(60).IpLengthAs(0).Build(true);
  ASSERT_EQ(packet.parse.kind, FrameKind::kIp);
  EXPECT_EQ(packet->ip.l3_length, 40U);
  EXPECT_EQ(packet->ip.protocol, kProtoNoNext);
  EXPECT_FALSE(TupleOf(packet->ip));  // conntrack: INVALID
}

TEST(ParseTest, FindsSourceRoutes) {
  const struct {
    const char* name;
    Frame frame;
    bool routed;
  } kRows[] = {
      {"record route", Udp4().IpOptions({7, 7, 4, 0, 0, 0, 0}), false},
      {"loose", Udp4().IpOptions({131, 7, 4, 192, 0, 2, 9}), true},
      {"strict", Udp4().IpOptions({1, 137, 7, 4, 192, 0, 2, 9}), true},
      {"behind the end", Udp4().IpOptions({0, 131, 3, 4}), false},
      {"behind one without length", Udp4().IpOptions({7, 1, 131, 3}), false},
      {"behind one beyond the header", Udp4().IpOptions({7, 9, 131, 3}), false},
      {"routing header 0", Udp6().Extension(kProtoRouting, {0, 0, 0, 0, 0, 0, 0}), true},
      {"segment routing", Udp6().Extension(kProtoRouting, {0, 4, 0, 0, 0, 0, 0}), false},
  };
  for (const auto& row : kRows) {
    const OwnedPacket packet = row.frame.Build(true);
    ASSERT_EQ(packet.parse.kind, FrameKind::kIp) << row.name;
    EXPECT_EQ(packet->ip.source_routed, row.routed) << row.name;
    EXPECT_TRUE(packet->ip.has_options) << row.name;
  }
}

TEST(ParseTest, ReadsFragments) {
  for (const bool v6 : {false, true}) {
    Frame first = v6 ? Frame().Ipv6(kA6, kB6) : Frame().Ipv4(kA4, kB4);
    first.Udp(40000, 53).UdpLengthAs(100).PayloadLength(32).Fragment(0x77, 0, true);
    OwnedPacket packet = first.Build(true);
    ASSERT_EQ(packet.parse.kind, FrameKind::kIp);
    EXPECT_TRUE(packet->ip.fragment && packet->ip.more_fragments);
    EXPECT_EQ(packet->ip.fragment_id, 0x77U);
    EXPECT_EQ(packet->ip.fragment_header_offset, v6 ? 54 : 0);
    EXPECT_EQ(packet->ip.destination_port, 53);  // rules may match the first one

    Frame last = v6 ? Frame().Ipv6(kA6, kB6) : Frame().Ipv4(kA4, kB4);
    last.Raw(kProtoUdp).PayloadLength(16).Fragment(0x77, 0xfff8, false);
    packet = last.Build(true);
    ASSERT_EQ(packet.parse.kind, FrameKind::kIp);
    EXPECT_EQ(packet->ip.protocol, kProtoUdp);
    EXPECT_EQ(packet->ip.fragment_offset, 0xfff8);
    EXPECT_TRUE(packet->ip.fragment);
    EXPECT_FALSE(packet->ip.more_fragments || packet->ip.l4_valid || packet->ip.l4_header);
    EXPECT_EQ(packet->ip.source_port, 0);
    EXPECT_FALSE(TupleOf(packet->ip));
  }
}

TEST(ParseTest, AtomicFragmentIsAFragment) {
  const OwnedPacket packet = Udp6().Fragment(5, 0, false).Build(true);
  EXPECT_TRUE(packet->ip.fragment);
  EXPECT_FALSE(packet->ip.more_fragments);
  EXPECT_TRUE(packet->ip.l4_valid);
}

TEST(WalkIpv6ChainTest, IsBoundedAndStopsAtTheTransport) {
  for (size_t headers = 0; headers <= 10; ++headers) {
    Frame frame = Udp6();
    for (size_t i = 0; i < headers; ++i)
      frame.Extension(kProtoDestinationOptions, {0, 1, 4, 0, 0, 0, 0});
    const OwnedPacket packet = frame.Build(true);
    EXPECT_EQ(packet.parse.kind == FrameKind::kIp, headers <= 8) << headers;
    if (headers <= 8) {
      EXPECT_EQ(packet->ip.destination_port, 53);
    }
  }
}

TEST(WalkIpv6ChainTest, AhIsSkippedEspIsNot) {
  const OwnedPacket ah = Udp6()
                             .Extension(kProtoAh, {4, 0, 0, 0, 0, 0, 1, 0, 0,  0,  1, 1,
                                                   2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
                             .Build(true);
  EXPECT_EQ(ah->ip.protocol, kProtoUdp);
  EXPECT_EQ(ah->ip.destination_port, 53);
  const OwnedPacket esp = Frame().Ipv6(kA6, kB6).Raw(kProtoEsp).PayloadLength(16).Build(true);
  EXPECT_EQ(esp->ip.protocol, kProtoEsp);
  EXPECT_TRUE(TupleOf(esp->ip));
}

TEST(WalkIpv6ChainTest, SecondFragmentHeaderIsRefused) {
  const OwnedPacket packet =
      Udp6().Extension(kProtoFragment, {0, 0, 1, 0, 0, 0, 9}).Fragment(9, 0, true).Build(true);
  EXPECT_EQ(packet.parse.reason, DropReason::kIpv6HeaderChain);
}

// ---- transport ----

// l4_header is what rules need, l4_valid what conntrack needs.
TEST(ParseTransportTest, TellsWhatNetfilterCallsInvalid) {
  const auto raw = [](uint8_t protocol, size_t length) {
    Bytes bytes(length, 0x11);
    return Frame().Ipv4(kA4, kB4).Raw(protocol).Payload(bytes);
  };
  const auto with = [](uint8_t protocol, Bytes bytes) {
    return Frame().Ipv4(kA4, kB4).Raw(protocol).Payload(std::move(bytes));
  };
  const auto tcp = [] { return Frame().Ipv4(kA4, kB4).Tcp(1, 2, kTcpAck); };
  const struct {
    const char* name;
    Frame frame;
    bool header;
    bool valid;
    bool ports;
  } kRows[] = {
      {"TCP", tcp(), true, true, true},
      {"TCP of 19 bytes", raw(kProtoTcp, 19), false, false, true},
      {"TCP of 4 bytes", raw(kProtoTcp, 4), false, false, true},
      {"TCP of 3 bytes", raw(kProtoTcp, 3), false, false, false},
      {"TCP without anything", raw(kProtoTcp, 0), false, false, false},
      {"TCP offset 4", tcp().TcpOffsetAs(4), true, false, true},
      {"TCP offset beyond", tcp().TcpOffsetAs(6), true, false, true},
      {"TCP offset up to the end", tcp().TcpOffsetAs(6).PayloadLength(4), true, true, true},
      {"UDP", Udp4(), true, true, true},
      {"UDP of 7 bytes", raw(kProtoUdp, 7), false, false, true},
      {"UDP length 0", Udp4().UdpLengthAs(0), true, false, true},
      {"UDP length 7", Udp4().UdpLengthAs(7), true, false, true},
      {"UDP length 8", Udp4().UdpLengthAs(8), true, true, true},
      {"UDP length beyond", Udp4().UdpLengthAs(14), true, false, true},
      {"UDP-Lite", Frame().Ipv4(kA4, kB4).UdpLite(1, 2), true, true, true},
      {"UDP-Lite coverage 0", with(136, {0, 1, 0, 2, 0, 0, 1, 1, 9}), true, true, true},
      {"UDP-Lite coverage 7", with(136, {0, 1, 0, 2, 0, 7, 1, 1, 9}), true, false, true},
      {"UDP-Lite coverage beyond", with(136, {0, 1, 0, 2, 0, 10, 1, 1, 9}), true, false, true},
      {"UDP-Lite no checksum", with(136, {0, 1, 0, 2, 0, 8, 0, 0, 9}), true, false, true},
      {"SCTP", with(132, test::SctpInit()), true, true, true},
      {"SCTP of 11 bytes", raw(132, 11), false, false, true},
      {"DCCP", with(33, {0, 1, 0, 2, 3, 0, 0, 0, 1, 0, 0, 0}), true, true, true},
      {"DCCP of any offset", with(33, {0, 1, 0, 2, 2, 5, 0, 0, 1, 0, 0, 0}), true, true, true},
      {"DCCP of 4 bytes", with(33, {0, 1, 0, 2}), false, true, true},
      {"ICMP", Frame().Ipv4(kA4, kB4).Icmp(8), true, true, false},
      {"ICMP of 7 bytes", raw(kProtoIcmp, 7), false, false, false},
      {"ICMPv6 over IPv4", raw(kProtoIcmpv6, 8), true, false, false},
      {"ICMP over IPv6", Frame().Ipv6(kA6, kB6).Raw(1).PayloadLength(8), true, false, false},
      {"GRE", with(47, {0, 0, 8, 0}), true, true, false},
      {"PPTP without PPP", with(47, {0x30, 1, 8, 0, 0, 0, 0, 9}), true, false, false},
      {"PPTP of 7 bytes", with(47, {0x30, 1, 8, 0, 0, 0, 0}), true, true, false},
      {"nothing", raw(kProtoEsp, 0), true, true, false},
  };
  for (const auto& row : kRows) {
    const OwnedPacket packet = row.frame.Build(true);
    ASSERT_EQ(packet.parse.kind, FrameKind::kIp) << row.name;
    EXPECT_EQ(packet->ip.l4_header, row.header) << row.name;
    EXPECT_EQ(packet->ip.l4_valid, row.valid) << row.name;
    EXPECT_EQ(packet->ip.source_port != 0, row.ports) << row.name;
    EXPECT_EQ(TupleOf(packet->ip).has_value(), row.valid) << row.name;
  }
}

TEST(ParseTransportTest, ReadsAgainWhatWasRewritten) {
  OwnedPacket packet = Frame().Ipv4(kA4, kB4).Tcp(40000, 80, kTcpSyn).Build();
  packet->At<TcpHeader>(34)->source_port = 99;
  packet->At<TcpHeader>(34)->flags = kTcpAck;
  ParseTransport(&*packet);
  EXPECT_EQ(packet->ip.source_port, 99);
  EXPECT_EQ(packet->ip.tcp_flags, kTcpAck);
}

// ---- whatever comes ----

// Everything that reads a frame, on memory that ends with it: the sanitizer build sees the rest.
void ReadEverything(const Bytes& frame) {
  OwnedPacket packet(frame, true);
  const ParseResult result = Parse(&*packet);
  if (result.kind != FrameKind::kIp) {
    ASSERT_NE(result.kind == FrameKind::kInvalid, result.reason == DropReason::kNone);
    return;
  }
  const ParsedPacket& ip = packet->ip;
  ASSERT_LE(ip.l3_offset + ip.l3_length, packet->length);
  ASSERT_LE(ip.l4_offset, ip.l3_offset + ip.l3_length);
  ASSERT_GE(ip.payload_offset, ip.l4_offset);
  ASSERT_LE(ip.payload_offset, ip.l3_offset + ip.l3_length);
  ASSERT_TRUE(ip.l4_header || !ip.l4_valid || ip.protocol == kProtoDccp);
  if (const auto tuple = TupleOf(ip)) {
    if (const auto mirror = Mirror(*tuple)) {
      ASSERT_EQ(*Mirror(*mirror), *tuple);
    }
  }
  if (const auto quoted = ParseQuoted(*packet)) {
    ASSERT_LE(quoted->l4_offset, ip.l3_offset + ip.l3_length);
  }
  TransportChecksumValid(*packet);
  SetTransportChecksum(&*packet);
  if (ip.l4_valid) {
    ASSERT_TRUE(TransportChecksumValid(*packet));
  }
}

TEST(ParseRobustnessTest, EveryTruncationOfEveryKind) {
  for (const Bytes& whole : test::SampleFrames()) {
    for (size_t length = 0; length <= whole.size(); ++length) {
      Bytes cut(whole.begin(), whole.begin() + static_cast<long>(length));
      ReadEverything(cut);
      if (length < whole.size()) {
        OwnedPacket packet(cut, true);
        ASSERT_EQ(Parse(&*packet).kind, FrameKind::kInvalid) << length;
      }
      test::FitIpLength(&cut);
      ReadEverything(cut);
    }
  }
}

TEST(ParseRobustnessTest, MutatedFrames) {
  Rng rng(42);
  const std::vector<Bytes> samples = test::SampleFrames();
  for (int round = 0; round < 100000; ++round) {
    const Bytes& sample = samples[rng.Below(static_cast<uint32_t>(samples.size()))];
    ReadEverything(test::Mutate(sample, &rng));
    if (testing::Test::HasFatalFailure()) FAIL() << "round " << round;
  }
}

}  // namespace
}  // namespace postern::net

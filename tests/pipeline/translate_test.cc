// Translations on the established path (dataplane/pipeline/established.h).
#include <gtest/gtest.h>

#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/net/random.h"
#include "dataplane/pipeline/established.h"
#include "tests/support/packet_builder.h"

namespace postern::test {
namespace {

TEST(TranslateIpv4, GivesTheSumsThatAreComputedAnew) {
  net::Rng rng(11);
  for (int i = 0; i < 5000; ++i) {
    const bool udp = rng.Below(2) == 0;
    Packet packet;
    packet.Ipv4(net::IpAddress::V4(static_cast<uint32_t>(rng.Next())),
                net::IpAddress::V4(static_cast<uint32_t>(rng.Next())));
    const auto port = static_cast<uint16_t>(rng.Next());
    udp ? packet.Udp(port, 53) : packet.Tcp(port, 80, net::kTcpAck);
    OwnedPacket built = packet.Ttl(9).PayloadLength(rng.Below(40)).Build();
    ctrack::WireEnds answers;
    answers.source = static_cast<uint32_t>(rng.Next());
    answers.destination = static_cast<uint32_t>(rng.Next());
    answers.source_port = static_cast<uint16_t>(rng.Next());
    answers.destination_port = static_cast<uint16_t>(rng.Next());
    pipeline::TranslateIpv4(built->L3(), built->ip.protocol, answers);
    ASSERT_EQ(net::Parse(&built.packet).kind, net::FrameKind::kIp);
    ASSERT_TRUE(net::TransportChecksumValid(*built)) << i;
    ASSERT_EQ(built->ip.ttl, 8);
    ASSERT_EQ(std::memcmp(&answers.destination, built->ip.source.bytes.data(), 4), 0);
    ASSERT_EQ(std::memcmp(&answers.source, built->ip.destination.bytes.data(), 4), 0);
    ASSERT_EQ(built->ip.source_port, net::ByteSwap(answers.destination_port));
    ASSERT_EQ(built->ip.destination_port, net::ByteSwap(answers.source_port));
  }
}

TEST(TranslateIpv6, GivesTheSumsThatAreComputedAnew) {
  net::Rng rng(12);
  const auto address = [&rng] {
    net::IpAddress made;
    for (int i = 0; i < 4; ++i) made.SetWord(i, static_cast<uint32_t>(rng.Next()));
    return made;
  };
  for (int i = 0; i < 5000; ++i) {
    const bool udp = rng.Below(2) == 0;
    Packet packet;
    packet.Ipv6(address(), address());
    const auto port = static_cast<uint16_t>(rng.Next());
    udp ? packet.Udp(port, 53) : packet.Tcp(port, 80, net::kTcpAck);
    OwnedPacket built = packet.Ttl(9).PayloadLength(rng.Below(40)).Build();
    net::Tuple answers;
    answers.source = address();
    answers.destination = address();
    answers.source_key = static_cast<uint16_t>(rng.Next());
    answers.destination_key = static_cast<uint16_t>(rng.Next());
    pipeline::TranslateIpv6(built->L3(), built->ip.protocol, answers);
    ASSERT_EQ(net::Parse(&built.packet).kind, net::FrameKind::kIp);
    ASSERT_TRUE(net::TransportChecksumValid(*built)) << i;
    ASSERT_EQ(built->ip.ttl, 8);
    ASSERT_EQ(built->ip.source, answers.destination);
    ASSERT_EQ(built->ip.destination, answers.source);
    ASSERT_EQ(built->ip.source_port, answers.destination_key);
    ASSERT_EQ(built->ip.destination_port, answers.source_key);
  }
}

TEST(TranslateIpv4, LeavesUdpWithoutAChecksumSo) {
  OwnedPacket built = Packet().Ipv4("192.0.2.1", "198.51.100.2").Udp(1, 2).NoUdpChecksum().Build();
  ctrack::WireEnds answers;
  answers.source = 1;
  pipeline::TranslateIpv4(built->L3(), net::kProtoUdp, answers);
  EXPECT_EQ(reinterpret_cast<const net::UdpHeader*>(built->L4())->checksum.Host(), 0);
}

}  // namespace
}  // namespace postern::test

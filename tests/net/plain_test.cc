// What is read from plain packets is what Parse() finds in them.
#include "dataplane/net/plain.h"

#include <gtest/gtest.h>

#include <tuple>

#include "dataplane/net/parse.h"
#include "dataplane/net/random.h"
#include "tests/support/packet_builder.h"

namespace postern::test {
namespace {

auto Fields(const net::ParsedPacket& ip) {
  return std::make_tuple(
      std::make_tuple(ip.family, ip.protocol, ip.tos, ip.ttl, ip.l3_offset, ip.l4_offset,
                      ip.l3_length, ip.source, ip.destination, ip.fragment_offset,
                      ip.more_fragments, ip.fragment, ip.dont_fragment),
      std::make_tuple(ip.fragment_header_offset, ip.fragment_id, ip.l4_header, ip.l4_valid,
                      ip.tcp_flags, ip.icmp_type, ip.icmp_code, ip.source_port, ip.destination_port,
                      ip.icmp_id, ip.gre_key, ip.payload_offset, ip.has_options, ip.source_routed));
}

Bytes RandomFrame(net::Rng* rng, bool ipv4, bool tcp) {
  Packet packet;
  if (ipv4) {
    packet.Ipv4(net::IpAddress::V4(static_cast<uint32_t>(rng->Next())),
                net::IpAddress::V4(static_cast<uint32_t>(rng->Next())));
    packet.Id(static_cast<uint16_t>(rng->Next())).DontFragment(rng->Below(2) == 0);
  } else {
    packet.Ipv6("2001:db8::1", "2001:db8:1::2");
  }
  packet.Tos(static_cast<uint8_t>(rng->Next())).Ttl(static_cast<uint8_t>(rng->Below(256)));
  const auto source = static_cast<uint16_t>(rng->Next());
  const auto destination = static_cast<uint16_t>(rng->Next());
  if (tcp) {
    packet.Tcp(source, destination, static_cast<uint8_t>(rng->Next()));
    if (rng->Below(2) == 0) packet.TcpOptions({1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2});
    if (rng->Below(6) == 0) packet.TcpOffsetAs(static_cast<uint8_t>(rng->Below(16)));
  } else {
    packet.Udp(source, destination);
    if (rng->Below(6) == 0) packet.UdpLengthAs(static_cast<uint16_t>(rng->Below(60)));
  }
  packet.PayloadLength(rng->Below(50));
  if (rng->Below(4) == 0) packet.PadTo(rng->Below(200));
  if (rng->Below(8) == 0) packet.TruncateTo(rng->Below(90));
  return packet.Frame();
}

TEST(Plain, IsWhatParseFinds) {
  net::Rng rng(3);
  unsigned valid = 0;
  unsigned invalid = 0;
  for (int i = 0; i < 20'000; ++i) {
    const bool ipv4 = rng.Below(2) == 0;
    const Bytes frame = RandomFrame(&rng, ipv4, rng.Below(2) == 0);
    OwnedPacket parsed(frame);
    const net::ParseResult result = net::Parse(&parsed.packet);
    const auto length = static_cast<uint32_t>(frame.size());
    net::Ipv4Key key;
    net::Tuple tuple;
    const bool plain = ipv4 ? net::ReadPlainIpv4(frame.data(), length, &key)
                            : net::ReadPlainIpv6(frame.data(), length, &tuple);
    if (!plain) continue;
    ASSERT_EQ(result.kind, net::FrameKind::kIp) << i;
    OwnedPacket read(frame);
    const bool good = ipv4 ? net::ReadPlainHeaders<net::Family::kIpv4>(&read.packet)
                           : net::ReadPlainHeaders<net::Family::kIpv6>(&read.packet);
    ASSERT_EQ(good, parsed->ip.l4_valid) << i;
    ++(good ? valid : invalid);
    if (!good) continue;
    ASSERT_EQ(Fields(read->ip), Fields(parsed->ip)) << i;
    if (ipv4) {
      ASSERT_EQ(key.ToTuple(), *net::TupleOf(parsed->ip)) << i;
    } else {
      ASSERT_EQ(tuple, *net::TupleOf(parsed->ip)) << i;
    }
  }
  EXPECT_GT(valid, 10'000U);
  EXPECT_GT(invalid, 500U);
}

}  // namespace
}  // namespace postern::test

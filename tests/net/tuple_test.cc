#include "dataplane/net/tuple.h"

#include <gtest/gtest.h>

namespace postern::net {
namespace {

Tuple Make(Family family, uint8_t protocol, uint16_t source_key, uint16_t destination_key) {
  Tuple tuple;
  tuple.family = family;
  tuple.protocol = protocol;
  tuple.source_key = source_key;
  tuple.destination_key = destination_key;
  const bool v4 = family == Family::kIpv4;
  tuple.source = *ParseAddress(family, v4 ? "192.0.2.1" : "2001:db8::1");
  tuple.destination = *ParseAddress(family, v4 ? "198.51.100.2" : "2001:db8:1::2");
  return tuple;
}

uint16_t Type(uint8_t type, uint8_t code = 0) { return static_cast<uint16_t>(type << 8 | code); }

TEST(MirrorTest, IsAnInvolution) {
  const Tuple tuples[] = {
      Make(Family::kIpv4, kProtoTcp, 40000, 80),
      Make(Family::kIpv6, kProtoUdp, 40000, 53),
      Make(Family::kIpv4, kProtoSctp, 1, 2),
      Make(Family::kIpv4, kProtoGre, 0, 77),
      Make(Family::kIpv4, kProtoEsp, 0, 0),
      Make(Family::kIpv4, kProtoIcmp, 9, Type(kIcmpEchoRequest)),
      Make(Family::kIpv4, kProtoIcmp, 9, Type(kIcmpTimestampReply)),
      Make(Family::kIpv4, kProtoIcmp, 9, Type(kIcmpInfoRequest, 3)),
      Make(Family::kIpv4, kProtoIcmp, 9, Type(kIcmpAddressReply)),
      Make(Family::kIpv6, kProtoIcmpv6, 9, Type(kIcmpv6EchoReply)),
      Make(Family::kIpv6, kProtoIcmpv6, 9, Type(kIcmpv6NodeInfoQuery)),
  };
  for (const Tuple& tuple : tuples) {
    const auto mirror = Mirror(tuple);
    ASSERT_TRUE(mirror) << ToString(tuple);
    EXPECT_EQ(mirror->source, tuple.destination);
    EXPECT_EQ(mirror->destination, tuple.source);
    EXPECT_FALSE(*mirror == tuple);
    EXPECT_EQ(*Mirror(*mirror), tuple) << ToString(tuple);
  }
}

TEST(MirrorTest, SwapsPortsButKeepsQueryIdAndCode) {
  const auto tcp = *Mirror(Make(Family::kIpv4, kProtoTcp, 40000, 80));
  EXPECT_EQ(tcp.source_key, 80);
  EXPECT_EQ(tcp.destination_key, 40000);
  const auto ping = *Mirror(Make(Family::kIpv4, kProtoIcmp, 9, Type(kIcmpEchoRequest, 5)));
  EXPECT_EQ(ping.source_key, 9);
  EXPECT_EQ(ping.IcmpType(), kIcmpEchoReply);
  EXPECT_EQ(ping.IcmpCode(), 5);
}

TEST(MirrorTest, HasNothingForTypesWithoutAnAnswer) {
  for (unsigned type = 0; type < 256; ++type) {
    const auto t = static_cast<uint8_t>(type);
    const bool v4 = t == 0 || t == 8 || (t >= 13 && t <= 18);
    const bool v6 = t == 128 || t == 129 || t == 139 || t == 140;
    EXPECT_EQ(Mirror(Make(Family::kIpv4, kProtoIcmp, 1, Type(t))).has_value(), v4) << type;
    EXPECT_EQ(Mirror(Make(Family::kIpv6, kProtoIcmpv6, 1, Type(t))).has_value(), v6) << type;
  }
}

TEST(IsIcmpErrorTest, KnowsNetfiltersTypes) {
  for (unsigned type = 0; type < 256; ++type) {
    const auto t = static_cast<uint8_t>(type);
    EXPECT_EQ(IsIcmpError(Family::kIpv4, t), t == 3 || t == 4 || t == 5 || t == 11 || t == 12);
    EXPECT_EQ(IsIcmpError(Family::kIpv6, t), t < 128);
  }
}

TEST(TupleToStringTest, PrintsAsConntrackDoes) {
  EXPECT_EQ(ToString(Make(Family::kIpv4, kProtoTcp, 1234, 80)),
            "src=192.0.2.1 dst=198.51.100.2 sport=1234 dport=80");
  EXPECT_EQ(ToString(Make(Family::kIpv6, kProtoIcmpv6, 7, Type(kIcmpv6EchoRequest))),
            "src=2001:db8::1 dst=2001:db8:1::2 type=128 code=0 id=7");
  EXPECT_EQ(ToString(Make(Family::kIpv4, kProtoGre, 0, 0x1f)),
            "src=192.0.2.1 dst=198.51.100.2 srckey=0x0 dstkey=0x1f");
  EXPECT_EQ(ToString(Make(Family::kIpv4, kProtoEsp, 0, 0)), "src=192.0.2.1 dst=198.51.100.2");
}

}  // namespace
}  // namespace postern::net

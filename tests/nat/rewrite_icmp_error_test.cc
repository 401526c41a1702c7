// ICMP errors: the outer header and what they quote are translated.
#include "tests/nat/rewrite_fixture.h"

namespace postern::nat {
namespace {

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

// What the web server sends to the client on the LAN.
Tuple AnswerToLan(uint8_t protocol, uint16_t port) {
  Tuple answer;
  answer.protocol = protocol;
  answer.source = Address(Family::kIpv4, kWeb4);
  answer.destination = Address(Family::kIpv4, kLan4);
  answer.source_key = port;
  answer.destination_key = 40000;
  return answer;
}

// netfilter mends a quoted TCP checksum where the whole header is quoted, not where just its bytes
// are.
TEST(RewriteIcmpErrorTest, ChecksumOfAHalfQuotedTcpHeaderIsLeft) {
  const Bytes quoted = From(Family::kIpv4, kWan4, kWeb4).Tcp(1025, 80, net::kTcpAck).Frame();
  OwnedPacket packet =
      From(Family::kIpv4, kRouter4, kWan4).Icmp(3, 1).Quote(quoted, 20 + 19).Build(true);
  const Tuple target = AnswerToLan(net::kProtoTcp, 80);
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
  const Tuple target = AnswerToLan(net::kProtoUdp, 53);
  ASSERT_TRUE(RewriteIcmpError(&*packet, Manip::kDestination, target));
  EXPECT_EQ(packet.Frame(),
            From(Family::kIpv4, kRouter4, kLan4).Icmp(3, 1).Quote(quoted(kLan4, 40000)).Frame());
}

TEST(RewriteIcmpErrorTest, RefusesWhatNetfilterDrops) {
  const Bytes quoted = From(Family::kIpv4, kWan4, kWeb4).Udp(1025, 53).Payload("abc").Frame();
  const Tuple target = AnswerToLan(net::kProtoUdp, 53);
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

}  // namespace
}  // namespace postern::nat

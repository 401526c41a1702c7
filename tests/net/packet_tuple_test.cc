// The tuples of packets, and of those that ICMP errors quote.
#include <gtest/gtest.h>

#include "dataplane/net/tuple.h"
#include "tests/net/queries.h"

namespace postern::net {
namespace {

TEST(TupleOfTest, HasTheKeysOfItsProtocol) {
  const struct {
    Frame frame;
    const char* text;  // null: no tuple
  } kRows[] = {
      {Udp4(), "src=192.0.2.1 dst=198.51.100.2 sport=40000 dport=53"},
      {Frame().Ipv6(kA6, kB6).Tcp(1, 2, 0), "src=2001:db8::1 dst=2001:db8:1::2 sport=1 dport=2"},
      {Frame().Ipv4(kA4, kB4).Icmp(8, 0, 77), "src=192.0.2.1 dst=198.51.100.2 type=8 code=0 id=77"},
      {Frame().Ipv6(kA6, kB6).Icmpv6(129, 0, 77),
       "src=2001:db8::1 dst=2001:db8:1::2 type=129 code=0 id=77"},
      {Frame().Ipv4(kA4, kB4).Icmp(3, 1), nullptr},
      {Frame().Ipv6(kA6, kB6).Icmpv6(1, 4), nullptr},
      {Frame().Ipv4(kA4, kB4).Raw(47).Payload({0x30, 1, 0x88, 0x0b, 0, 0, 0x12, 0x34}),
       "src=192.0.2.1 dst=198.51.100.2 srckey=0x0 dstkey=0x1234"},
      {Frame().Ipv4(kA4, kB4).Raw(47).Payload({0, 0, 8, 0, 0, 0, 0x12, 0x34}),
       "src=192.0.2.1 dst=198.51.100.2 srckey=0x0 dstkey=0x0"},
      {Frame().Ipv4(kA4, kB4).Raw(89).PayloadLength(4), "src=192.0.2.1 dst=198.51.100.2"},
  };
  for (const auto& row : kRows) {
    const OwnedPacket packet = row.frame.Build(true);
    const auto tuple = TupleOf(packet->ip);
    ASSERT_EQ(tuple.has_value(), row.text != nullptr);
    if (tuple) {
      EXPECT_EQ(ToString(*tuple), row.text);
    }
  }
}

TEST(ParseQuotedTest, ReadsWhatErrorsQuote) {
  const Bytes udp4 = Udp4().Frame();
  const Bytes udp6 = Udp6().Frame();
  const Bytes ping4 = Frame().Ipv4(kA4, kB4).Icmp(8, 0, 77).Frame();
  const Bytes options4 = Udp4().IpOptions({7, 7, 4, 0, 0, 0, 0}).Frame();
  const Bytes chain6 = Udp6().Extension(kProtoHopByHop, {0, 1, 4, 0, 0, 0, 0}).Frame();
  const Bytes later4 =
      Frame().Ipv4(kA4, kB4).Raw(17).PayloadLength(16).Fragment(1, 8, true).Frame();
  const Bytes first4 = Udp4().Fragment(1, 0, true).Frame();
  const auto v4 = [](uint8_t type) { return Frame().Ipv4("203.0.113.9", kA4).Icmp(type); };
  const auto v6 = [](uint8_t type) { return Frame().Ipv6("2001:db8:9::9", kA6).Icmpv6(type); };
  const char* const kUdp4 = "src=192.0.2.1 dst=198.51.100.2 sport=40000 dport=53";
  const char* const kUdp6 = "src=2001:db8::1 dst=2001:db8:1::2 sport=40000 dport=53";
  const struct {
    const char* name;
    Frame frame;
    const char* text;  // null: nothing to be found
  } kRows[] = {
      {"whole", v4(3).Quote(udp4), kUdp4},
      {"RFC 792's eight bytes", v4(11).Quote(udp4, 28), kUdp4},
      {"just the ports", v4(12).Quote(udp4, 24), kUdp4},
      {"half the ports", v4(3).Quote(udp4, 23), nullptr},
      {"half a header", v4(3).Quote(udp4, 19), nullptr},
      {"nothing", v4(3), nullptr},
      {"with options", v4(3).Quote(options4), kUdp4},
      {"options cut", v4(3).Quote(options4, 27), nullptr},
      {"echo", v4(3).Quote(ping4, 28), "src=192.0.2.1 dst=198.51.100.2 type=8 code=0 id=77"},
      {"half an echo", v4(3).Quote(ping4, 27), nullptr},
      {"later fragment", v4(11).Quote(later4), nullptr},
      {"first fragment", v4(11).Quote(first4), kUdp4},
      {"IPv6 in an ICMP error", v4(3).Quote(udp6), nullptr},
      {"not an error", v4(8).Quote(udp4), nullptr},
      {"v6", v6(1).Quote(udp6), kUdp6},
      {"v6 unknown error type", v6(100).Quote(udp6), kUdp6},
      {"v6 ports only", v6(2).Quote(udp6, 44), kUdp6},
      {"v6 half the ports", v6(2).Quote(udp6, 43), nullptr},
      {"v6 extension", v6(3).Quote(chain6), kUdp6},
      {"v6 extension cut", v6(3).Quote(chain6, 47), nullptr},
      {"v6 redirect", v6(137).Quote(udp6), nullptr},
  };
  for (const auto& row : kRows) {
    const OwnedPacket packet = row.frame.Build(true);
    const auto quoted = ParseQuoted(*packet);
    ASSERT_EQ(quoted.has_value(), row.text != nullptr) << row.name;
    if (quoted) {
      EXPECT_EQ(ToString(quoted->tuple), row.text) << row.name;
      EXPECT_EQ(quoted->l3_offset, packet->ip.l4_offset + 8);
    }
  }
}

// Ethernet padding isn't part of the quotation.
TEST(ParseQuotedTest, StopsAtTheDatagramsEnd) {
  const OwnedPacket packet =
      Frame().Ipv4("203.0.113.9", kA4).Icmp(3).Quote(Udp4().Frame(), 20).PadTo(100).Build(true);
  EXPECT_FALSE(ParseQuoted(*packet));
}

}  // namespace
}  // namespace postern::net

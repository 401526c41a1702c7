// Each match with each option and each inversion, as tables.
#include <gtest/gtest.h>

#include "tests/rules/fixture.h"

namespace postern::rules {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr uint8_t kSyn = net::kTcpSyn, kAck = net::kTcpAck, kRst = net::kTcpRst,
                  kFin = net::kTcpFin;

// Yes and no as a counter of rule 1 in filter INPUT; hotdrop as the walk's verdict.
enum class Expect { kNo, kYes, kHotdrop };

Expect Ask(const Model& model, TestPacket packet, const ctrack::CtRef& ct = {},
           net::Time now = 1000 * net::kSecond) {
  Walker walker(model);
  walker.ct = ct;
  walker.now = now;
  const bool matched = walker.Matched(packet);
  TestPacket again(packet);
  const WalkResult result = walker.Walk(again);
  if (result.reason == net::DropReason::kMatchHotdrop) {
    EXPECT_EQ(result.verdict, Verdict::kDrop);
    EXPECT_TRUE(walker.Path().empty()) << "a hotdrop counts nothing";
    return Expect::kHotdrop;
  }
  return matched ? Expect::kYes : Expect::kNo;
}

TcpMatch TcpPorts(PortRange source, PortRange destination, bool invert_source = false,
                  bool invert_destination = false) {
  TcpMatch match;
  match.source = source;
  match.destination = destination;
  match.invert_source = invert_source;
  match.invert_destination = invert_destination;
  return match;
}
TcpMatch TcpFlags(uint8_t mask, uint8_t compare, bool invert = false) {
  TcpMatch match;
  match.flag_mask = mask;
  match.flag_compare = compare;
  match.invert_flags = invert;
  return match;
}
TcpMatch TcpOption(uint8_t option, bool invert = false) {
  TcpMatch match;
  match.option = option;
  match.invert_option = invert;
  return match;
}

TEST(TcpMatch, TakesPortsFlagsAndOptions) {
  const PortRange any;
  const std::vector<uint8_t> mss = {1, 1, 2, 4, 5, 180, 1, 0};
  const std::vector<uint8_t> zero_length = {9, 0, 8, 0};  // a length of 0 moves on by one
  struct Row {
    const char* name;
    TcpMatch match;
    TestPacket packet;
    Expect expected;
  };
  const auto syn = TestPacket().Tcp(1024, 80);
  const auto ack = TestPacket().Tcp(1024, 80, kAck);
  const auto cut = [](uint32_t length) { return TestPacket().Tcp(1024, 80).Cut(length); };
  const TcpMatch syn_only = TcpFlags(kSyn | kRst | kAck | kFin, kSyn);
  TcpMatch not_all_ports = TcpOption(9, true);
  not_all_ports.invert_source = true;
  const Row rows[] = {
      {"any", {}, syn, Expect::kYes},
      {"dport", TcpPorts(any, {80, 80}), syn, Expect::kYes},
      {"dport below", TcpPorts(any, {81, 90}), syn, Expect::kNo},
      {"dport first of range", TcpPorts(any, {80, 90}), syn, Expect::kYes},
      {"dport last of range", TcpPorts(any, {70, 80}), syn, Expect::kYes},
      {"! dport", TcpPorts(any, {80, 80}, false, true), syn, Expect::kNo},
      {"! dport other", TcpPorts(any, {81, 81}, false, true), syn, Expect::kYes},
      {"sport", TcpPorts({1024, 65535}, any), syn, Expect::kYes},
      {"sport no", TcpPorts({0, 1023}, any), syn, Expect::kNo},
      {"! sport", TcpPorts({0, 1023}, any, true), syn, Expect::kYes},
      {"--syn on SYN", syn_only, syn, Expect::kYes},
      {"--syn on ACK", syn_only, ack, Expect::kNo},
      {"! --syn on ACK", TcpFlags(kSyn | kRst | kAck | kFin, kSyn, true), ack, Expect::kYes},
      {"! --syn on SYN", TcpFlags(kSyn | kRst | kAck | kFin, kSyn, true), syn, Expect::kNo},
      {"ALL NONE", TcpFlags(0x3f, 0), TestPacket().Tcp(1, 2, 0), Expect::kYes},
      {"option there", TcpOption(2), TestPacket().Tcp(1, 2, kSyn, mss), Expect::kYes},
      {"option absent", TcpOption(3), TestPacket().Tcp(1, 2, kSyn, mss), Expect::kNo},
      {"option's data isn't an option", TcpOption(5), TestPacket().Tcp(1, 2, kSyn, mss),
       Expect::kNo},
      {"! option there", TcpOption(2, true), TestPacket().Tcp(1, 2, kSyn, mss), Expect::kNo},
      {"! option absent", TcpOption(3, true), TestPacket().Tcp(1, 2, kSyn, mss), Expect::kYes},
      {"no options at all", TcpOption(2), syn, Expect::kNo},
      {"length 0", TcpOption(8), TestPacket().Tcp(1, 2, kSyn, zero_length), Expect::kYes},
      {"options cut", TcpOption(8), TestPacket().Tcp(1, 2, kSyn, mss).Cut(22), Expect::kHotdrop},
      {"header cut", {}, TestPacket().Tcp(1, 2).Cut(19), Expect::kHotdrop},
      {"nothing there", {}, TestPacket().Tcp(1, 2).Cut(0), Expect::kHotdrop},
      {"later fragment", {}, TestPacket().Tcp(1, 2).Fragment(16), Expect::kNo},
      {"fragment over the flags", {}, TestPacket().Tcp(1, 2).Fragment(8), Expect::kHotdrop},
      // Ports and flags are nf_tables' loads: they want their own bytes and never drop.
      {"sport in 2 bytes", TcpPorts({1024, 1024}, any), cut(2), Expect::kYes},
      {"sport cut", TcpPorts({1024, 1024}, any), cut(1), Expect::kNo},
      {"! sport cut", TcpPorts({1, 1}, any, true), cut(1), Expect::kNo},
      {"dport in 4 bytes", TcpPorts(any, {80, 80}), cut(4), Expect::kYes},
      {"! dport in 4 bytes", TcpPorts(any, {81, 81}, false, true), cut(4), Expect::kYes},
      {"dport cut", TcpPorts(any, {80, 80}), cut(3), Expect::kNo},
      {"! dport cut", TcpPorts(any, {81, 81}, false, true), cut(3), Expect::kNo},
      {"flags in 14 bytes", TcpFlags(kSyn, kSyn), cut(14), Expect::kYes},
      {"flags cut", TcpFlags(kSyn, kSyn), cut(13), Expect::kNo},
      {"! flags cut", TcpFlags(kAck, kAck, true), cut(13), Expect::kNo},
      {"dport, fragment over the flags", TcpPorts(any, {80, 80}),
       TestPacket().Tcp(1024, 80).Fragment(8), Expect::kNo},
      {"option, header cut", TcpOption(2, true), cut(19), Expect::kHotdrop},
      {"option, not all ports", not_all_ports, syn, Expect::kNo},
  };
  for (const Row& row : rows) {
    const auto model =
        ModelOf().Input({RuleOf(AcceptTarget{}).Protocol(net::kProtoTcp).With(row.match)});
    EXPECT_EQ(Ask(model, row.packet), row.expected) << row.name;
  }
}

TEST(TcpMatch, WithABadDataOffsetDropsWhenOptionsAreAsked) {
  auto packet = TestPacket().Tcp(1, 2);
  reinterpret_cast<net::TcpHeader*>(packet.packet().L4())->offset_reserved = 4 << 4;
  const auto model =
      ModelOf().Input({RuleOf(AcceptTarget{}).Protocol(net::kProtoTcp).With(TcpOption(2))});
  EXPECT_EQ(Ask(model, packet), Expect::kHotdrop);
}

TEST(UdpMatch, TakesPorts) {
  const PortRange any;
  struct Row {
    const char* name;
    UdpMatch match;
    TestPacket packet;
    Expect expected;
  };
  const auto query = TestPacket().Udp(5353, 53);
  const Row rows[] = {
      {"any", {}, query, Expect::kYes},
      {"dport", {any, {53, 53}, false, false}, query, Expect::kYes},
      {"dport no", {any, {54, 54}, false, false}, query, Expect::kNo},
      {"! dport", {any, {54, 54}, false, true}, query, Expect::kYes},
      {"sport", {{5353, 5353}, any, false, false}, query, Expect::kYes},
      {"! sport", {{5353, 5353}, any, true, false}, query, Expect::kNo},
      {"cut", {}, TestPacket().Udp(1, 2).Cut(7), Expect::kHotdrop},
      {"dport in 4 bytes", {any, {53, 53}, false, false}, TestPacket(query).Cut(4), Expect::kYes},
      {"dport cut", {any, {53, 53}, false, false}, TestPacket(query).Cut(3), Expect::kNo},
      {"! dport cut", {any, {54, 54}, false, true}, TestPacket(query).Cut(3), Expect::kNo},
      {"later fragment", {}, TestPacket().Udp(1, 2).Fragment(8), Expect::kNo},
  };
  for (const Row& row : rows) {
    const auto model =
        ModelOf().Input({RuleOf(AcceptTarget{}).Protocol(net::kProtoUdp).With(row.match)});
    EXPECT_EQ(Ask(model, row.packet), row.expected) << row.name;
  }
}

TEST(IcmpMatch, TakesTypeAndCode) {
  struct Row {
    const char* name;
    Family family;
    IcmpMatch match;
    TestPacket packet;
    Expect expected;
  };
  const auto echo = TestPacket().Icmp(8, 0);
  const auto port = TestPacket().Icmp(3, 3);
  const auto echo6 = TestPacket("2001:db8::1", "2001:db8::2").Icmp(128, 0);
  const auto type255 = TestPacket("2001:db8::1", "2001:db8::2").Icmp(255, 0);
  const Row rows[] = {
      {"type", Family::kIpv4, {8, 0, 255, false}, echo, Expect::kYes},
      {"other type", Family::kIpv4, {0, 0, 255, false}, echo, Expect::kNo},
      {"! type", Family::kIpv4, {8, 0, 255, true}, echo, Expect::kNo},
      {"! other type", Family::kIpv4, {0, 0, 255, true}, echo, Expect::kYes},
      {"type/code", Family::kIpv4, {3, 3, 3, false}, port, Expect::kYes},
      {"type/other code", Family::kIpv4, {3, 4, 4, false}, port, Expect::kNo},
      {"any", Family::kIpv4, {255, 0, 255, false}, echo, Expect::kYes},
      {"! any", Family::kIpv4, {255, 0, 255, true}, echo, Expect::kNo},
      {"cut", Family::kIpv4, {8, 0, 255, false}, TestPacket().Icmp(8, 0).Cut(7), Expect::kHotdrop},
      {"later fragment",
       Family::kIpv4,
       {8, 0, 255, false},
       TestPacket().Icmp(8, 0).Fragment(8),
       Expect::kNo},
      {"type 6", Family::kIpv6, {128, 0, 255, false}, echo6, Expect::kYes},
      {"! type 6", Family::kIpv6, {128, 0, 255, true}, echo6, Expect::kNo},
      {"255 isn't any with IPv6", Family::kIpv6, {255, 0, 255, false}, echo6, Expect::kNo},
      {"255 itself", Family::kIpv6, {255, 0, 255, false}, type255, Expect::kYes},
  };
  for (const Row& row : rows) {
    const uint8_t protocol = row.family == Family::kIpv4 ? net::kProtoIcmp : net::kProtoIcmpv6;
    const auto model =
        ModelOf(row.family).Input({RuleOf(AcceptTarget{}).Protocol(protocol).With(row.match)});
    EXPECT_EQ(Ask(model, row.packet), row.expected) << row.name;
  }
}

TEST(MultiportMatch, TakesListsOfPortsAndRanges) {
  using Which = MultiportMatch::Which;
  const std::vector<PortRange> web = {{80, 80}, {443, 443}, {8000, 8010}};
  const std::vector<bool> ranges = {false, false, true};
  struct Row {
    const char* name;
    Which which;
    bool invert;
    uint16_t source, destination;
    Expect expected;
  };
  const Row rows[] = {
      {"dports first", Which::kDestination, false, 1, 80, Expect::kYes},
      {"dports range low", Which::kDestination, false, 1, 8000, Expect::kYes},
      {"dports range high", Which::kDestination, false, 1, 8010, Expect::kYes},
      {"dports above", Which::kDestination, false, 1, 8011, Expect::kNo},
      {"dports not the source", Which::kDestination, false, 80, 1, Expect::kNo},
      {"! dports", Which::kDestination, true, 1, 443, Expect::kNo},
      {"! dports other", Which::kDestination, true, 1, 444, Expect::kYes},
      {"sports", Which::kSource, false, 443, 1, Expect::kYes},
      {"sports not the destination", Which::kSource, false, 1, 443, Expect::kNo},
      {"! sports", Which::kSource, true, 1, 443, Expect::kYes},
      {"ports source", Which::kEither, false, 443, 1, Expect::kYes},
      {"ports destination", Which::kEither, false, 1, 443, Expect::kYes},
      {"ports neither", Which::kEither, false, 1, 2, Expect::kNo},
      {"! ports", Which::kEither, true, 1, 443, Expect::kNo},
      {"! ports neither", Which::kEither, true, 1, 2, Expect::kYes},
  };
  for (const Row& row : rows) {
    const MultiportMatch match = {row.which, web, ranges, row.invert};
    const auto tcp = ModelOf().Input({RuleOf().Protocol(net::kProtoTcp).With(match)});
    const auto udp = ModelOf().Input({RuleOf().Protocol(net::kProtoUdp).With(match)});
    EXPECT_EQ(Ask(tcp, TestPacket().Tcp(row.source, row.destination)), row.expected) << row.name;
    EXPECT_EQ(Ask(udp, TestPacket().Udp(row.source, row.destination)), row.expected) << row.name;
  }
  const auto inverted = ModelOf().Input(
      {RuleOf().Protocol(net::kProtoTcp).With(MultiportMatch{Which::kEither, web, ranges, true})});
  EXPECT_EQ(Ask(inverted, TestPacket().Tcp(1, 2).Cut(3)), Expect::kHotdrop);
  EXPECT_EQ(Ask(inverted, TestPacket().Tcp(1, 2).Cut(4)), Expect::kYes) << "ports are enough";
  EXPECT_EQ(Ask(inverted, TestPacket().Tcp(1, 2).Fragment(8)), Expect::kNo);
}

TEST(MarkMatch, ComparesUnderTheMask) {
  struct Row {
    const char* name;
    MarkMatch match;
    uint32_t mark;
    Expect expected;
  };
  const Row rows[] = {
      {"equal", {5, 0xffffffff, false}, 5, Expect::kYes},
      {"other", {5, 0xffffffff, false}, 6, Expect::kNo},
      {"! equal", {5, 0xffffffff, true}, 5, Expect::kNo},
      {"! other", {5, 0xffffffff, true}, 6, Expect::kYes},
      {"masked", {1, 0x1, false}, 0xff01, Expect::kYes},
      {"a value outside the mask never matches", {3, 0x1, false}, 3, Expect::kNo},
      {"zero mask", {0, 0, false}, 77, Expect::kYes},
  };
  for (const Row& row : rows) {
    const auto model = ModelOf().Input({RuleOf().With(row.match)});
    EXPECT_EQ(Ask(model, TestPacket().Tcp(1, 2).Mark(row.mark)), row.expected) << row.name;
  }
}

TEST(CommentMatch, AlwaysMatches) {
  const auto model = ModelOf().Input({RuleOf().With(CommentMatch{"why"})});
  EXPECT_EQ(Ask(model, TestPacket().Protocol(47)), Expect::kYes);
}

TEST(IpPart, TakesAddressesInterfacesAndProtocols) {
  struct Row {
    const char* name;
    Rule rule;
    TestPacket packet;
    net::PortId in, out;
    bool expected;
  };
  constexpr net::PortId kNone = net::kNoPort;
  const auto tcp = TestPacket("192.0.2.1", "198.51.100.2").Tcp(1, 2);
  AddressMatch odd;  // a mask with a hole: any 192.x.2.x
  odd.address = Address("192.0.2.0");
  odd.mask = Address("255.0.255.0");
  Rule holes = RuleOf();
  holes.ip.source = odd;
  Rule fragments = RuleOf();
  fragments.ip.fragment = true;
  Rule no_fragments = fragments;
  no_fragments.ip.invert_fragment = true;
  const Row rows[] = {
      {"any", RuleOf(), tcp, 0, kNone, true},
      {"-s host", RuleOf().From("192.0.2.1"), tcp, 0, kNone, true},
      {"-s other", RuleOf().From("192.0.2.2"), tcp, 0, kNone, false},
      {"-s net", RuleOf().From("192.0.2.0/24"), tcp, 0, kNone, true},
      {"! -s net", RuleOf().From("192.0.2.0/24", true), tcp, 0, kNone, false},
      {"! -s other net", RuleOf().From("203.0.113.0/24", true), tcp, 0, kNone, true},
      {"-s with a hole in the mask", holes, TestPacket("192.9.2.77").Tcp(1, 2), 0, kNone, true},
      {"-s with a hole, outside", holes, TestPacket("192.9.3.77").Tcp(1, 2), 0, kNone, false},
      {"-d", RuleOf().To("198.51.100.0/24"), tcp, 0, kNone, true},
      {"! -d", RuleOf().To("198.51.100.2", true), tcp, 0, kNone, false},
      {"-i", RuleOf().In("lan0"), tcp, 0, kNone, true},
      {"-i other", RuleOf().In("wan0"), tcp, 0, kNone, false},
      {"! -i", RuleOf().In("lan0", true), tcp, 0, kNone, false},
      {"! -i other", RuleOf().In("wan0", true), tcp, 0, kNone, true},
      {"-i wan+", RuleOf().In("wan+"), tcp, 2, kNone, true},
      {"-i wan+ on lan0", RuleOf().In("wan+"), tcp, 0, kNone, false},
      {"! -i wan+", RuleOf().In("wan+", true), tcp, 2, kNone, false},
      {"-i +", RuleOf().In("+"), tcp, 1, kNone, true},
      {"! -i +", RuleOf().In("+", true), tcp, 1, kNone, false},
      {"-i lo", RuleOf().In("lo"), tcp, 0, kNone, false},
      {"! -i lo", RuleOf().In("lo", true), tcp, 0, kNone, true},
      {"-i l+ takes lan0", RuleOf().In("l+"), tcp, 0, kNone, true},
      {"-i nobody's", RuleOf().In("ppp0"), tcp, 0, kNone, false},
      {"-i without an in port", RuleOf().In("lan0"), tcp, kNone, 1, false},
      {"! -i without an in port", RuleOf().In("lan0", true), tcp, kNone, 1, true},
      {"-i + without an in port", RuleOf().In("+"), tcp, kNone, 1, true},
      {"-o", RuleOf().Out("wan0"), tcp, 0, 1, true},
      {"-o other", RuleOf().Out("wan0"), tcp, 0, 2, false},
      {"! -o", RuleOf().Out("wan0", true), tcp, 0, 2, true},
      {"-o wan+", RuleOf().Out("wan+"), tcp, 0, 2, true},
      {"-p", RuleOf().Protocol(6), tcp, 0, kNone, true},
      {"-p other", RuleOf().Protocol(17), tcp, 0, kNone, false},
      {"! -p", RuleOf().Protocol(6, true), tcp, 0, kNone, false},
      {"! -p other", RuleOf().Protocol(17, true), tcp, 0, kNone, true},
      {"-f", fragments, TestPacket().Tcp(1, 2).Fragment(8), 0, kNone, true},
      {"-f on a whole one", fragments, tcp, 0, kNone, false},
      {"-f on a first fragment", fragments, TestPacket().Tcp(1, 2).Fragment(0), 0, kNone, false},
      {"! -f", no_fragments, TestPacket().Tcp(1, 2).Fragment(8), 0, kNone, false},
      {"! -f on a whole one", no_fragments, tcp, 0, kNone, true},
  };
  for (const Row& row : rows) {
    Walker walker(ModelOf().Input({row.rule}));
    walker.in = row.in;
    walker.out = row.out;
    TestPacket packet(row.packet);
    EXPECT_EQ(walker.Matched(packet), row.expected) << row.name;
  }
}

TEST(IpPart, ComparesAll128Bits) {
  const auto packet = TestPacket("2001:db8:1:2::5", "2001:db8::2").Tcp(1, 2);
  struct Row {
    const char* prefix;
    bool expected;
  };
  const Row rows[] = {
      {"2001:db8::/32", true},
      {"2001:db8:1:2::/64", true},
      {"2001:db8:1:3::/64", false},
      {"2001:db8:1:2::5/128", true},
      {"2001:db8:1:2::4/127", true},
      {"2001:db8:1:2::4/128", false},
      {"::/0", true},
  };
  for (const Row& row : rows) {
    Walker walker(ModelOf(Family::kIpv6).Input({RuleOf().From(row.prefix)}));
    TestPacket copy(packet);
    EXPECT_EQ(walker.Matched(copy), row.expected) << row.prefix;
    Walker inverted(ModelOf(Family::kIpv6).Input({RuleOf().From(row.prefix, true)}));
    EXPECT_EQ(inverted.Matched(copy), !row.expected) << row.prefix;
  }
}

}  // namespace
}  // namespace postern::rules

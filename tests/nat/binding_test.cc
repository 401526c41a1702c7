#include "nat/binding.h"

#include <set>

#include "tests/nat/binding_fixture.h"

namespace postern::nat {
namespace {

TEST_F(BindingTest, FreePortIsKept) {
  for (const uint8_t protocol :
       {net::kProtoTcp, net::kProtoUdp, net::kProtoUdpLite, net::kProtoSctp}) {
    for (const uint16_t port : {1, 511, 512, 600, 1023, 1024, 40000, 65535}) {
      const Choice choice = Source(Flow(protocol, port, 80), To(kWan));
      EXPECT_EQ(choice.tuple.source, kWan);
      EXPECT_EQ(choice.tuple.source_key, port);
      EXPECT_EQ(choice.tuple.destination, kServer);
      EXPECT_EQ(choice.tuple.destination_key, 80);
      EXPECT_FALSE(choice.exhausted);
    }
  }
}

TEST_F(BindingTest, TakenPortIsReplacedWithinItsClass) {
  const struct {
    uint16_t port;
    PortRange wanted;
  } kRows[] = {{1, {1, 511}},       {22, {1, 511}},        {511, {1, 511}},
               {512, {600, 1023}},  {599, {600, 1023}},    {600, {600, 1023}},
               {1023, {600, 1023}}, {1024, {1024, 65535}}, {65535, {1024, 65535}}};
  for (const auto& row : kRows) {
    oracle.taken = [&](const Tuple& reply) { return reply.destination_key == row.port; };
    for (int i = 0; i < 200; ++i) {
      const Choice choice = Source(Flow(net::kProtoTcp, row.port, 80), To(kWan));
      ASSERT_NE(choice.tuple.source_key, row.port);
      ASSERT_TRUE(row.wanted.Contains(choice.tuple.source_key))
          << row.port << " became " << choice.tuple.source_key;
      ASSERT_FALSE(choice.exhausted);
    }
  }
}

TEST_F(BindingTest, PortZeroIsInTheLowestClass) {
  oracle.taken = [](const Tuple& reply) { return reply.destination_key == 0; };
  const Choice choice = Source(Flow(net::kProtoUdp, 0, 53), To(kWan));
  EXPECT_GE(choice.tuple.source_key, 1);
  EXPECT_LE(choice.tuple.source_key, 511);
}

TEST_F(BindingTest, RangeOfPorts) {
  // In range and free: kept.
  EXPECT_EQ(Source(Flow(net::kProtoTcp, 5005, 80), To(kWan, 5000, 5009)).tuple.source_key, 5005);
  // Outside: moved into the range, every port of it is used before it is exhausted.
  std::set<uint16_t> used;
  oracle.taken = [&](const Tuple& reply) { return used.contains(reply.destination_key); };
  for (int i = 0; i < 10; ++i) {
    const Choice choice = Source(Flow(net::kProtoTcp, 40000, 80), To(kWan, 5000, 5009));
    ASSERT_FALSE(choice.exhausted);
    ASSERT_TRUE(used.insert(choice.tuple.source_key).second);
    ASSERT_TRUE((PortRange{5000, 5009}).Contains(choice.tuple.source_key));
  }
  const Choice choice = Source(Flow(net::kProtoTcp, 40000, 80), To(kWan, 5000, 5009));
  EXPECT_TRUE(choice.exhausted);
}

TEST_F(BindingTest, ReversedRangeOfPortsMeansTheSame) {
  const Choice choice = Source(Flow(net::kProtoTcp, 40000, 80), To(kWan, 5009, 5000));
  EXPECT_GE(choice.tuple.source_key, 5000);
  EXPECT_LE(choice.tuple.source_key, 5009);
}

TEST_F(BindingTest, FullTableCostsABoundedSearch) {
  oracle.taken = [](const Tuple&) { return true; };
  const Choice choice = Source(Flow(net::kProtoTcp, 40000, 80), To(kWan));
  EXPECT_TRUE(choice.exhausted);
  // The kept port, then 128 + 64 + 32 + 16 + 8.
  EXPECT_EQ(oracle.asked, 1 + 248);
}

TEST_F(BindingTest, LastAttemptsMayEvict) {
  oracle.taken = [](const Tuple&) { return true; };
  oracle.taken_for_good = [](const Tuple&) { return false; };
  const Choice choice = Source(Flow(net::kProtoTcp, 40000, 80), To(kWan));
  EXPECT_FALSE(choice.exhausted);
  EXPECT_EQ(oracle.asked, 1 + 96);
  EXPECT_EQ(oracle.asked_hard, 1);
}

TEST_F(BindingTest, OnePortRangeIsTakenAsItIs) {
  oracle.taken = [](const Tuple&) { return true; };
  const Choice choice = Source(Flow(net::kProtoTcp, 5000, 80), To(kWan, 5000, 5000));
  EXPECT_EQ(choice.tuple.source_key, 5000);
  EXPECT_TRUE(choice.exhausted);
  oracle.taken = nullptr;
  EXPECT_FALSE(Source(Flow(net::kProtoTcp, 5000, 80), To(kWan, 5000, 5000)).exhausted);
}

TEST_F(BindingTest, RandomChoosesThoughTheOldPortIsFree) {
  for (const bool fully : {false, true}) {
    NatRange range = To(kWan);
    range.random = !fully;
    range.fully_random = fully;
    std::set<uint16_t> ports;
    for (int i = 0; i < 100; ++i) {
      ports.insert(Source(Flow(net::kProtoTcp, 40000, 80), range).tuple.source_key);
    }
    EXPECT_GT(ports.size(), 90U);
    EXPECT_GE(*ports.begin(), 1024);
  }
}

TEST_F(BindingTest, QueryIdIsKeptOrChosenAnew) {
  EXPECT_EQ(Source(Ping(77), To(kWan)).tuple.source_key, 77);
  oracle.taken = [](const Tuple& reply) { return reply.source_key == 77; };
  const Choice choice = Source(Ping(77), To(kWan));
  EXPECT_NE(choice.tuple.source_key, 77);
  EXPECT_EQ(choice.tuple.IcmpType(), net::kIcmpEchoRequest);
  const Choice in_range = Source(Ping(77), To(kWan, 100, 103));
  EXPECT_GE(in_range.tuple.source_key, 100);
  EXPECT_LE(in_range.tuple.source_key, 103);
}

TEST_F(BindingTest, ProtocolsWithoutPortsKeepTheirKeys) {
  oracle.taken = [](const Tuple&) { return true; };
  for (const uint8_t protocol : {net::kProtoGre, net::kProtoEsp}) {
    const Choice choice = Source(Flow(protocol, 0, 9), To(kWan));
    EXPECT_EQ(choice.tuple.source, kWan);
    EXPECT_EQ(choice.tuple.destination_key, 9);
    EXPECT_TRUE(choice.exhausted);
  }
}

// The null binding: no rule matched, the range is the address that the tuple has.
TEST_F(BindingTest, NullBindingChangesNothingThatIsFree) {
  oracle.suits = [](const Tuple&) { return false; };
  const Tuple flow = Flow(net::kProtoUdp, 40000, 53);
  EXPECT_EQ(Source(flow, To(flow.source)).tuple, flow);
  EXPECT_EQ(Destination(flow, To(flow.destination)).tuple, flow);
}

// CONFORMANCE 15: a reply tuple that another connection has gets another port even so.
TEST_F(BindingTest, NullBindingOfAClashGetsAnotherPort) {
  const Tuple flow = Flow(net::kProtoUdp, 40000, 53);
  oracle.taken = [&](const Tuple& reply) { return reply == *Mirror(flow); };
  const Choice choice = Source(flow, To(flow.source));
  EXPECT_EQ(choice.tuple.source, flow.source);
  EXPECT_NE(choice.tuple.source_key, 40000);
  EXPECT_FALSE(choice.exhausted);
}

TEST_F(BindingTest, DestinationPortIsKeptUnlessTheRangeSaysOtherwise) {
  Choice choice = Destination(Flow(net::kProtoTcp, 40000, 8080), To(kWan));
  EXPECT_EQ(choice.tuple.destination, kWan);
  EXPECT_EQ(choice.tuple.destination_key, 8080);
  EXPECT_EQ(choice.tuple.source_key, 40000);
  choice = Destination(Flow(net::kProtoTcp, 40000, 8080), To(kWan, 80, 80));
  EXPECT_EQ(choice.tuple.destination_key, 80);
  // A clash doesn't move a server's port.
  oracle.taken = [](const Tuple&) { return true; };
  choice = Destination(Flow(net::kProtoTcp, 40000, 8080), To(kWan));
  EXPECT_EQ(choice.tuple.destination_key, 8080);
  EXPECT_TRUE(choice.exhausted);
}

TEST_F(BindingTest, RedirectKeepsTheAddress) {
  NatRange range;
  range.has_ports = true;
  range.ports = {3128, 3128};
  const Choice choice = Destination(Flow(net::kProtoTcp, 40000, 80), range);
  EXPECT_EQ(choice.tuple.destination, kServer);
  EXPECT_EQ(choice.tuple.destination_key, 3128);
}

TEST_F(BindingTest, DestinationSearchStartsAtTheFirstPort) {
  EXPECT_EQ(
      Destination(Flow(net::kProtoTcp, 40000, 80), To(kWan, 8000, 8009)).tuple.destination_key,
      8000);
  oracle.taken = [](const Tuple& reply) { return reply.source_key == 8000; };
  EXPECT_EQ(
      Destination(Flow(net::kProtoTcp, 40000, 80), To(kWan, 8000, 8009)).tuple.destination_key,
      8001);
}

TEST_F(BindingTest, BasePortShiftsTheWholeRange) {
  NatRange range = To(kWan, 9000, 9099);
  range.has_base = true;
  range.base_port = 5000;
  for (const uint16_t offset : {0, 1, 42, 99}) {
    const auto port = static_cast<uint16_t>(5000 + offset);
    EXPECT_EQ(Destination(Flow(net::kProtoTcp, 40000, port), range).tuple.destination_key,
              9000 + offset);
  }
}

TEST_F(BindingTest, PrivateNetworkIsTranslatedToFewerAddresses) {
  NatRange range = To(IpAddress::V4(0xcb007110));
  range.last_address = IpAddress::V4(0xcb00711f);
  std::set<IpAddress> used;
  for (uint32_t host = 1; host < 200; ++host) {
    Tuple flow = Flow(net::kProtoTcp, 40000, 80);
    flow.source = IpAddress::V4(0xc0a80100 + host);
    const Choice first = Source(flow, range);
    ASSERT_GE(first.tuple.source, range.first_address);
    ASSERT_LE(first.tuple.source, range.last_address);
    ASSERT_EQ(Source(flow, range).tuple.source, first.tuple.source);
    used.insert(first.tuple.source);
  }
  EXPECT_EQ(used.size(), 16U);
}

TEST_F(BindingTest, PersistentClientHasOneAddressForEveryServer) {
  NatRange range = To(IpAddress::V4(0xcb007110));
  range.last_address = IpAddress::V4(0xcb00711f);
  for (const bool persistent : {false, true}) {
    range.persistent = persistent;
    std::set<IpAddress> used;
    for (uint32_t server = 1; server < 100; ++server) {
      Tuple flow = Flow(net::kProtoTcp, 40000, 80);
      flow.destination = IpAddress::V4(0xc6336400 + server);
      used.insert(Source(flow, range).tuple.source);
    }
    EXPECT_EQ(used.size() == 1, persistent);
  }
}

TEST_F(BindingTest, Ipv6RangeOfAddresses) {
  NatRange range;
  range.has_address = true;
  range.first_address = *net::ParseAddress(Family::kIpv6, "2001:db8:1::fff0");
  range.last_address = *net::ParseAddress(Family::kIpv6, "2001:db8:1::1:f");
  std::set<IpAddress> used;
  for (unsigned host = 1; host < 200; ++host) {
    Tuple flow = Flow(net::kProtoTcp, 40000, 80);
    flow.family = Family::kIpv6;
    flow.source = *net::ParseAddress(Family::kIpv6, "fd00::1");
    flow.source.bytes[15] = static_cast<uint8_t>(host);
    flow.destination = *net::ParseAddress(Family::kIpv6, "2001:db8:2::1");
    const Tuple chosen = Source(flow, range).tuple;
    ASSERT_GE(chosen.source, range.first_address);
    ASSERT_LE(chosen.source, range.last_address);
    used.insert(chosen.source);
  }
  EXPECT_GT(used.size(), 25U);
}

TEST_F(BindingTest, SourceKeepsItsTranslation) {
  const Tuple flow = Flow(net::kProtoUdp, 40000, 53);
  Tuple translated = flow;
  translated.source = kWan;
  translated.source_key = 50001;
  sources.Insert(1, flow, translated);
  Tuple other = flow;
  other.destination = IpAddress::V4(0xc6336499);
  const Choice choice = Source(other, To(kWan));
  EXPECT_EQ(choice.tuple.source_key, 50001);
  EXPECT_EQ(choice.tuple.destination, other.destination);
  // Not when the same server already answers to it …
  oracle.taken = [](const Tuple& reply) { return reply.destination_key == 50001; };
  EXPECT_EQ(Source(flow, To(kWan)).tuple.source_key, 40000);
  oracle.taken = nullptr;
  // … nor when the rule wants something else …
  EXPECT_EQ(Source(flow, To(IpAddress::V4(0xcb007103))).tuple.source_key, 40000);
  EXPECT_NE(Source(flow, To(kWan, 100, 200)).tuple.source_key, 50001);
  // … nor for another source.
  EXPECT_EQ(Source(Flow(net::kProtoUdp, 40001, 53), To(kWan)).tuple.source_key, 40001);
  EXPECT_EQ(Source(Flow(net::kProtoTcp, 40000, 53), To(kWan)).tuple.source_key, 40000);
  // Random ports forget it.
  NatRange random = To(kWan);
  random.random = true;
  EXPECT_NE(Source(flow, random).tuple.source_key, 50001);
}

}  // namespace
}  // namespace postern::nat

#include "dataplane/route/route_table.h"

#include <gtest/gtest.h>

#include "dataplane/net/random.h"

namespace postern::route {
namespace {

IpAddress Address(std::string_view text) {
  const Family family = text.find(':') == std::string_view::npos ? Family::kIpv4 : Family::kIpv6;
  return *net::ParseAddress(family, text);
}
Family FamilyOf(std::string_view text) {
  return text.find(':') == std::string_view::npos ? Family::kIpv4 : Family::kIpv6;
}

// ---- TrieFib ----

struct Naive {
  std::vector<std::pair<Prefix, uint32_t>> entries;

  void Add(const Prefix& prefix, uint32_t next_hop) {
    for (auto& [old, hop] : entries) {
      if (old.family == prefix.family && old.length == prefix.length &&
          old.Contains(prefix.address)) {
        hop = next_hop;
        return;
      }
    }
    entries.emplace_back(prefix, next_hop);
  }
  uint32_t Lookup(Family family, const IpAddress& address) const {
    uint32_t best = Fib::kNone;
    int length = -1;
    for (const auto& [prefix, hop] : entries) {
      if (prefix.family == family && prefix.length > length && prefix.Contains(address)) {
        best = hop;
        length = prefix.length;
      }
    }
    return best;
  }
};

IpAddress RandomAddress(Family family, net::Rng* rng) {
  // Few different bytes, so that prefixes share their beginnings.
  IpAddress address;
  const size_t width = family == Family::kIpv4 ? 4 : 16;
  for (size_t i = 0; i < width; ++i) {
    address.bytes[i] = static_cast<uint8_t>(rng->Below(2) == 0 ? rng->Below(2) : rng->Below(256));
  }
  return address;
}

TEST(TrieFibTest, AgreesWithALinearSearchOnRandomPrefixes) {
  net::Rng rng(7);
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const uint32_t width = family == Family::kIpv4 ? 32 : 128;
    for (int round = 0; round < 20; ++round) {
      const auto fib = MakeTrieFib();
      Naive naive;
      for (uint32_t i = 1; i <= 200; ++i) {
        const Prefix prefix{family, RandomAddress(family, &rng),
                            static_cast<uint8_t>(rng.Below(width + 1))};
        fib->Add(prefix, i);
        naive.Add(prefix, i);
      }
      for (int i = 0; i < 500; ++i) {
        IpAddress address = RandomAddress(family, &rng);
        if (rng.Below(2) == 0) {  // near a prefix: at most one bit off
          address =
              naive.entries[rng.Below(static_cast<uint32_t>(naive.entries.size()))].first.address;
          const uint32_t bit = rng.Below(width);
          address.bytes[bit / 8] ^= static_cast<uint8_t>(0x80 >> (bit % 8));
        }
        ASSERT_EQ(fib->Lookup(family, address), naive.Lookup(family, address))
            << net::ToString(family, address);
      }
    }
  }
}

TEST(TrieFibTest, KnowsNothingWhenEmpty) {
  const auto fib = MakeTrieFib();
  EXPECT_EQ(fib->Lookup(Family::kIpv4, Address("192.0.2.1")), Fib::kNone);
  EXPECT_EQ(fib->Lookup(Family::kIpv6, Address("2001:db8::1")), Fib::kNone);
}

TEST(TrieFibTest, KeepsTheFamiliesApart) {
  const auto fib = MakeTrieFib();
  fib->Add(*net::ParsePrefix("::/0"), 1);
  EXPECT_EQ(fib->Lookup(Family::kIpv4, Address("192.0.2.1")), Fib::kNone);
}

// ---- RouteTable ----

PortConfig Port(PortId id, std::string name, std::vector<std::string> addresses) {
  PortConfig port;
  port.id = id;
  port.name = std::move(name);
  port.mac = {{0x02, 0, 0, 0, 0, static_cast<uint8_t>(id + 1)}};
  for (const std::string& text : addresses) port.addresses.push_back(*net::ParsePrefix(text));
  return port;
}

StaticRoute Route(std::string_view prefix, std::string_view via, PortId port = net::kNoPort) {
  StaticRoute route;
  route.prefix = *net::ParsePrefix(prefix);
  if (!via.empty()) route.via = Address(via);
  route.port = port;
  return route;
}

RouteTable Table() {
  return RouteTable(
      {Port(0, "wan0", {"203.0.113.2/24", "203.0.113.130/25", "2001:db8:1::2/64"}),
       Port(3, "lan0", {"192.0.2.1/24", "198.51.100.1/31", "2001:db8:2::1/64", "fe80::1/64"})},
      {Route("0.0.0.0/0", "203.0.113.1"), Route("::/0", "fe80::99", 0),
       Route("10.0.0.0/8", "192.0.2.254"), Route("10.1.0.0/16", "", 0),
       Route("192.0.2.0/24", "203.0.113.1"), Route("192.0.2.1/32", "203.0.113.1"),
       Route("172.16.0.0/12", "172.31.0.1")},
      MakeTrieFib(), 5);
}

struct LookupRow {
  const char* destination;
  PortId in_port;
  RouteKind kind;
  PortId port;
  const char* next_hop;
};

TEST(RouteTableTest, SendsEachDestinationWhereItBelongs) {
  const PortId none = net::kNoPort;
  const LookupRow rows[] = {
      {"203.0.113.2", none, RouteKind::kLocal, 0, "203.0.113.2"},
      {"192.0.2.1", 0, RouteKind::kLocal, 3, "192.0.2.1"},  // weak host model; before a /32 route
      {"203.0.113.9", none, RouteKind::kUnicast, 0, "203.0.113.9"},
      {"192.0.2.7", none, RouteKind::kUnicast, 3, "192.0.2.7"},  // not by the static route
      {"192.0.2.255", none, RouteKind::kBroadcast, 3, "192.0.2.255"},
      {"192.0.2.0", none, RouteKind::kUnicast, 3, "192.0.2.0"},  // Linux 5.14: no broadcast
      {"203.0.113.255", none, RouteKind::kBroadcast, 0, "203.0.113.255"},
      {"198.51.100.0", none, RouteKind::kUnicast, 3, "198.51.100.0"},  // RFC 3021
      {"198.51.100.1", none, RouteKind::kLocal, 3, "198.51.100.1"},
      {"255.255.255.255", 3, RouteKind::kBroadcast, 3, "255.255.255.255"},
      {"224.0.0.1", 3, RouteKind::kMulticast, 3, "224.0.0.1"},
      {"8.8.8.8", none, RouteKind::kUnicast, 0, "203.0.113.1"},
      {"10.2.3.4", none, RouteKind::kUnicast, 3, "192.0.2.254"},
      {"10.1.3.4", none, RouteKind::kUnicast, 0, "10.1.3.4"},
      // Its gateway is on no subnet, so the route doesn't exist.
      {"172.16.0.1", none, RouteKind::kUnicast, 0, "203.0.113.1"},
      {"127.0.0.1", 3, RouteKind::kLocal, 3, "127.0.0.1"},  // by lo
      {"0.0.0.0", none, RouteKind::kUnreachable, none, "0.0.0.0"},
      {"2001:db8:2::1", none, RouteKind::kLocal, 3, "2001:db8:2::1"},
      {"2001:db8:2::5", none, RouteKind::kUnicast, 3, "2001:db8:2::5"},
      {"2001:db8:9::5", none, RouteKind::kUnicast, 0, "fe80::99"},
      {"ff02::1", 3, RouteKind::kMulticast, 3, "ff02::1"},
      {"fe80::ff:fe00:1", 0, RouteKind::kLocal, 0, "fe80::ff:fe00:1"},
      {"fe80::ff:fe00:1", 3, RouteKind::kUnicast, 3, "fe80::ff:fe00:1"},  // the other link
      {"fe80::1", 3, RouteKind::kLocal, 3, "fe80::1"},
      {"fe80::1", 0, RouteKind::kUnicast, 0, "fe80::1"},
      {"fe80::77", none, RouteKind::kUnreachable, none, "::"},
      {"::1", 3, RouteKind::kLocal, 3, "::1"},
  };
  const RouteTable table = Table();
  for (const LookupRow& row : rows) {
    SCOPED_TRACE(row.destination);
    const Family family = FamilyOf(row.destination);
    const RouteResult result = table.Lookup(family, Address(row.destination), row.in_port);
    EXPECT_EQ(result.kind, row.kind);
    EXPECT_EQ(result.port, row.port);
    EXPECT_EQ(net::ToString(family, result.next_hop), row.next_hop);
  }
}

TEST(RouteTableTest, UnreachableWithoutADefaultRoute) {
  const RouteTable table({Port(0, "lan0", {"192.0.2.1/24"})}, {}, MakeTrieFib(), 1);
  EXPECT_EQ(table.Lookup(Family::kIpv4, Address("198.51.100.1")).kind, RouteKind::kUnreachable);
  EXPECT_EQ(table.Lookup(Family::kIpv6, Address("2001:db8::1")).kind, RouteKind::kUnreachable);
}

TEST(RouteTableTest, ChoosesTheSourceByNextHopOrDestination) {
  const RouteTable table = Table();
  struct Row {
    PortId port;
    const char* towards;
    const char* source;
  };
  const Row rows[] = {
      {0, "203.0.113.1", "203.0.113.2"},  {3, "198.51.100.0", "198.51.100.1"},
      {3, "10.9.9.9", "192.0.2.1"},       {0, "2001:db8:1::9", "2001:db8:1::2"},
      {0, "fe80::99", "fe80::ff:fe00:1"}, {3, "fe80::99", "fe80::1"},
  };
  for (const Row& row : rows) {
    const Family family = FamilyOf(row.towards);
    const auto source = table.SourceFor(row.port, family, Address(row.towards));
    ASSERT_TRUE(source) << row.towards;
    EXPECT_EQ(net::ToString(family, *source), row.source);
  }
}

TEST(RouteTableTest, BorrowsASourceFromAnotherPort) {
  const RouteTable table({Port(0, "wan0", {}), Port(1, "lan0", {"192.0.2.1/24"})}, {},
                         MakeTrieFib(), 1);
  EXPECT_EQ(table.SourceFor(0, Family::kIpv4, Address("198.51.100.1")), Address("192.0.2.1"));
  EXPECT_EQ(table.RedirectTo(0, Family::kIpv4, Address("198.51.100.1")), std::nullopt);
  EXPECT_EQ(table.RedirectTo(0, Family::kIpv6, Address("2001:db8::1")), Address("fe80::ff:fe00:1"));
  EXPECT_EQ(table.SourceFor(9, Family::kIpv4, Address("192.0.2.2")), std::nullopt);
}

// RFC 6724 section 5 in its order, and of equals the last one; the gateway's subnet doesn't count.
TEST(RouteTableTest, ChoosesAnIpv6SourceForTheDestination) {
  const RouteTable table({Port(0, "wan0",
                               {"fd00:1::2/64", "2002:c633:6401::2/64", "2001:db8:1:7::2/64",
                                "fe80::77/64", "2001:db8:1::2/64", "fec0::2/64"}),
                          Port(1, "lan0", {"2001:db8:2::1/64"}), Port(2, "dmz0", {})},
                         {}, MakeTrieFib(), 1);
  struct Row {
    PortId port;
    const char* destination;
    const char* source;
  };
  const Row rows[] = {
      {1, "2001:db8:1::2", "2001:db8:1::2"},      // the very one
      {0, "fe80::9", "fe80::77"},                 // no more than the scope
      {0, "fec0::9", "fec0::2"},                  // likewise
      {0, "ff02::9", "fe80::77"},                 // a group's scope
      {1, "2001:db8:1::9", "2001:db8:2::1"},      // the port's own
      {0, "fd00:9::9", "fd00:1::2"},              // of its kind
      {0, "2002::9", "2002:c633:6401::2"},        // of its kind
      {0, "2001:db8:1:7::9", "2001:db8:1:7::2"},  // the nearest
      {0, "2001:db8:ffff::9", "2001:db8:1::2"},   // the last
      {2, "2001:db8:2::9", "2001:db8:2::1"},      // another port's rather than a link-local one
      {2, "fe80::9", "fe80::ff:fe00:3"},          // but not beyond the link
  };
  for (const Row& row : rows) {
    const auto source = table.SourceFor(row.port, Family::kIpv6, Address(row.destination));
    ASSERT_TRUE(source) << row.destination;
    EXPECT_EQ(net::ToString(Family::kIpv6, *source), row.source) << row.destination;
  }
}

TEST(RouteTableTest, AnIpv4RoutePrefersItsSubnetsAddress) {
  const RouteTable table({Port(0, "lan0", {"192.168.0.1/16", "192.168.1.1/24"})}, {}, MakeTrieFib(),
                         1);
  const IpAddress host = Address("192.168.1.9");
  EXPECT_EQ(table.Ipv4SourceOf(table.Lookup(Family::kIpv4, host), host), Address("192.168.1.1"));
  EXPECT_EQ(table.SourceFor(0, Family::kIpv4, host), Address("192.168.0.1"));
}

TEST(RouteTableTest, AnUnknownPortIsEmpty) {
  const RouteTable table = Table();
  EXPECT_FALSE(table.HasPort(1));
  EXPECT_TRUE(table.port(1).name.empty());
  EXPECT_EQ(table.port(3).name, "lan0");
  EXPECT_EQ(table.generation(), 5U);
}

TEST(RouteTableTest, LinkLocalAddressIsModifiedEui64) {
  EXPECT_EQ(LinkLocalAddress(*net::ParseMac("00:25:96:12:34:56")),
            Address("fe80::225:96ff:fe12:3456"));
}

}  // namespace
}  // namespace postern::route

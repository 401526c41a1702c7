#include "dataplane/dpdk/rte_fib_adapter.h"

#include <gtest/gtest.h>

#include <vector>

#include "dataplane/net/random.h"

namespace postern::dpdk {
namespace {

using net::Family;
using net::IpAddress;
using net::Prefix;

struct Route {
  Prefix prefix;
  uint32_t next_hop;
};

// The longest prefix by looking at all of them.
uint32_t LookupSlowly(const std::vector<Route>& routes, Family family, const IpAddress& address) {
  const Route* best = nullptr;
  for (const Route& route : routes) {
    if (route.prefix.family != family || !route.prefix.Contains(address)) continue;
    if (best == nullptr || route.prefix.length >= best->prefix.length) best = &route;
  }
  return best == nullptr ? route::Fib::kNone : best->next_hop;
}

// Few different bits, so that prefixes cover one another.
IpAddress RandomAddress(net::Rng& random, Family family) {
  IpAddress address;
  for (int i = 0; i < (family == Family::kIpv4 ? 4 : 16); ++i) {
    address.bytes[static_cast<size_t>(i)] = static_cast<uint8_t>(random.Below(3));
  }
  return address;
}

TEST(RteFib, AgreesWithTheLongestPrefix) {
  const auto fib = MakeRteFib(2000);
  ASSERT_NE(fib, nullptr);
  net::Rng random(11);
  std::vector<Route> routes;
  for (uint32_t i = 1; i <= 600; ++i) {
    const Family family = i % 2 == 0 ? Family::kIpv4 : Family::kIpv6;
    Prefix prefix{family, RandomAddress(random, family), 0};
    prefix.length = static_cast<uint8_t>(random.Below(family == Family::kIpv4 ? 33 : 129));
    fib->Add(prefix, i);
    routes.push_back({prefix, i});
  }
  for (int i = 0; i < 20'000; ++i) {
    const Family family = i % 2 == 0 ? Family::kIpv4 : Family::kIpv6;
    const IpAddress address = RandomAddress(random, family);
    ASSERT_EQ(fib->Lookup(family, address), LookupSlowly(routes, family, address))
        << net::ToString(family, address);
  }
}

TEST(RteFib, HasNothingWithoutARoute) {
  const auto fib = MakeRteFib(16);
  ASSERT_NE(fib, nullptr);
  EXPECT_EQ(fib->Lookup(Family::kIpv4, IpAddress::V4(0xc0000201)), route::Fib::kNone);
  EXPECT_EQ(fib->Lookup(Family::kIpv6, IpAddress()), route::Fib::kNone);
  fib->Add({Family::kIpv4, {}, 0}, 5);
  EXPECT_EQ(fib->Lookup(Family::kIpv4, IpAddress::V4(0xc0000201)), 5U);
  EXPECT_EQ(fib->Lookup(Family::kIpv6, IpAddress()), route::Fib::kNone);
}

}  // namespace
}  // namespace postern::dpdk

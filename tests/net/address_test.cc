#include "dataplane/net/address.h"

#include <gtest/gtest.h>

namespace postern::net {
namespace {

TEST(AddressTest, ParsesAndPrints) {
  const struct {
    Family family;
    const char* text;
    const char* printed;  // null: refused
  } kRows[] = {
      {Family::kIpv4, "192.0.2.1", "192.0.2.1"},         {Family::kIpv4, "192.0.2", nullptr},
      {Family::kIpv4, "192.0.2.256", nullptr},           {Family::kIpv4, "", nullptr},
      {Family::kIpv6, "2001:DB8:0:0::1", "2001:db8::1"}, {Family::kIpv6, "::", "::"},
      {Family::kIpv6, "2001:db8::1::2", nullptr},        {Family::kIpv6, "192.0.2.1", nullptr},
  };
  for (const auto& row : kRows) {
    const auto address = ParseAddress(row.family, row.text);
    ASSERT_EQ(address.has_value(), row.printed != nullptr) << row.text;
    if (address) {
      EXPECT_EQ(ToString(row.family, *address), row.printed);
    }
  }
}

TEST(AddressTest, WordsAndV4RoundTrip) {
  const IpAddress v4 = IpAddress::V4(0xc0000201);
  EXPECT_EQ(ToString(Family::kIpv4, v4), "192.0.2.1");
  EXPECT_EQ(v4.AsV4(), 0xc0000201);
  IpAddress v6 = *ParseAddress(Family::kIpv6, "2001:db8::1");
  EXPECT_EQ(v6.Word(0), 0x20010db8U);
  v6.SetWord(3, 0xffff0002);
  EXPECT_EQ(ToString(Family::kIpv6, v6), "2001:db8::ffff:2");
}

TEST(PrefixTest, ContainsExactlyItsAddresses) {
  const struct {
    const char* prefix;
    const char* address;
    bool inside;
  } kRows[] = {
      {"192.0.2.0/24", "192.0.2.255", true},       {"192.0.2.0/24", "192.0.3.0", false},
      {"192.0.2.129/25", "192.0.2.128", true},     {"192.0.2.129/25", "192.0.2.127", false},
      {"0.0.0.0/0", "203.0.113.7", true},          {"192.0.2.1", "192.0.2.1", true},
      {"192.0.2.1", "192.0.2.0", false},           {"2001:db8::/33", "2001:db8:7fff::1", true},
      {"2001:db8::/33", "2001:db8:8000::", false},
  };
  for (const auto& row : kRows) {
    const auto prefix = ParsePrefix(row.prefix);
    ASSERT_TRUE(prefix) << row.prefix;
    EXPECT_EQ(prefix->Contains(*ParseAddress(prefix->family, row.address)), row.inside)
        << row.prefix << " " << row.address;
  }
  for (const char* bad : {"192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1", "2001:db8::/129", "/8"}) {
    EXPECT_FALSE(ParsePrefix(bad)) << bad;
  }
}

TEST(PrefixTest, MaskLengthInvertsPrefixMask) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (unsigned length = 0; length <= (family == Family::kIpv4 ? 32U : 128U); ++length) {
      EXPECT_EQ(MaskLength(family, PrefixMask(family, length)), length);
    }
  }
  EXPECT_FALSE(MaskLength(Family::kIpv4, IpAddress::V4(0xff00ff00)));
}

TEST(AddressTest, Classes) {
  EXPECT_TRUE(IsMulticast(Family::kIpv4, IpAddress::V4(0xe0000001)));
  EXPECT_FALSE(IsMulticast(Family::kIpv4, IpAddress::V4(0xdfffffff)));
  EXPECT_TRUE(IsMulticast(Family::kIpv6, *ParseAddress(Family::kIpv6, "ff02::1")));
  EXPECT_TRUE(IsLoopback(Family::kIpv4, IpAddress::V4(0x7f123456)));
  EXPECT_TRUE(IsLoopback(Family::kIpv6, *ParseAddress(Family::kIpv6, "::1")));
  EXPECT_FALSE(IsLoopback(Family::kIpv6, *ParseAddress(Family::kIpv6, "::2")));
  EXPECT_TRUE(IsLinkLocal(Family::kIpv6, *ParseAddress(Family::kIpv6, "fe80::1")));
  EXPECT_FALSE(IsLinkLocal(Family::kIpv6, *ParseAddress(Family::kIpv6, "fec0::1")));
}

TEST(MacTest, ParsesAndPrints) {
  EXPECT_EQ(ToString(*ParseMac("02:00:00:00:00:fE")), "02:00:00:00:00:fe");
  for (const char* bad : {"02:00:00:00:00", "02-00-00-00-00-01", "0g:00:00:00:00:01", ""}) {
    EXPECT_FALSE(ParseMac(bad)) << bad;
  }
}

}  // namespace
}  // namespace postern::net

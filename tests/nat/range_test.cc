#include "nat/range.h"

#include <gtest/gtest.h>

namespace postern::nat {
namespace {

using net::Family;
using net::Manip;
using net::NatRange;
using net::Tuple;

// What Linux 6.18 chose for UDP from 4000 to 53: SNAT and DNAT with a range of addresses, read from
// the packets that came out.
TEST(SpreadAddressTest, ChoosesWhatLinuxChooses) {
  const struct {
    Family family;
    Manip manip;
    const char* first;
    const char* last;
    bool persistent;
    const char* source;
    const char* destination;
    const char* chosen;
  } kRows[] = {
      {Family::kIpv4, Manip::kSource, "203.0.113.16", "203.0.113.31", false, "192.168.130.191",
       "198.51.183.14", "203.0.113.31"},
      {Family::kIpv4, Manip::kSource, "203.0.113.16", "203.0.113.31", false, "192.168.238.200",
       "198.51.127.26", "203.0.113.25"},
      {Family::kIpv4, Manip::kSource, "203.0.113.16", "203.0.113.31", false, "192.168.80.30",
       "198.51.190.240", "203.0.113.19"},
      {Family::kIpv4, Manip::kSource, "203.0.113.16", "203.0.113.31", true, "192.168.75.30",
       "198.51.193.91", "203.0.113.24"},
      {Family::kIpv4, Manip::kSource, "203.0.113.16", "203.0.113.31", true, "192.168.255.224",
       "198.51.173.92", "203.0.113.27"},
      {Family::kIpv4, Manip::kSource, "203.0.113.16", "203.0.113.31", true, "192.168.45.127",
       "198.51.139.184", "203.0.113.21"},
      {Family::kIpv4, Manip::kSource, "203.0.112.250", "203.0.114.7", false, "192.168.6.124",
       "198.51.140.124", "203.0.113.135"},
      {Family::kIpv4, Manip::kSource, "203.0.112.250", "203.0.114.7", false, "192.168.242.202",
       "198.51.18.125", "203.0.113.27"},
      {Family::kIpv4, Manip::kSource, "203.0.112.250", "203.0.114.7", false, "192.168.250.70",
       "198.51.79.146", "203.0.113.6"},
      {Family::kIpv4, Manip::kDestination, "192.168.7.16", "192.168.8.31", false, "198.51.251.212",
       "203.0.113.2", "192.168.7.214"},
      {Family::kIpv4, Manip::kDestination, "192.168.7.16", "192.168.8.31", false, "198.51.108.37",
       "203.0.113.2", "192.168.7.78"},
      {Family::kIpv4, Manip::kDestination, "192.168.7.16", "192.168.8.31", false, "198.51.192.92",
       "203.0.113.2", "192.168.7.231"},
      {Family::kIpv4, Manip::kDestination, "192.168.7.16", "192.168.8.31", true, "198.51.30.178",
       "203.0.113.2", "192.168.7.207"},
      {Family::kIpv4, Manip::kDestination, "192.168.7.16", "192.168.8.31", true, "198.51.11.174",
       "203.0.113.2", "192.168.7.56"},
      {Family::kIpv4, Manip::kDestination, "192.168.7.16", "192.168.8.31", true, "198.51.233.122",
       "203.0.113.2", "192.168.7.149"},
      {Family::kIpv6, Manip::kSource, "2001:db8:1::fff0", "2001:db8:1::1:f", false,
       "fd00::1340:f33e", "2001:db8:f8cc::31cb", "2001:db8:1::fff1"},
      {Family::kIpv6, Manip::kSource, "2001:db8:1::fff0", "2001:db8:1::1:f", false,
       "fd00::5bd8:b21d", "2001:db8:8245::a3fc", "2001:db8:1::fff5"},
      {Family::kIpv6, Manip::kSource, "2001:db8:1::fff0", "2001:db8:1::1:f", false,
       "fd00::ce01:3026", "2001:db8:8813::3bd6", "2001:db8:1::fff2"},
      {Family::kIpv6, Manip::kSource, "2001:db8:1::fff0", "2001:db8:1::1:f", true,
       "fd00::de7e:cb78", "2001:db8:6e00::1e43", "2001:db8:1::fffe"},
      {Family::kIpv6, Manip::kSource, "2001:db8:1::fff0", "2001:db8:1::1:f", true,
       "fd00::aabe:512d", "2001:db8:7231::ea3d", "2001:db8:1::fff8"},
      {Family::kIpv6, Manip::kSource, "2001:db8:1::fff0", "2001:db8:1::1:f", true,
       "fd00::74e2:7605", "2001:db8:98b2::6f25", "2001:db8:1::fff6"},
      {Family::kIpv6, Manip::kSource, "2001:db8:5::", "2001:db8:6::ffff", false, "fd00::d8df:64b8",
       "2001:db8:f824::c2", "2001:db8:5:4758:4758:a330:4758:a330"},
      {Family::kIpv6, Manip::kSource, "2001:db8:5::", "2001:db8:6::ffff", false, "fd00::c7c3:60c5",
       "2001:db8:2daa::c035", "2001:db8:5:f14a:f149:d7b:f149:d7b"},
      {Family::kIpv6, Manip::kSource, "2001:db8:5::", "2001:db8:6::ffff", false, "fd00::6a13:e903",
       "2001:db8:ad79::9d11", "2001:db8:5:bb5a:bb59:8870:bb59:8870"},
  };
  for (const auto& row : kRows) {
    NatRange range;
    range.has_address = true;
    range.first_address = *net::ParseAddress(row.family, row.first);
    range.last_address = *net::ParseAddress(row.family, row.last);
    range.persistent = row.persistent;
    Tuple tuple;
    tuple.family = row.family;
    tuple.protocol = net::kProtoUdp;
    tuple.source = *net::ParseAddress(row.family, row.source);
    tuple.destination = *net::ParseAddress(row.family, row.destination);
    SpreadAddress(row.manip, range, &tuple);
    const auto& chosen = row.manip == Manip::kSource ? tuple.source : tuple.destination;
    EXPECT_EQ(net::ToString(row.family, chosen), row.chosen) << row.source << row.destination;
  }
}

TEST(SpreadAddressTest, WithoutAddressesNothingChanges) {
  Tuple tuple;
  tuple.source = net::IpAddress::V4(0xc0000201);
  const Tuple before = tuple;
  SpreadAddress(Manip::kSource, {}, &tuple);
  EXPECT_EQ(tuple, before);
}

TEST(KeyInRangeTest, LooksAtWhatAProtocolHas) {
  NatRange range;
  range.has_ports = true;
  range.ports = {100, 200};
  const struct {
    uint8_t protocol;
    uint16_t source_key;
    uint16_t destination_key;
    Manip manip;
    bool inside;
  } kRows[] = {
      {net::kProtoTcp, 100, 0, Manip::kSource, true},
      {net::kProtoTcp, 201, 150, Manip::kSource, false},
      {net::kProtoTcp, 150, 99, Manip::kDestination, false},
      {net::kProtoUdp, 0, 200, Manip::kDestination, true},
      {net::kProtoIcmp, 150, 8 << 8, Manip::kSource, true},
      {net::kProtoIcmp, 150, 8 << 8, Manip::kDestination, true},  // the id, in either direction
      {net::kProtoIcmpv6, 99, 128 << 8, Manip::kSource, false},
      {net::kProtoGre, 0, 150, Manip::kDestination, true},
      {net::kProtoGre, 0, 150, Manip::kSource, false},
      {net::kProtoEsp, 0, 0, Manip::kSource, true},
  };
  for (const auto& row : kRows) {
    Tuple tuple;
    tuple.protocol = row.protocol;
    tuple.source_key = row.source_key;
    tuple.destination_key = row.destination_key;
    EXPECT_EQ(KeyInRange(tuple, row.manip, range), row.inside) << int{row.protocol};
  }
}

TEST(SourceInRangeTest, EndsBelongToTheRange) {
  NatRange range;
  range.has_address = true;
  range.first_address = net::IpAddress::V4(0xcb0071ff);
  range.last_address = net::IpAddress::V4(0xcb007201);
  const struct {
    uint32_t address;
    bool inside;
  } kRows[] = {{0xcb0071fe, false},
               {0xcb0071ff, true},
               {0xcb007200, true},
               {0xcb007201, true},
               {0xcb007202, false}};
  for (const auto& row : kRows) {
    Tuple tuple;
    tuple.protocol = net::kProtoUdp;
    tuple.source = net::IpAddress::V4(row.address);
    EXPECT_EQ(SourceInRange(tuple, range), row.inside) << row.address;
  }
}

}  // namespace
}  // namespace postern::nat

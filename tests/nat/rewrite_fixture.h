// A LAN behind a translated address, a web server and a router beyond it; and what must hold of a
// packet that was translated.
#pragma once

#include <gtest/gtest.h>

#include "dataplane/net/checksum.h"
#include "dataplane/net/random.h"
#include "nat/rewrite.h"
#include "tests/support/packet_builder.h"

namespace postern::nat {

using Frame = test::Packet;
using net::Family;
using net::IpAddress;
using net::Manip;
using net::Mirror;
using net::Packet;
using net::Tuple;
using net::TupleOf;
using test::Bytes;
using test::OwnedPacket;

inline constexpr std::string_view kLan4 = "192.168.1.101", kWan4 = "203.0.113.2",
                                  kWeb4 = "198.51.100.7";
inline constexpr std::string_view kRouter4 = "198.51.100.254";
inline constexpr std::string_view kLan6 = "fd00::101", kWan6 = "2001:db8:1::2",
                                  kWeb6 = "2001:db8:2::7";
inline constexpr std::string_view kRouter6 = "2001:db8:2::fe";

inline IpAddress Address(Family family, std::string_view text) {
  return *net::ParseAddress(family, text);
}
inline std::string_view Lan(Family f) { return f == Family::kIpv4 ? kLan4 : kLan6; }
inline std::string_view Wan(Family f) { return f == Family::kIpv4 ? kWan4 : kWan6; }
inline std::string_view Web(Family f) { return f == Family::kIpv4 ? kWeb4 : kWeb6; }
inline std::string_view Router(Family f) { return f == Family::kIpv4 ? kRouter4 : kRouter6; }

inline Frame From(Family family, std::string_view source, std::string_view destination) {
  return family == Family::kIpv4 ? Frame().Ipv4(source, destination)
                                 : Frame().Ipv6(source, destination);
}

// What a fresh parse says, to compare with the ParsedPacket that was kept in step.
inline void ExpectInStep(const Packet& packet) {
  Packet fresh = packet;
  ASSERT_EQ(net::Parse(&fresh).kind, net::FrameKind::kIp);  // the IPv4 checksum is right, too
  EXPECT_EQ(fresh.ip.source, packet.ip.source);
  EXPECT_EQ(fresh.ip.destination, packet.ip.destination);
  EXPECT_EQ(fresh.ip.source_port, packet.ip.source_port);
  EXPECT_EQ(fresh.ip.destination_port, packet.ip.destination_port);
  EXPECT_EQ(fresh.ip.icmp_id, packet.ip.icmp_id);
  EXPECT_EQ(fresh.ip.gre_key, packet.ip.gre_key);
}

}  // namespace postern::nat

// The frames that the tests of parsing begin with.
#pragma once

#include <string_view>

#include "tests/support/packet_builder.h"

namespace postern::net {

// The builder bears the name of what it builds.
using Frame = test::Packet;
using test::Bytes;
using test::OwnedPacket;

inline constexpr std::string_view kA4 = "192.0.2.1", kB4 = "198.51.100.2";
inline constexpr std::string_view kA6 = "2001:db8::1", kB6 = "2001:db8:1::2";

inline Frame Udp4() { return Frame().Ipv4(kA4, kB4).Udp(40000, 53).Payload("query"); }
inline Frame Udp6() { return Frame().Ipv6(kA6, kB6).Udp(40000, 53).Payload("query"); }

}  // namespace postern::net

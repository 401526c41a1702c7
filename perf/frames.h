// The prepared packets of the benchmarks, between clients on the LAN and servers on the WAN: from
// the benchmarking networks of RFC 2544 (198.18.0.0/15) and RFC 5180 (2001:2::/48). The payload is
// zeros, so a frame is its headers and its length.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/net/address.h"
#include "dataplane/net/packet.h"

namespace postern::perf {

inline constexpr net::PortId kWan = 0;
inline constexpr net::PortId kLan = 1;
inline constexpr net::MacAddress kWanMac{{0x02, 0, 0, 0, 0, 0x01}};
inline constexpr net::MacAddress kLanMac{{0x02, 0, 0, 0, 0, 0x02}};
inline constexpr net::MacAddress kWanPeerMac{{0x02, 0, 0, 0, 0, 0x11}};
inline constexpr net::MacAddress kLanPeerMac{{0x02, 0, 0, 0, 0, 0x12}};

inline constexpr uint32_t kWanAddress = 0xcb007102;  // 203.0.113.2
inline constexpr uint32_t kDnatServer = 0xc612000a;  // 198.18.0.10
inline constexpr uint16_t kDnatPort = 8080;
// A 64-byte frame without the FCS, which software never sees.
inline constexpr uint16_t kFrameBytes = 60;

struct Frame {
  static constexpr size_t kHeaderBytes = 78;  // Ethernet, IPv6, TCP, and some padding
  std::array<uint8_t, kHeaderBytes> bytes{};
  uint16_t length = kFrameBytes;  // what lies behind `bytes` is zero
};
static_assert(sizeof(Frame) == 80);

// Of an IPv6 endpoint only the last 32 bits are kept here; its prefix is the side's, which
// kClients and kServers tell apart. Addresses and ports in host order.
struct Endpoints {
  uint32_t source = 0;
  uint32_t destination = 0;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
};

// What a segment of the benchmarks' TCP connections says.
struct TcpFields {
  uint8_t flags = 0;
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
};

// `length` without FCS; a frame is never shorter than its headers.
struct FrameShape {
  net::Family family = net::Family::kIpv4;
  uint16_t length = kFrameBytes;
};

// The connection number `index` (below 60 million): every one has its own tuple, and every one its
// own after MASQUERADE, too, if the source port is kept. From the LAN to the WAN, or, `inwards`,
// from the WAN to kWanAddress:kDnatPort (IPv4 only).
Endpoints FlowAt(uint32_t index, bool inwards);

// The IPv6 address that stands for an endpoint of FlowAt.
net::IpAddress Ipv6Of(uint32_t endpoint);

// Frames for the appliance as they arrive on `port`, checksums filled in.
Frame MakeUdp(const Endpoints& ends, net::PortId port, const FrameShape& shape = {});
Frame MakeTcp(const Endpoints& ends, const TcpFields& tcp, net::PortId port,
              const FrameShape& shape = {});

// Whom a frame that was sent goes to, turned round: the ends of its answer.
Endpoints AnswerTo(std::span<const uint8_t> sent);

}  // namespace postern::perf

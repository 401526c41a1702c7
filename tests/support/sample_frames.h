// A frame of every kind that the parser knows, for tests that cut and mutate them.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/net/random.h"
#include "dataplane/net/wire.h"
#include "tests/support/packet_builder.h"

namespace postern::test {

// The IP length field (and IPv4 checksum) made to say what the frame has: cuts the datagram, not
// only the frame.
inline void FitIpLength(Bytes* frame) {
  constexpr size_t kL3 = sizeof(net::EthernetHeader);
  if (frame->size() < kL3 + sizeof(net::Ipv4Header)) return;
  auto* ipv4 = reinterpret_cast<net::Ipv4Header*>(frame->data() + kL3);
  if (ipv4->Version() == 4) {
    ipv4->total_length = static_cast<uint16_t>(frame->size() - kL3);
    if (frame->size() >= kL3 + ipv4->HeaderLength()) net::SetIpv4Checksum(ipv4);
  } else if (frame->size() >= kL3 + sizeof(net::Ipv6Header)) {
    reinterpret_cast<net::Ipv6Header*>(frame->data() + kL3)->payload_length =
        static_cast<uint16_t>(frame->size() - kL3 - sizeof(net::Ipv6Header));
  }
}

inline Bytes SctpInit() {
  Bytes bytes = {0x9c, 0x40, 0x0b, 0x59, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20,
                 0,    0,    0,    1,    0, 0, 8, 0, 0, 1, 0, 1, 0, 0, 0, 1};
  const auto crc = net::SctpChecksum(bytes.data(), bytes.size());
  std::copy(crc.begin(), crc.end(), bytes.begin() + 8);
  return bytes;
}

inline std::vector<Bytes> SampleFrames() {
  constexpr std::string_view kA4 = "192.0.2.1", kB4 = "198.51.100.2";
  constexpr std::string_view kA6 = "2001:db8::1", kB6 = "2001:db8:1::2";
  std::vector<Bytes> out;
  const Bytes tcp4 =
      Packet().Ipv4(kA4, kB4).Tcp(40000, 80, net::kTcpSyn).Mss(1460).WindowScale(7).Frame();
  const Bytes udp4 = Packet().Ipv4(kA4, kB4).Udp(40000, 53).PayloadLength(33).Frame();
  const Bytes tcp6 = Packet().Ipv6(kA6, kB6).Tcp(40000, 80, net::kTcpAck).Payload("x").Frame();
  const Bytes udp6 = Packet().Ipv6(kA6, kB6).Udp(40000, 53).PayloadLength(9).Frame();
  const Bytes ping4 = Packet().Ipv4(kA4, kB4).Icmp(8, 0, 7, 1).PayloadLength(56).Frame();
  const Bytes ping6 = Packet().Ipv6(kA6, kB6).Icmpv6(128, 0, 7, 1).PayloadLength(56).Frame();
  const Bytes options4 =
      Packet().Ipv4(kA4, kB4).IpOptions({7, 7, 4, 0, 0, 0, 0}).Udp(1, 2).Payload("abc").Frame();
  const Bytes chain6 = Packet()
                           .Ipv6(kA6, kB6)
                           .Extension(net::kProtoHopByHop, {0, 1, 4, 0, 0, 0, 0})
                           .Extension(net::kProtoDestinationOptions, {0, 1, 4, 0, 0, 0, 0})
                           .Extension(net::kProtoRouting, {0, 4, 0, 0, 0, 0, 0})
                           .Tcp(40000, 80, net::kTcpSyn)
                           .Frame();
  for (const Bytes& frame : {tcp4, udp4, tcp6, udp6, ping4, ping6, options4, chain6}) {
    out.push_back(frame);
    const bool v4 = frame[12] == 0x08;
    for (const uint8_t type : {1, 2, 3, 4, 5, 11, 12}) {
      out.push_back(v4 ? Packet().Ipv4("203.0.113.9", kA4).Icmp(type).Quote(frame).Frame()
                       : Packet().Ipv6("2001:db8:9::9", kA6).Icmpv6(type).Quote(frame).Frame());
    }
  }
  out.push_back(Packet().Ipv4(kA4, kB4).Udp(1, 2).NoUdpChecksum().Payload("abc").Frame());
  out.push_back(Packet().Ipv4(kA4, kB4).UdpLite(1, 2).Payload("abc").Frame());
  out.push_back(Packet().Ipv4(kA4, kB4).Fragment(9, 0, true).Udp(1, 2).PayloadLength(24).Frame());
  out.push_back(Packet().Ipv4(kA4, kB4).Fragment(9, 32, false).Raw(17).PayloadLength(5).Frame());
  out.push_back(Packet().Ipv6(kA6, kB6).Fragment(9, 0, true).Udp(1, 2).PayloadLength(24).Frame());
  out.push_back(Packet().Ipv6(kA6, kB6).Fragment(9, 32, false).Raw(17).PayloadLength(5).Frame());
  out.push_back(Packet().Ipv4(kA4, kB4).Raw(net::kProtoSctp).Payload(SctpInit()).Frame());
  out.push_back(Packet().Ipv6(kA6, kB6).Raw(net::kProtoSctp).Payload(SctpInit()).Frame());
  out.push_back(Packet()
                    .Ipv4(kA4, kB4)
                    .Raw(net::kProtoDccp)
                    .Payload({0x9c, 0x40, 0, 80, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1})
                    .Frame());
  out.push_back(Packet()
                    .Ipv4(kA4, kB4)
                    .Raw(net::kProtoGre)
                    .Payload({0x30, 0x81, 0x88, 0x0b, 0, 4, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0})
                    .Frame());
  out.push_back(Packet()
                    .Ipv6(kA6, kB6)
                    .Extension(net::kProtoAh, {4, 0, 0, 0, 0, 0, 1, 0, 0,  0,  1, 1,
                                               2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
                    .Udp(1, 2)
                    .Frame());
  out.push_back(Packet().Ipv4(kA4, kB4).Raw(net::kProtoEsp).PayloadLength(40).Frame());
  out.push_back(Packet().Ipv6(kA6, kB6).Raw(net::kProtoNoNext).Frame());
  return out;
}

// A few bytes of the frame changed, at places and to values that matter more often than others.
inline Bytes Mutate(Bytes frame, net::Rng* rng) {
  const uint32_t changes = 1 + rng->Below(4);
  for (uint32_t i = 0; i < changes && !frame.empty(); ++i) {
    const auto at = rng->Below(static_cast<uint32_t>(frame.size()));
    constexpr uint8_t kExtremes[] = {0, 1, 0x45, 0x4f, 0x60, 0x7f, 0x80, 0xff};
    frame[at] = rng->Below(2) == 0 ? kExtremes[rng->Below(sizeof(kExtremes))]
                                   : static_cast<uint8_t>(rng->Next());
  }
  if (rng->Below(4) == 0) frame.resize(rng->Below(static_cast<uint32_t>(frame.size()) + 1));
  if (rng->Below(2) == 0) FitIpLength(&frame);
  return frame;
}

}  // namespace postern::test

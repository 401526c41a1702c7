#include "perf/frames.h"

#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/net/wire.h"

namespace postern::perf {
namespace {

constexpr uint32_t kClients = 0xc6120000;  // 198.18.0.0/16
constexpr uint32_t kServers = 0xc6130000;  // 198.19.0.0/16
constexpr uint32_t kServerCount = 1024;
constexpr uint32_t kFirstPort = 2048;

// Fills in everything but the transport header.
uint8_t* WriteHeaders(Frame* frame, const Endpoints& ends, uint8_t protocol, uint32_t l4_length,
                      net::PortId port) {
  net::EthernetHeader ethernet;
  ethernet.destination = port == kWan ? kWanMac : kLanMac;
  ethernet.source = port == kWan ? kWanPeerMac : kLanPeerMac;
  ethernet.type = net::kEtherTypeIpv4;
  std::memcpy(frame->bytes.data(), &ethernet, sizeof(ethernet));
  net::Ipv4Header ip{};
  ip.version_ihl = 0x45;
  ip.total_length = static_cast<uint16_t>(sizeof(ip) + l4_length);
  ip.fragment = net::kIpv4DontFragment;
  ip.ttl = 64;
  ip.protocol = protocol;
  net::IpAddress::V4(ends.source).ToWire(net::Family::kIpv4, ip.source);
  net::IpAddress::V4(ends.destination).ToWire(net::Family::kIpv4, ip.destination);
  net::SetIpv4Checksum(&ip);
  std::memcpy(frame->bytes.data() + sizeof(ethernet), &ip, sizeof(ip));
  return frame->bytes.data() + sizeof(ethernet) + sizeof(ip);
}

void FinishFrame(Frame* frame) {
  net::Packet view;
  view.data = frame->bytes.data();
  view.length = kFrameBytes;
  net::Parse(&view);
  net::SetTransportChecksum(&view);
}

}  // namespace

Endpoints FlowAt(uint32_t index, bool inwards) {
  Endpoints ends;
  // Ports and servers make the tuple unique, the client is as good as random.
  ends.source_port = static_cast<uint16_t>(kFirstPort + index / kServerCount % 60000);
  if (inwards) {
    ends.source = kServers + 256 + index % kServerCount;
    ends.destination = kWanAddress;
    ends.destination_port = kDnatPort;
  } else {
    ends.source = kClients + 256 + (index * 2654435761U >> 20);
    ends.destination = kServers + 256 + index % kServerCount;
    ends.destination_port = 53;
  }
  return ends;
}

Frame MakeUdp(const Endpoints& ends, net::PortId port) {
  constexpr uint16_t kLength = kFrameBytes - sizeof(net::EthernetHeader) - sizeof(net::Ipv4Header);
  Frame frame;
  net::UdpHeader udp{};
  udp.source_port = ends.source_port;
  udp.destination_port = ends.destination_port;
  udp.length = kLength;
  std::memcpy(WriteHeaders(&frame, ends, net::kProtoUdp, kLength, port), &udp, sizeof(udp));
  FinishFrame(&frame);
  return frame;
}

Frame MakeTcp(const Endpoints& ends, const TcpFields& fields, net::PortId port) {
  Frame frame;
  net::TcpHeader tcp{};
  tcp.source_port = ends.source_port;
  tcp.destination_port = ends.destination_port;
  tcp.sequence = fields.sequence;
  tcp.acknowledgement = fields.acknowledgement;
  tcp.offset_reserved = sizeof(tcp) / 4 << 4;
  tcp.flags = fields.flags;
  tcp.window = 65535;
  std::memcpy(WriteHeaders(&frame, ends, net::kProtoTcp, sizeof(tcp), port), &tcp, sizeof(tcp));
  FinishFrame(&frame);
  return frame;
}

Endpoints AnswerTo(std::span<const uint8_t> sent) {
  constexpr size_t kL3 = sizeof(net::EthernetHeader);
  constexpr size_t kL4 = kL3 + sizeof(net::Ipv4Header);
  Endpoints ends;
  if (sent.size() < kL4 + 4) return ends;
  net::Ipv4Header ip;
  std::memcpy(&ip, sent.data() + kL3, sizeof(ip));
  ends.source = net::IpAddress::FromWire(net::Family::kIpv4, ip.destination).AsV4();
  ends.destination = net::IpAddress::FromWire(net::Family::kIpv4, ip.source).AsV4();
  const uint8_t* ports = sent.data() + kL4;
  ends.destination_port = static_cast<uint16_t>(ports[0] << 8 | ports[1]);
  ends.source_port = static_cast<uint16_t>(ports[2] << 8 | ports[3]);
  return ends;
}

}  // namespace postern::perf

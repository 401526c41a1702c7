#include "perf/frames.h"

#include <algorithm>
#include <cstring>

#include "dataplane/net/wire.h"

namespace postern::perf {
namespace {

constexpr uint32_t kClients = 0xc6120000;  // 198.18.0.0/16
constexpr uint32_t kServers = 0xc6130000;  // 198.19.0.0/16
constexpr uint32_t kServerCount = 1024;
constexpr uint32_t kFirstPort = 2048;
constexpr uint32_t kIpv6Benchmark = 0x20010002;  // 2001:2::/48

constexpr size_t kL3 = 14;

// Writes big-endian words and sums them up, as the Internet checksum wants it (RFC 1071).
class Writer {
 public:
  explicit Writer(uint8_t* to) : at_(to) {}
  void Put16(uint16_t value) {
    at_[0] = static_cast<uint8_t>(value >> 8);
    at_[1] = static_cast<uint8_t>(value);
    at_ += 2;
    sum_ += value;
  }
  void Put32(uint32_t value) {
    Put16(static_cast<uint16_t>(value >> 16));
    Put16(static_cast<uint16_t>(value));
  }
  uint8_t* at() const { return at_; }
  uint32_t sum() const { return sum_; }

 private:
  uint8_t* at_;
  uint32_t sum_ = 0;
};

uint16_t Complement(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

void StoreSum(uint8_t* at, uint16_t checksum) {
  at[0] = static_cast<uint8_t>(checksum >> 8);
  at[1] = static_cast<uint8_t>(checksum);
}

uint32_t Halves(uint32_t word) { return (word >> 16) + (word & 0xffff); }

// The third word of an endpoint's IPv6 address: which side it is on.
uint32_t Side(uint32_t endpoint) { return endpoint >> 16; }

struct Headers {
  uint8_t* l4;
  uint32_t pseudo_sum;
};

void WriteEthernet(Frame* frame, net::Family family, net::PortId port) {
  net::EthernetHeader ethernet;
  ethernet.destination = port == kWan ? kWanMac : kLanMac;
  ethernet.source = port == kWan ? kWanPeerMac : kLanPeerMac;
  ethernet.type = family == net::Family::kIpv4 ? net::kEtherTypeIpv4 : net::kEtherTypeIpv6;
  std::memcpy(frame->bytes.data(), &ethernet, sizeof(ethernet));
}

Headers WriteIpv4(Frame* frame, const Endpoints& ends, uint8_t protocol, uint16_t l4_length) {
  uint8_t* const start = frame->bytes.data() + kL3;
  Writer ip(start);
  ip.Put16(0x4500);
  ip.Put16(static_cast<uint16_t>(sizeof(net::Ipv4Header) + l4_length));
  ip.Put16(0);
  ip.Put16(net::kIpv4DontFragment);
  ip.Put16(static_cast<uint16_t>(64 << 8 | protocol));
  ip.Put16(0);
  ip.Put32(ends.source);
  ip.Put32(ends.destination);
  StoreSum(start + 10, Complement(ip.sum()));
  return {ip.at(), Halves(ends.source) + Halves(ends.destination) + protocol + l4_length};
}

Headers WriteIpv6(Frame* frame, const Endpoints& ends, uint8_t protocol, uint16_t l4_length) {
  Writer ip(frame->bytes.data() + kL3);
  ip.Put32(0x60000000);
  ip.Put16(l4_length);
  ip.Put16(static_cast<uint16_t>(protocol << 8 | 64));
  const Writer before = ip;
  for (const uint32_t end : {ends.source, ends.destination}) {
    ip.Put32(kIpv6Benchmark);
    ip.Put32(0);
    ip.Put32(Side(end));
    ip.Put32(end);
  }
  return {ip.at(), ip.sum() - before.sum() + protocol + l4_length};
}

uint16_t HeaderBytes(net::Family family, size_t l4_header) {
  return static_cast<uint16_t>(kL3 + (family == net::Family::kIpv4 ? 20 : 40) + l4_header);
}

// The IP header; `*l4_length` becomes what is behind it.
Headers WriteHeaders(Frame* frame, const Endpoints& ends, uint8_t protocol, size_t l4_header,
                     const FrameShape& shape, net::PortId port, uint16_t* l4_length) {
  const uint16_t least = HeaderBytes(shape.family, l4_header);
  frame->length = std::max(shape.length, least);
  // TCP segments of the least size carry nothing: what follows is Ethernet's padding.
  const bool padded = protocol == net::kProtoTcp && shape.length <= kFrameBytes;
  *l4_length = static_cast<uint16_t>((padded ? least : frame->length) - least + l4_header);
  WriteEthernet(frame, shape.family, port);
  return shape.family == net::Family::kIpv4 ? WriteIpv4(frame, ends, protocol, *l4_length)
                                            : WriteIpv6(frame, ends, protocol, *l4_length);
}

}  // namespace

net::IpAddress Ipv6Of(uint32_t endpoint) {
  std::array<uint8_t, 16> bytes;
  Writer writer(bytes.data());
  writer.Put32(kIpv6Benchmark);
  writer.Put32(0);
  writer.Put32(Side(endpoint));
  writer.Put32(endpoint);
  return net::IpAddress::FromWire(net::Family::kIpv6, bytes.data());
}

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

Frame MakeUdp(const Endpoints& ends, net::PortId port, const FrameShape& shape) {
  Frame frame;
  uint16_t l4_length = 0;
  const Headers headers =
      WriteHeaders(&frame, ends, net::kProtoUdp, sizeof(net::UdpHeader), shape, port, &l4_length);
  Writer udp(headers.l4);
  udp.Put16(ends.source_port);
  udp.Put16(ends.destination_port);
  udp.Put16(l4_length);
  const uint16_t checksum = Complement(headers.pseudo_sum + udp.sum());
  StoreSum(udp.at(), checksum == 0 ? 0xffff : checksum);  // RFC 768
  return frame;
}

Frame MakeTcp(const Endpoints& ends, const TcpFields& fields, net::PortId port,
              const FrameShape& shape) {
  constexpr uint16_t kOffset = 5 << 12;
  constexpr uint16_t kWindow = 65535;
  Frame frame;
  uint16_t l4_length = 0;
  const Headers headers =
      WriteHeaders(&frame, ends, net::kProtoTcp, sizeof(net::TcpHeader), shape, port, &l4_length);
  Writer tcp(headers.l4);
  tcp.Put16(ends.source_port);
  tcp.Put16(ends.destination_port);
  tcp.Put32(fields.sequence);
  tcp.Put32(fields.acknowledgement);
  tcp.Put16(kOffset | fields.flags);
  tcp.Put16(kWindow);
  StoreSum(tcp.at(), Complement(headers.pseudo_sum + tcp.sum()));
  return frame;
}

Endpoints AnswerTo(std::span<const uint8_t> sent) {
  Endpoints ends;
  const auto word = [&sent](size_t at) {
    return uint32_t{sent[at]} << 24 | uint32_t{sent[at + 1]} << 16 | uint32_t{sent[at + 2]} << 8 |
           sent[at + 3];
  };
  const bool ipv6 = sent.size() > kL3 && sent[kL3] >> 4 == 6;
  const size_t l4 = kL3 + (ipv6 ? 40 : 20);
  if (sent.size() < l4 + 4) return ends;
  ends.source = word(l4 - 4);
  ends.destination = word(l4 - (ipv6 ? 20 : 8));
  const uint32_t ports = word(l4);
  ends.destination_port = static_cast<uint16_t>(ports >> 16);
  ends.source_port = static_cast<uint16_t>(ports);
  return ends;
}

}  // namespace postern::perf

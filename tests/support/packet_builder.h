// Frames in words: Packet().Ipv4("192.0.2.1", "198.51.100.2").Tcp(1234, 80,
// kTcpSyn).Seq(1).Build().
//
// Every length and checksum is computed at Build(), after all has been said; the setters named
// Bad… and …As break one of them on purpose. Layers may be given in any order. Later calls
// replace earlier ones, except TCP options and extension headers, which add up.
#pragma once

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"
#include "tests/support/owned_packet.h"

namespace postern::test {

class Packet {
 public:
  // ---- Ethernet ----
  Packet& Eth(std::string_view source = "02:00:00:00:00:01",
              std::string_view destination = "02:00:00:00:00:02") {
    source_mac_ = Mac(source);
    destination_mac_ = Mac(destination);
    return *this;
  }
  // An EtherType other than the IP version's.
  Packet& EtherType(uint16_t type) { return Set(&ether_type_, type); }
  // Zeros behind the datagram until the frame has `length` bytes.
  Packet& PadTo(size_t length) { return Set(&pad_to_, length); }
  // Cuts the finished frame.
  Packet& TruncateTo(size_t length) { return Set(&truncate_to_, length); }
  Packet& InPort(net::PortId port) { return Set(&in_port_, port); }
  Packet& OutPort(net::PortId port) { return Set(&out_port_, port); }
  Packet& Mark(uint32_t mark) { return Set(&mark_, mark); }

  // ---- IP ----
  Packet& Ipv4(std::string_view source, std::string_view destination) {
    return Ipv4(Address(net::Family::kIpv4, source), Address(net::Family::kIpv4, destination));
  }
  Packet& Ipv4(const net::IpAddress& source, const net::IpAddress& destination) {
    return Ip(net::Family::kIpv4, source, destination);
  }
  Packet& Ipv6(std::string_view source, std::string_view destination) {
    return Ipv6(Address(net::Family::kIpv6, source), Address(net::Family::kIpv6, destination));
  }
  Packet& Ipv6(const net::IpAddress& source, const net::IpAddress& destination) {
    return Ip(net::Family::kIpv6, source, destination);
  }
  Packet& Ttl(uint8_t ttl) { return Set(&ttl_, ttl); }  // or hop limit
  Packet& Tos(uint8_t tos) { return Set(&tos_, tos); }  // or traffic class
  Packet& Id(uint16_t id) { return Set(&ip_id_, id); }
  Packet& DontFragment(bool on = true) { return Set(&dont_fragment_, on); }
  // IPv4: raw option bytes, padded with zeros to a multiple of four.
  Packet& IpOptions(Bytes options) { return Set(&ip_options_, std::move(options)); }
  // One fragment of a datagram: what was said about the transport becomes the fragment's content
  // (for a later fragment say Raw() and Payload()). `offset` in bytes, a multiple of 8.
  Packet& Fragment(uint32_t id, uint16_t offset, bool more) {
    fragment_ = FragmentFields{id, offset, more};
    return *this;
  }
  // IPv6: an extension header before the fragment header (if any) and the transport. `body`
  // is everything after the next-header byte, its length byte included.
  Packet& Extension(uint8_t number, Bytes body) {
    extensions_.emplace_back(number, std::move(body));
    return *this;
  }
  Packet& BadIpChecksum() { return Set(&bad_ip_checksum_, true); }
  // The length field says this instead of the truth (IPv6: the payload length).
  Packet& IpLengthAs(uint16_t length) { return Set(&ip_length_, std::optional(length)); }

  // ---- transport ----
  Packet& Tcp(uint16_t source_port, uint16_t destination_port, uint8_t flags) {
    tcp_flags_ = flags;
    return Ports(net::kProtoTcp, source_port, destination_port);
  }
  Packet& Seq(uint32_t seq) { return Set(&seq_, seq); }
  Packet& Ack(uint32_t ack) { return Set(&ack_, ack); }
  Packet& Window(uint16_t window) { return Set(&window_, window); }
  Packet& TcpOptions(const Bytes& options) {
    tcp_options_.insert(tcp_options_.end(), options.begin(), options.end());
    return *this;
  }
  Packet& Mss(uint16_t mss) {
    return TcpOptions({2, 4, static_cast<uint8_t>(mss >> 8), static_cast<uint8_t>(mss)});
  }
  Packet& WindowScale(uint8_t shift) { return TcpOptions({1, 3, 3, shift}); }
  Packet& SackPermitted() { return TcpOptions({1, 1, 4, 2}); }
  Packet& Sack(uint32_t left, uint32_t right) {
    Bytes option = {1, 1, 5, 10};
    Append32(&option, left);
    Append32(&option, right);
    return TcpOptions(option);
  }
  Packet& Udp(uint16_t source_port, uint16_t destination_port) {
    return Ports(net::kProtoUdp, source_port, destination_port);
  }
  Packet& UdpLite(uint16_t source_port, uint16_t destination_port) {
    return Ports(net::kProtoUdpLite, source_port, destination_port);
  }
  // RFC 768: the sender computed none.
  Packet& NoUdpChecksum() { return Set(&no_udp_checksum_, true); }
  Packet& Icmp(uint8_t type, uint8_t code = 0, uint16_t id = 0, uint16_t sequence = 0) {
    return IcmpMessage(net::kProtoIcmp, type, code, id, sequence);
  }
  Packet& Icmpv6(uint8_t type, uint8_t code = 0, uint16_t id = 0, uint16_t sequence = 0) {
    return IcmpMessage(net::kProtoIcmpv6, type, code, id, sequence);
  }
  // No transport header of ours: the payload follows the IP header as it is.
  Packet& Raw(uint8_t protocol) {
    protocol_ = protocol;
    raw_ = true;
    return *this;
  }
  Packet& Payload(Bytes payload) { return Set(&payload_, std::move(payload)); }
  Packet& Payload(std::string_view text) { return Payload(Bytes(text.begin(), text.end())); }
  // `length` bytes that count up. Inlined with a constant, gcc 12 sees overflows that aren't there.
  [[gnu::noinline]] Packet& PayloadLength(size_t length) {
    Bytes payload(length);
    std::iota(payload.begin(), payload.end(), uint8_t{0});
    return Payload(std::move(payload));
  }
  // The datagram of `frame` (Ethernet taken off), at most `limit` bytes of it, as an ICMP error
  // quotes it.
  Packet& Quote(const Bytes& frame, size_t limit = 576) {
    const size_t skip = std::min(frame.size(), sizeof(net::EthernetHeader));
    Bytes quoted(frame.begin() + static_cast<ptrdiff_t>(skip), frame.end());
    if (quoted.size() > limit) quoted.resize(limit);
    return Payload(std::move(quoted));
  }
  Packet& BadChecksum() { return Set(&bad_checksum_, true); }
  // UDP's own length field.
  Packet& UdpLengthAs(uint16_t length) { return Set(&udp_length_, std::optional(length)); }
  // TCP's data offset, in 32-bit words.
  Packet& TcpOffsetAs(uint8_t words) { return Set(&tcp_offset_, std::optional(words)); }

  // ---- results ----
  Bytes Frame() const {
    Bytes l4 = Transport();
    Bytes frame(sizeof(net::EthernetHeader));
    auto* ethernet = reinterpret_cast<net::EthernetHeader*>(frame.data());
    ethernet->source = source_mac_;
    ethernet->destination = destination_mac_;
    const bool v4 = family_ == net::Family::kIpv4;
    ethernet->type =
        ether_type_ != 0 ? ether_type_ : (v4 ? net::kEtherTypeIpv4 : net::kEtherTypeIpv6);
    const Bytes header = v4 ? Ipv4Bytes(l4.size()) : Ipv6Bytes(l4.size());
    frame.insert(frame.end(), header.begin(), header.end());
    frame.insert(frame.end(), l4.begin(), l4.end());
    if (frame.size() < pad_to_) frame.resize(pad_to_);
    if (frame.size() > truncate_to_) frame.resize(truncate_to_);
    return frame;
  }
  // Parsed as the datapath would; see OwnedPacket::parse for what the parser said.
  OwnedPacket Build(bool exact = false) const {
    OwnedPacket built(Frame(), exact);
    built->in_port = in_port_;
    built->out_port = out_port_;
    built->mark = mark_;
    built.parse = net::Parse(&built.packet);
    return built;
  }
  OwnedPacket BuildUnparsed(bool exact = false) const {
    OwnedPacket built(Frame(), exact);
    built->in_port = in_port_;
    built->out_port = out_port_;
    built->mark = mark_;
    return built;
  }

 private:
  struct FragmentFields {
    uint32_t id;
    uint16_t offset;
    bool more;
  };

  template <typename T>
  Packet& Set(T* member, T value) {
    *member = std::move(value);
    return *this;
  }
  static net::MacAddress Mac(std::string_view text) {
    const auto mac = net::ParseMac(text);
    if (!mac) throw std::invalid_argument("not a MAC address: " + std::string(text));
    return *mac;
  }
  static net::IpAddress Address(net::Family family, std::string_view text) {
    const auto address = net::ParseAddress(family, text);
    if (!address) throw std::invalid_argument("not an address: " + std::string(text));
    return *address;
  }
  static void Append16(Bytes* bytes, uint16_t value) {
    bytes->push_back(static_cast<uint8_t>(value >> 8));
    bytes->push_back(static_cast<uint8_t>(value));
  }
  static void Append32(Bytes* bytes, uint32_t value) {
    Append16(bytes, static_cast<uint16_t>(value >> 16));
    Append16(bytes, static_cast<uint16_t>(value));
  }
  static void PadToWords(Bytes* bytes) { bytes->resize((bytes->size() + 3) / 4 * 4); }

  Packet& Ip(net::Family family, const net::IpAddress& source, const net::IpAddress& destination) {
    family_ = family;
    source_ = source;
    destination_ = destination;
    return *this;
  }
  Packet& Ports(uint8_t protocol, uint16_t source_port, uint16_t destination_port) {
    protocol_ = protocol;
    source_port_ = source_port;
    destination_port_ = destination_port;
    return *this;
  }
  Packet& IcmpMessage(uint8_t protocol, uint8_t type, uint8_t code, uint16_t id,
                      uint16_t sequence) {
    protocol_ = protocol;
    icmp_type_ = type;
    icmp_code_ = code;
    icmp_id_ = id;
    icmp_sequence_ = sequence;
    return *this;
  }

  Bytes Transport() const {
    Bytes l4;
    size_t checksum_at = 0;
    if (!raw_) l4 = TransportHeader(&checksum_at);
    l4.insert(l4.end(), payload_.begin(), payload_.end());
    if (checksum_at != 0) FillChecksum(&l4, checksum_at);
    return l4;
  }

  Bytes TransportHeader(size_t* checksum_at) const {
    Bytes l4;
    switch (protocol_) {
      case net::kProtoTcp: {
        Bytes options = tcp_options_;
        PadToWords(&options);
        Append16(&l4, source_port_);
        Append16(&l4, destination_port_);
        Append32(&l4, seq_);
        Append32(&l4, ack_);
        const size_t words = (sizeof(net::TcpHeader) + options.size()) / 4;
        l4.push_back(static_cast<uint8_t>(tcp_offset_.value_or(static_cast<uint8_t>(words)) << 4));
        l4.push_back(tcp_flags_);
        Append16(&l4, window_);
        Append32(&l4, 0);
        l4.insert(l4.end(), options.begin(), options.end());
        *checksum_at = offsetof(net::TcpHeader, checksum);
        break;
      }
      case net::kProtoUdp:
      case net::kProtoUdpLite: {
        Append16(&l4, source_port_);
        Append16(&l4, destination_port_);
        const size_t whole = sizeof(net::UdpHeader) + payload_.size();
        Append16(&l4, udp_length_.value_or(static_cast<uint16_t>(whole)));
        Append16(&l4, 0);
        if (!no_udp_checksum_) *checksum_at = offsetof(net::UdpHeader, checksum);
        break;
      }
      case net::kProtoIcmp:
      case net::kProtoIcmpv6:
        l4 = {icmp_type_, icmp_code_, 0, 0};
        Append16(&l4, icmp_id_);
        Append16(&l4, icmp_sequence_);
        *checksum_at = offsetof(net::IcmpHeader, checksum);
        break;
      default:
        break;
    }
    return l4;
  }

  // A test's own arithmetic, so that a fault in net/checksum.cc doesn't cancel out.
  void FillChecksum(Bytes* l4, size_t at) const {
    uint64_t sum = 0;
    if (protocol_ != net::kProtoIcmp) {
      for (size_t i = 0; i < 16; i += 2) {
        sum += (uint32_t{source_.bytes[i]} << 8) | source_.bytes[i + 1];
        sum += (uint32_t{destination_.bytes[i]} << 8) | destination_.bytes[i + 1];
      }
      sum += protocol_ + l4->size();
    }
    for (size_t i = 0; i < l4->size(); ++i) sum += uint32_t{(*l4)[i]} << (i % 2 == 0 ? 8 : 0);
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    auto checksum = static_cast<uint16_t>(~sum);
    const bool udp = protocol_ == net::kProtoUdp || protocol_ == net::kProtoUdpLite;
    if (udp && checksum == 0) checksum = 0xffff;
    if (bad_checksum_) checksum ^= 0x5555;
    (*l4)[at] = static_cast<uint8_t>(checksum >> 8);
    (*l4)[at + 1] = static_cast<uint8_t>(checksum);
  }

  Bytes Ipv4Bytes(size_t l4_length) const {
    Bytes options = ip_options_;
    PadToWords(&options);
    Bytes out(sizeof(net::Ipv4Header) + options.size());
    std::copy(options.begin(), options.end(), out.begin() + sizeof(net::Ipv4Header));
    auto* header = reinterpret_cast<net::Ipv4Header*>(out.data());
    header->version_ihl = static_cast<uint8_t>(0x40 | (out.size() / 4));
    header->tos = tos_;
    header->total_length = ip_length_.value_or(static_cast<uint16_t>(out.size() + l4_length));
    header->id = fragment_ ? static_cast<uint16_t>(fragment_->id) : ip_id_;
    uint16_t bits = dont_fragment_ ? net::kIpv4DontFragment : 0;
    if (fragment_) {
      bits = static_cast<uint16_t>(bits | (fragment_->offset / 8) |
                                   (fragment_->more ? net::kIpv4MoreFragments : 0));
    }
    header->fragment = bits;
    header->ttl = ttl_;
    header->protocol = protocol_;
    source_.ToWire(net::Family::kIpv4, header->source);
    destination_.ToWire(net::Family::kIpv4, header->destination);
    uint32_t sum = 0;
    for (size_t i = 0; i < out.size(); i += 2) sum += (uint32_t{out[i]} << 8) | out[i + 1];
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    header->checksum = static_cast<uint16_t>(bad_ip_checksum_ ? sum : ~sum);
    return out;
  }

  Bytes Ipv6Bytes(size_t l4_length) const {
    std::vector<std::pair<uint8_t, Bytes>> chain = extensions_;
    if (fragment_) {
      Bytes body = {0};
      Append16(&body, static_cast<uint16_t>(fragment_->offset | (fragment_->more ? 1 : 0)));
      Append32(&body, fragment_->id);
      chain.emplace_back(net::kProtoFragment, std::move(body));
    }
    Bytes out(sizeof(net::Ipv6Header));
    for (size_t i = 0; i < chain.size(); ++i) {
      out.push_back(i + 1 < chain.size() ? chain[i + 1].first : protocol_);
      out.insert(out.end(), chain[i].second.begin(), chain[i].second.end());
    }
    auto* header = reinterpret_cast<net::Ipv6Header*>(out.data());
    header->version_class_flow = (uint32_t{6} << 28) | (uint32_t{tos_} << 20);
    header->payload_length = ip_length_.value_or(
        static_cast<uint16_t>(out.size() - sizeof(net::Ipv6Header) + l4_length));
    header->next_header = chain.empty() ? protocol_ : chain.front().first;
    header->hop_limit = ttl_;
    source_.ToWire(net::Family::kIpv6, header->source);
    destination_.ToWire(net::Family::kIpv6, header->destination);
    return out;
  }

  net::MacAddress source_mac_{{2, 0, 0, 0, 0, 1}};
  net::MacAddress destination_mac_{{2, 0, 0, 0, 0, 2}};
  uint16_t ether_type_ = 0;
  size_t pad_to_ = 0;
  size_t truncate_to_ = SIZE_MAX;
  net::PortId in_port_ = 0;
  net::PortId out_port_ = net::kNoPort;
  uint32_t mark_ = 0;

  net::Family family_ = net::Family::kIpv4;
  net::IpAddress source_ = net::IpAddress::V4(0xc0000201);       // 192.0.2.1
  net::IpAddress destination_ = net::IpAddress::V4(0xc6336402);  // 198.51.100.2
  uint8_t ttl_ = 64;
  uint8_t tos_ = 0;
  uint16_t ip_id_ = 1;
  bool dont_fragment_ = false;
  Bytes ip_options_;
  std::optional<FragmentFields> fragment_;
  std::vector<std::pair<uint8_t, Bytes>> extensions_;
  bool bad_ip_checksum_ = false;
  std::optional<uint16_t> ip_length_;

  uint8_t protocol_ = net::kProtoUdp;
  bool raw_ = false;
  uint16_t source_port_ = 0;
  uint16_t destination_port_ = 0;
  uint8_t tcp_flags_ = 0;
  uint32_t seq_ = 0;
  uint32_t ack_ = 0;
  uint16_t window_ = 65535;
  Bytes tcp_options_;
  std::optional<uint8_t> tcp_offset_;
  std::optional<uint16_t> udp_length_;
  bool no_udp_checksum_ = false;
  uint8_t icmp_type_ = 0;
  uint8_t icmp_code_ = 0;
  uint16_t icmp_id_ = 0;
  uint16_t icmp_sequence_ = 0;
  Bytes payload_;
  bool bad_checksum_ = false;
};

}  // namespace postern::test

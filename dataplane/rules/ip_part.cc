#include "dataplane/rules/ip_part.h"

#include <algorithm>
#include <string_view>

namespace postern::rules {

namespace {

// "eth0" is itself, "eth+" all that begin so, "+" and "" everything, even no interface at all.
bool NameMatches(std::string_view pattern, std::string_view name) {
  if (pattern.empty() || pattern == "+") return true;
  if (pattern.back() != '+') return pattern == name;
  pattern.remove_suffix(1);
  return name.substr(0, pattern.size()) == pattern;
}

uint64_t PortsOf(const InterfaceMatch& match, const std::vector<std::string>& port_names) {
  uint64_t bits = 0;
  const size_t count = std::min<size_t>(port_names.size(), net::kMaxPorts);
  for (size_t port = 0; port <= net::kLoopbackPort; ++port) {
    // A port that has no name yet is only matched by what matches everything.
    std::string_view name = port < count ? std::string_view(port_names[port]) : "";
    if (port == net::kLoopbackPort) name = "lo";
    if (NameMatches(match.name, name) != match.invert) bits |= uint64_t{1} << port;
  }
  return bits;
}

}  // namespace

IpPart CompileIpPart(const IpMatch& match, const std::vector<std::string>& port_names) {
  IpPart part;
  part.source = match.source.address.Words();
  part.source_mask = match.source.mask.Words();
  part.destination = match.destination.address.Words();
  part.destination_mask = match.destination.mask.Words();
  part.in_ports = PortsOf(match.in, port_names);
  part.out_ports = PortsOf(match.out, port_names);
  part.protocol = match.protocol;
  const auto set = [&part](IpPart::Flag flag, bool on) {
    if (on) part.flags = static_cast<uint8_t>(part.flags | flag);
  };
  set(IpPart::kInvertSource, match.source.invert);
  set(IpPart::kInvertDestination, match.destination.invert);
  set(IpPart::kInvertProtocol, match.invert_protocol);
  set(IpPart::kFragment, match.fragment);
  set(IpPart::kInvertFragment, match.invert_fragment);
  set(IpPart::kNoIn, NameMatches(match.in.name, "") != match.in.invert);
  set(IpPart::kNoOut, NameMatches(match.out.name, "") != match.out.invert);
  return part;
}

uint8_t ProtocolBehindExtensions(const net::Packet& packet) {
  const net::ParsedPacket& ip = packet.ip;
  const auto* header = packet.At<net::Ipv6Header>(ip.l3_offset);
  if (header == nullptr) return ip.protocol;
  uint8_t next = header->next_header;
  uint32_t offset = ip.l3_offset + sizeof(net::Ipv6Header);
  while (offset + 8 <= ip.l4_offset && next != net::kProtoAh) {
    const uint8_t* extension = packet.data + offset;
    const uint32_t units = next == net::kProtoFragment ? 0 : extension[1];
    next = extension[0];
    offset += (units + 1) * 8;
  }
  return next == net::kProtoAh ? next : ip.protocol;
}

}  // namespace postern::rules

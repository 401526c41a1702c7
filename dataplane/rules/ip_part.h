// The part that every rule has (-s -d -i -o -p -f), compiled to plain compares.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "dataplane/rules/rule_set.h"

namespace postern::rules {

// An address as two words in memory order; IPv4 leaves the second one zero.
using AddressWords = std::array<uint64_t, 2>;

// The protocol that -p means: behind IPv6's extension headers, but for AH, which isn't one of them
// to nf_tables (IP6_FH_F_AUTH); conntrack looks behind AH, too.
uint8_t ProtocolBehindExtensions(const net::Packet& packet);
inline uint8_t RuleProtocol(const net::Packet& packet) {
  const bool simple = packet.ip.family == net::Family::kIpv4 || !packet.ip.has_options;
  return simple ? packet.ip.protocol : ProtocolBehindExtensions(packet);
}

// The packet's side of the compare, read once a walk: nothing that a rule does changes it.
struct PacketKey {
  explicit PacketKey(const WalkContext& context)
      : source(context.packet->ip.source.Words()),
        destination(context.packet->ip.destination.Words()),
        in_port(Bit(context.in)),
        out_port(Bit(context.out)),
        no_in(context.in > net::kLoopbackPort),
        no_out(context.out > net::kLoopbackPort),
        protocol(RuleProtocol(*context.packet)),
        later_fragment(context.packet->ip.fragment_offset != 0) {}

  AddressWords source;
  AddressWords destination;
  uint64_t in_port;  // one bit, or none
  uint64_t out_port;
  bool no_in;  // no interface on this side of the hook: its name is empty
  bool no_out;
  uint8_t protocol;
  bool later_fragment;

 private:
  static uint64_t Bit(net::PortId port) {
    return port <= net::kLoopbackPort ? uint64_t{1} << port : 0;
  }
};

struct IpPart {
  enum Flag : uint8_t {
    kInvertSource = 1U << 0,
    kInvertDestination = 1U << 1,
    kInvertProtocol = 1U << 2,
    kFragment = 1U << 3,
    kInvertFragment = 1U << 4,
    kNoIn = 1U << 5,  // matches where there is no in interface
    kNoOut = 1U << 6,
  };
  AddressWords source{}, source_mask{};
  AddressWords destination{}, destination_mask{};
  uint64_t in_ports = 0;  // one bit a port, inversion and wildcards resolved
  uint64_t out_ports = 0;
  uint8_t protocol = 0;
  uint8_t flags = 0;

  bool Has(Flag flag) const { return (flags & flag) != 0; }
};

IpPart CompileIpPart(const IpMatch& match, const std::vector<std::string>& port_names);

inline bool AddressDiffers(const AddressWords& address, const AddressWords& value,
                           const AddressWords& mask) {
  return (((address[0] ^ value[0]) & mask[0]) | ((address[1] ^ value[1]) & mask[1])) != 0;
}

inline bool Matches(const IpPart& part, const PacketKey& key, uint16_t* depends) {
  if (AddressDiffers(key.source, part.source, part.source_mask) !=
      part.Has(IpPart::kInvertSource)) {
    return false;
  }
  if (AddressDiffers(key.destination, part.destination, part.destination_mask) !=
      part.Has(IpPart::kInvertDestination)) {
    return false;
  }
  if ((part.in_ports & key.in_port) == 0 && !(key.no_in && part.Has(IpPart::kNoIn))) return false;
  if ((part.out_ports & key.out_port) == 0 && !(key.no_out && part.Has(IpPart::kNoOut))) {
    return false;
  }
  if (part.protocol != 0 && (part.protocol != key.protocol) != part.Has(IpPart::kInvertProtocol)) {
    return false;
  }
  if (part.Has(IpPart::kFragment)) {
    *depends |= kDependsPacket;
    if (key.later_fragment == part.Has(IpPart::kInvertFragment)) return false;
  }
  return true;
}

}  // namespace postern::rules

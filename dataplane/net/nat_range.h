// What a NAT target asks for: netfilter's nf_nat_range2.
#pragma once

#include <cstdint>

#include "dataplane/net/address.h"

namespace postern::net {

// Closed range of ports or other 16-bit numbers.
struct PortRange {
  uint16_t first = 0;
  uint16_t last = 65535;
  bool Contains(uint16_t v) const { return first <= v && v <= last; }
  bool IsAll() const { return first == 0 && last == 65535; }
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

// Which half of a tuple a translation changes.
enum class Manip : uint8_t { kSource, kDestination };

// The range that SNAT, DNAT, MASQUERADE and REDIRECT give to NAT setup.
struct NatRange {
  bool has_address = false;  // NF_NAT_RANGE_MAP_IPS
  IpAddress first_address, last_address;
  bool has_ports = false;  // NF_NAT_RANGE_PROTO_SPECIFIED
  PortRange ports;         // or ICMP ids
  bool has_base = false;   // NF_NAT_RANGE_PROTO_OFFSET: DNAT's --to-destination a:p1-p2/base
  uint16_t base_port = 0;
  bool random = false;        // --random
  bool fully_random = false;  // --random-fully
  bool persistent = false;    // --persistent

  // This address alone.
  void SetAddress(const IpAddress& address) {
    has_address = true;
    first_address = last_address = address;
  }
  friend bool operator==(const NatRange&, const NatRange&) = default;
};

}  // namespace postern::net

// Which connections a conntrack command is about: -p -s -d -r -q -m -n -g -j -u -f, ports and
// state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ctrack/connection.h"
#include "dataplane/net/address.h"

namespace postern::control {

// Every part that is set must agree.
struct ConntrackFilter {
  std::optional<net::Family> family;
  std::optional<uint8_t> protocol;
  std::optional<net::Prefix> orig_source, orig_destination, reply_source, reply_destination;
  std::optional<uint16_t> orig_source_port, orig_destination_port;
  std::optional<uint16_t> reply_source_port, reply_destination_port;
  std::optional<uint8_t> icmp_type, icmp_code;
  std::optional<uint16_t> icmp_id;
  std::optional<ctrack::TcpState> state;
  uint32_t status = 0;  // all of these bits
  std::optional<uint32_t> mark;
  uint32_t mark_mask = 0xffffffff;
  // Translated ones; with an address and a port only those that are translated to these.
  struct Nat {
    bool source = false;
    bool destination = false;
    std::optional<net::IpAddress> address;
    std::optional<net::Family> address_family;
    std::optional<uint16_t> port;
  };
  std::optional<Nat> nat;
  std::optional<uint16_t> zone;

  bool Matches(const ctrack::Connection& connection) const;
};

}  // namespace postern::control

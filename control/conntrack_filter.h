// What a conntrack command says about connections: -p -s -d -r -q -m -n -g -j -u -f -w -t, ports
// and states. It chooses connections (-L, -D, -U, -E, -G) or describes one (-I, -A, -G, -U).
#pragma once

#include <cstdint>
#include <optional>

#include "ctrack/connection.h"
#include "ctrack/request.h"
#include "dataplane/net/address.h"
#include "dataplane/net/tuple.h"
#include "dataplane/pipeline/pipeline.h"

namespace postern::control {

// One direction's addresses and keys, as far as they were given.
struct TupleFilter {
  std::optional<net::IpAddress> source, destination;
  std::optional<uint16_t> source_key, destination_key;  // ports or GRE keys

  bool has_addresses() const { return source && destination; }
  bool Matches(const net::Tuple& tuple) const;
};

// -n, -g and -j: a half that is translated, to this address and port where they are given.
struct NatFilter {
  std::optional<net::IpAddress> address;
  std::optional<uint16_t> port;
};

struct ConntrackFilter {
  std::optional<net::Family> family;
  std::optional<uint8_t> protocol;
  TupleFilter original, reply;
  // --mask-src, --mask-dst or a CIDR's; may have holes.
  std::optional<net::IpAddress> source_mask, destination_mask;
  std::optional<uint8_t> icmp_type, icmp_code;
  std::optional<uint16_t> icmp_id;
  std::optional<ctrack::TcpState> state;
  std::optional<ctrack::SctpState> sctp_state;
  uint32_t original_tag = 0, reply_tag = 0;  // SCTP's, of a new connection
  // -u: bits that must be set, and those of `status_mask` that must be as in `status`.
  std::optional<uint32_t> status;
  uint32_t status_mask = 0;
  std::optional<uint32_t> mark;
  uint32_t mark_mask = 0xffffffff;
  std::optional<uint32_t> timeout;  // seconds
  std::optional<uint32_t> id;
  std::optional<uint16_t> zone, original_zone, reply_zone;
  std::optional<NatFilter> source_nat, destination_nat, any_nat;

  // Every part that is set agrees. `now`: the worker's clock, for the timeout.
  bool Matches(const ctrack::Connection& connection, net::Time now) const;
  // As far as it says which connection is meant, not what -U shall make of it.
  bool MatchesForUpdate(const ctrack::Connection& connection) const;
  // What -U makes of this connection; nothing where it is so already.
  std::optional<ctrack::ConnectionRequest> Update(const ctrack::Connection& connection,
                                                  net::Time now) const;

  // The original direction's tuple that -G asks for, the same and the reply's of -I and -A. Nothing
  // where ctnetlink would call it invalid.
  std::optional<net::Tuple> Key() const;
  std::optional<ctrack::ConnectionRequest> Insertion() const;
  pipeline::NatWish Wish() const;

 private:
  bool MatchesTuples(const ctrack::Connection& connection) const;
  bool MatchesNat(const ctrack::Connection& connection) const;
  bool MatchesNetworks(const net::Tuple& original) const;
};

}  // namespace postern::control

// One packet on its way through the hooks, with all that was decided about it so far.
#pragma once

#include "ctrack/connection.h"
#include "dataplane/net/packet.h"
#include "dataplane/net/verdict.h"
#include "dataplane/route/route_table.h"
#include "dataplane/rules/rule_set.h"
#include "dataplane/rules/worker_rules.h"

namespace postern::pipeline {

// Where a packet came from, which decides who hears of its end.
enum class Source : uint8_t {
  kPort,
  kHost,
  kSelf,      // an error or reset that Postern sends
  kOperator,  // there is no packet: a connection that the operator asks for
};

// A place in the ClaimRoom (claim_room.h).
using ClaimId = uint16_t;
inline constexpr ClaimId kNoClaim = 0xffff;

struct Flight {
  net::Packet* packet = nullptr;
  net::Time now = 0;
  Source source = Source::kPort;
  ctrack::CtRef ct;               // kInvalid until conntrack has seen the packet
  bool tracked = false;           // conntrack has seen it, or it was exempted (NOTRACK)
  bool unconfirmed = false;       // ct.connection was made for this packet
  bool confirmed_before = false;  // ct.connection was in the table when the packet came
  bool nat_exhausted = false;
  bool nat_walked = false;  // a nat chain was walked: not a path to remember
  // What the nat table has said to a first packet.
  bool destination_answered = false;            // a rule for the destination
  bool masquerade = false;                      // of source_range: the address is the port's
  const net::NatRange* source_range = nullptr;  // a rule for the source; the rule set's
  bool attached = false;            // it has something of what it is about (nf_ct_attach)
  net::PortId in = net::kNoPort;    // input interface as the rules see it
  net::PortId out = net::kNoPort;   // output interface as the rules see it
  net::PortId twin = net::kNoPort;  // where the host's kernel gets it; kNoPort: the in port's twin
  ClaimId claim = kNoClaim;         // its connection's reply tuple has been asked for
  route::RouteResult route;
  uint32_t counted_bytes = 0;  // l3 length that the rules counted
  // The remembered path that this packet follows instead of walking; kNoPath: it walks.
  rules::PathId remembered = rules::kNoPath;
  rules::PathBuilder* path = nullptr;
};

}  // namespace postern::pipeline

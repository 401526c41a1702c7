// Questions about a NAT range: does a tuple lie in it, and which of its addresses does a
// connection get.
#pragma once

#include "dataplane/net/nat_range.h"
#include "dataplane/net/tuple.h"

namespace postern::nat {

// The port (source or destination by `manip`) or ICMP id that a translation may change. True for
// protocols without one. Source: l4proto_in_range of nf_nat_core.c.
bool KeyInRange(const net::Tuple& tuple, net::Manip manip, const net::NatRange& range);

// The tuple's source lies in the range, so that a source translation needn't change it.
bool SourceInRange(const net::Tuple& tuple, const net::NatRange& range);

// Puts an address of the range into `tuple`: always the same one for the same source and, unless
// --persistent, destination. The spread is Linux' own (find_best_ips_proto with Bob Jenkins' public
// domain lookup3), so that a client gets the address that netfilter would give it.
void SpreadAddress(net::Manip manip, const net::NatRange& range, net::Tuple* tuple);

}  // namespace postern::nat

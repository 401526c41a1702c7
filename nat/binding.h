// Choosing a translation: netfilter's get_unique_tuple.
//
// Pure functions over tuples. Whether a tuple is free is asked of a TupleOracle, which the
// pipeline answers from the connection table.
#pragma once

#include <optional>

#include "dataplane/net/nat_range.h"
#include "dataplane/net/random.h"
#include "dataplane/net/tuple.h"
#include "nat/source_map.h"

namespace postern::nat {

using net::Manip;
using net::NatRange;
using net::Tuple;

class TupleOracle {
 public:
  virtual ~TupleOracle() = default;
  // nf_nat_used_tuple: another connection already answers to `reply`.
  virtual bool Taken(const Tuple& reply) = 0;
  // The same, asked for the last attempts of a search (nf_nat_used_tuple_harder): a source
  // translated TCP connection in TIME_WAIT or CLOSE whose sequence numbers the new SYN has passed
  // may be evicted to make room.
  virtual bool TakenForGood(const Tuple& reply) { return Taken(reply); }
  // The reply's packets reach the worker that holds the connection (OwnerMap). A tuple that doesn't
  // suit is chosen only where no other can be (one address and one port, strict preservation …).
  virtual bool Suits(const Tuple& reply) = 0;
};

struct Choice {
  Tuple tuple;             // the original direction's tuple after translation
  bool exhausted = false;  // no free tuple was found; the packet will clash at confirmation
  bool checked = false;    // another one would have been taken if somebody had this one
};

// `current` is the mirror of the connection's reply tuple. `sources` may be null.
// Follows nf_nat_core.c of Linux 6.x: a source mapping is used again (find_appropriate_src), the
// port is kept where it is free, ranges are searched from a random (source) or zero (destination)
// offset, in rounds of at most 128, 64, 32, 16 and 8 attempts. The null binding (no rule matched)
// is a source range of the current address alone, without ports.
//
// `strict_preservation`: a kept port and a reused mapping needn't suit (port_preservation =
// "strict").
Choice ChooseTuple(const Tuple& current, Manip manip, const NatRange& range, TupleOracle* oracle,
                   const SourceMap* sources, net::Rng* rng, bool strict_preservation);

}  // namespace postern::nat

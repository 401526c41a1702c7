// How a translation is chosen. Netfilter's order (get_unique_tuple):
//
//   1. A source that lies in the range already is left alone; else a translation that this source
//      already has is used again, where it fits the range.
//   2. Else the range's address for this client is taken, with the port as it is.
//   3. Where that tuple is taken, or its port is outside the range, a port (or ICMP id) is
//   searched.
//
// Postern adds one wish: the replies should reach the worker that holds the connection
// (DESIGN.md section 3). It is honoured where a source port or id is translated at all and
// nothing worse than another port comes of it; a candidate that doesn't suit is stepped
// over without counting as an attempt. With one worker everything suits and the choice is
// netfilter's.
#include "nat/binding.h"

#include <algorithm>
#include <utility>

#include "dataplane/net/flow_hash.h"
#include "nat/range.h"

namespace postern::nat {

namespace {

// Netfilter gives up after 128 + 64 + 32 + 16 + 8 candidates.
constexpr uint32_t kMaxAttempts = 128;
constexpr uint32_t kMinAttempts = 16;
// From here on netfilter also takes the tuple of a connection in TIME_WAIT.
constexpr uint32_t kHardAttempts = kMaxAttempts / 4;
// Candidates that may be stepped over because they don't suit: some 10 µs.
constexpr uint32_t kMaxUnsuited = 4096;
// So many in a row are a hole in the worker's share: go on elsewhere.
constexpr uint32_t kMaxRun = 64;

// The translation of a packet writes the key. icmpv6_manip_pkt leaves the id of node information
// queries (RFC 4620) as it is, whatever the connection's tuples say.
bool KeyIsWritten(const Tuple& tuple) {
  return tuple.protocol != net::kProtoIcmpv6 || tuple.IcmpType() == net::kIcmpv6EchoRequest ||
         tuple.IcmpType() == net::kIcmpv6EchoReply;
}

// The ports or ids to search.
struct KeySpace {
  uint16_t first = 0;
  uint32_t size = 0;
};

class Chooser {
 public:
  Chooser(const Tuple& current, Manip manip, const NatRange& range, TupleOracle* oracle,
          const SourceMap* sources, net::Rng* rng, bool strict)
      : current_(current),
        manip_(manip),
        range_(range),
        oracle_(oracle),
        sources_(sources),
        rng_(rng),
        strict_(strict),
        random_(range.random || range.fully_random),
        picky_(manip == Manip::kSource && net::OwnerMap::DependsOnSourceKey(current.protocol) &&
               KeyIsWritten(current)) {}

  Choice Choose();

 private:
  bool Taken(const Tuple& tuple) const {
    const auto reply = net::Mirror(tuple);
    return reply.has_value() && oracle_->Taken(*reply);
  }
  bool Suits(const Tuple& tuple) const {
    const auto reply = net::Mirror(tuple);
    return !reply.has_value() || oracle_->Suits(*reply);
  }
  // The tuple's port may be kept: it suits, or what doesn't suit is wanted or unavoidable.
  bool MayKeep(const Tuple& tuple) const { return !picky_ || strict_ || Suits(tuple); }

  bool ReuseSource(Tuple* tuple) const;
  // Step 2's tuple needs no search.
  bool KeepsKey(const Tuple& tuple, bool* free) const;
  bool FindKeySpace(const Tuple& tuple, KeySpace* space) const;
  uint16_t* Key(Tuple* tuple) const {
    const bool source = manip_ == Manip::kSource || !net::HasPorts(tuple->protocol);
    return source ? &tuple->source_key : &tuple->destination_key;
  }
  // The same key where it stands in the answers' tuple.
  uint16_t* ReplyKey(Tuple* reply) const {
    const bool source = manip_ == Manip::kDestination || !net::HasPorts(reply->protocol);
    return source ? &reply->source_key : &reply->destination_key;
  }
  bool Search(const KeySpace& space, bool must_suit, Tuple* tuple);
  uint16_t Random16() { return static_cast<uint16_t>(rng_->Next() >> 48); }

  const Tuple& current_;
  const Manip manip_;
  const NatRange& range_;
  TupleOracle* oracle_;
  const SourceMap* sources_;
  net::Rng* rng_;
  const bool strict_;
  const bool random_;
  // Another source port or id would change who owns the replies, and reaches the packet.
  const bool picky_;
  // A candidate was stepped over because it doesn't suit.
  bool stepped_over_ = false;
};

bool Chooser::ReuseSource(Tuple* tuple) const {
  return sources_ != nullptr && sources_->Find(current_, range_, tuple) && !Taken(*tuple) &&
         MayKeep(*tuple);
}

bool Chooser::KeepsKey(const Tuple& tuple, bool* free) const {
  *free = false;
  if (random_) return false;
  if (!range_.has_ports) {
    *free = !Taken(tuple);
    return *free && MayKeep(tuple);
  }
  if (range_.has_base || !KeyInRange(tuple, manip_, range_)) return false;
  if (range_.ports.first == range_.ports.last) return true;  // nothing to choose from
  *free = !Taken(tuple);
  return *free && MayKeep(tuple);
}

bool Chooser::FindKeySpace(const Tuple& tuple, KeySpace* space) const {
  const bool icmp = tuple.protocol == net::kProtoIcmp || tuple.protocol == net::kProtoIcmpv6;
  // GRE keys are translated only for PPTP's expected connections.
  if (!icmp && !net::HasPorts(tuple.protocol)) return false;
  if (range_.has_ports) {
    const auto [low, high] = std::minmax(range_.ports.first, range_.ports.last);
    *space = {low, uint32_t{high} - low + 1};
    return true;
  }
  if (icmp) {
    *space = {0, 65536};
    return true;
  }
  if (manip_ == Manip::kDestination) return false;  // a server's port isn't ours to change
  // Ports keep their class: below 512 some services take the port for a credential.
  if (tuple.source_key < 512) {
    *space = {1, 511};
  } else if (tuple.source_key < 1024) {
    *space = {600, 1023 - 600 + 1};
  } else {
    *space = {1024, 65535 - 1024 + 1};
  }
  return true;
}

// Tries candidates upwards from an offset; a space too large to try whole is left after 128
// attempts for another offset and half the attempts. False with the last candidate in *tuple.
bool Chooser::Search(const KeySpace& space, bool must_suit, Tuple* tuple) {
  const auto mirror = net::Mirror(*tuple);
  if (!mirror) return false;
  Tuple reply = *mirror;
  uint16_t* const key = Key(tuple);
  uint16_t* const reply_key = ReplyKey(&reply);
  uint16_t offset = 0;
  if (range_.has_base) {
    offset = static_cast<uint16_t>(*key - range_.base_port);
  } else if (random_ || manip_ == Manip::kSource) {
    offset = Random16();
  }
  uint32_t attempts = std::min(space.size, kMaxAttempts);
  uint32_t unsuited = 0;
  while (true) {
    uint32_t tried = 0;
    uint32_t run = 0;
    for (uint32_t step = 0; step < space.size && tried < attempts; ++step, ++offset) {
      *key = *reply_key = static_cast<uint16_t>(space.first + offset % space.size);
      if (must_suit && !oracle_->Suits(reply)) {
        stepped_over_ = true;
        if (++unsuited == kMaxUnsuited) return false;
        if (++run == kMaxRun && space.size > kMaxUnsuited) {
          offset = Random16();
          run = 0;
        }
        continue;
      }
      run = 0;
      const bool hard = attempts - tried <= kHardAttempts;
      ++tried;
      if (hard ? !oracle_->TakenForGood(reply) : !oracle_->Taken(reply)) return true;
    }
    if (attempts >= space.size || attempts < kMinAttempts) return false;
    attempts /= 2;
    offset = Random16();
  }
}

Choice Chooser::Choose() {
  if (manip_ == Manip::kSource && !random_) {
    if (SourceInRange(current_, range_)) {
      if (!Taken(current_)) return {current_, false, true};
    } else if (Tuple reused; ReuseSource(&reused)) {
      return {reused, false, true};
    }
  }

  Tuple tuple = current_;
  SpreadAddress(manip_, range_, &tuple);
  const Tuple kept = tuple;
  bool kept_is_free = false;
  KeySpace space;
  if (KeepsKey(kept, &kept_is_free)) {
    const bool other = manip_ == Manip::kSource || FindKeySpace(kept, &space);
    return {kept, !kept_is_free && Taken(kept), kept_is_free && other};
  }

  if (!FindKeySpace(tuple, &space)) return {kept, !kept_is_free && Taken(kept)};
  const bool others = space.size > 1;
  if (picky_) {
    if (Search(space, true, &tuple)) return {tuple, false, others};
    if (kept_is_free) return {kept, false, others};
    if (!stepped_over_) return {tuple, true, others};
    // None suits: the replies will be handed over.
  }
  tuple = kept;
  const bool found = Search(space, false, &tuple);
  return {tuple, !found, others};
}

}  // namespace

Choice ChooseTuple(const Tuple& current, Manip manip, const NatRange& range, TupleOracle* oracle,
                   const SourceMap* sources, net::Rng* rng, bool strict_preservation) {
  return Chooser(current, manip, range, oracle, sources, rng, strict_preservation).Choose();
}

}  // namespace postern::nat

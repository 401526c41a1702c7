#include "nat/source_map.h"

#include "dataplane/net/random.h"
#include "nat/range.h"

namespace postern::nat {

using net::NatRange;
using net::Tuple;

namespace {

// Connections of one bucket that Find looks at. netfilter looks at all; a source with more
// translations outside of the range gets a new one.
constexpr unsigned kMaxProbes = 128;

std::array<uint8_t, 16> KeyFromSeed(uint64_t seed) {
  net::Rng rng(seed);
  std::array<uint8_t, 16> key;
  for (auto& byte : key) byte = static_cast<uint8_t>(rng.Next() >> 56);
  return key;
}

Tuple SourceOf(const Tuple& tuple) {
  Tuple out;
  out.source = tuple.source;
  out.source_key = tuple.source_key;
  out.protocol = tuple.protocol;
  out.family = tuple.family;
  out.zone = tuple.zone;
  return out;
}

bool SameSource(const Tuple& a, const Tuple& b) {
  return a.source == b.source && a.source_key == b.source_key && a.protocol == b.protocol &&
         a.family == b.family && a.zone == b.zone;
}

}  // namespace

SourceMap::SourceMap(uint32_t slots, uint64_t seed, const Connections* connections, void* memory)
    : hasher_(KeyFromSeed(seed)),
      connections_(*connections),
      mask_(static_cast<uint32_t>(BucketsFor(slots) - 1)),
      own_memory_(memory == nullptr ? net::ZeroedMemory(BytesFor(slots)) : net::ZeroedMemory()),
      buckets_(static_cast<Bucket*>(memory == nullptr ? own_memory_.get() : memory)),
      links_(reinterpret_cast<Link*>(buckets_ + BucketsFor(slots))) {}

uint32_t SourceMap::HashOf(const Tuple& tuple) const { return hasher_.Hash(SourceOf(tuple)); }

uint32_t SourceMap::HashOf(net::Ipv4Key key) const {
  key.destination = 0;
  key.destination_key = 0;
  return hasher_.Hash(key);
}

uint32_t SourceMap::HashOf(uint32_t slot) const {
  net::Ipv4Key key;
  if (!connections_.OriginalKey(slot, &key)) return HashOf(connections_.Original(slot));
  return HashOf(key);
}

void SourceMap::Insert(uint32_t slot, uint32_t hash) {
  Link& link = links_[slot];
  if (link.next != kNone) return;
  Bucket& bucket = BucketOf(hash);
  link = {bucket.first == kNone ? kEnd : bucket.first, kNone};
  if (bucket.first != kNone) links_[bucket.first - 1].previous = slot + 1;
  bucket.first = slot + 1;
  bucket.hashes |= BitOf(hash);
}

void SourceMap::Erase(uint32_t slot) {
  Link& link = links_[slot];
  if (link.next == kNone) return;
  if (link.next != kEnd) links_[link.next - 1].previous = link.previous;
  if (link.previous != kNone) {
    links_[link.previous - 1].next = link.next;
  } else {
    Bucket& bucket = BucketOf(HashOf(slot));
    if (link.next == kEnd) {
      bucket = {};
    } else {
      bucket.first = link.next;
    }
  }
  link = {};
}

bool SourceMap::Find(const Tuple& tuple, const NatRange& range, Tuple* result) const {
  const uint32_t hash = HashOf(tuple);
  if (!MayHold(hash)) return false;
  uint32_t at = BucketOf(hash).first;
  for (unsigned probe = 0; at != kEnd && probe < kMaxProbes; ++probe) {
    const uint32_t slot = at - 1;
    at = links_[slot].next;
    if (!SameSource(connections_.Original(slot), tuple)) continue;
    const auto translated = net::Mirror(connections_.Reply(slot));
    if (!translated || !SourceInRange(*translated, range)) continue;
    *result = tuple;
    result->source = translated->source;
    result->source_key = translated->source_key;
    return true;
  }
  return false;
}

}  // namespace postern::nat

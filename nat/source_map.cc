#include "nat/source_map.h"

#include <emmintrin.h>

#include <bit>
#include <cstring>

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

// Makes room for a first element; the last one is lost. Through registers, without a call.
template <typename T, size_t kSize>
void ShiftUp(T (&values)[kSize]) {
  T all_but_last[kSize - 1];
  std::memcpy(all_but_last, values, sizeof(all_but_last));
  std::memcpy(values + 1, all_but_last, sizeof(all_but_last));
}

}  // namespace

SourceMap::SourceMap(uint32_t slots, uint64_t seed, const Connections* connections, void* memory)
    : hasher_(KeyFromSeed(seed)),
      connections_(*connections),
      bucket_count_(BucketsFor(slots)),
      own_memory_(memory == nullptr ? net::ZeroedMemory(BytesFor(slots)) : net::ZeroedMemory()),
      buckets_(static_cast<Bucket*>(memory == nullptr ? own_memory_.get() : memory)),
      links_(reinterpret_cast<Link*>(buckets_ + bucket_count_)) {}

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

inline uint32_t SourceMap::Matches(const Bucket& bucket, uint8_t tag) {
  // Reads beyond the tags, but within the bucket.
  const __m128i tags = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bucket.tags));
  const __m128i same = _mm_cmpeq_epi8(tags, _mm_set1_epi8(static_cast<char>(tag)));
  return static_cast<uint32_t>(_mm_movemask_epi8(same)) & ((1U << bucket.size) - 1);
}

bool SourceMap::MayHold(uint32_t hash) const {
  const Bucket& bucket = BucketOf(hash);
  return bucket.list != kNone || Matches(bucket, TagOf(hash)) != 0;
}

unsigned SourceMap::PlaceOf(const Bucket& bucket, uint32_t slot) {
  unsigned place = 0;
  while (place < bucket.size && bucket.slots[place] != slot) ++place;
  return place;
}

void SourceMap::Insert(uint32_t slot, uint32_t hash) {
  Bucket& bucket = BucketOf(hash);
  if (PlaceOf(bucket, slot) != bucket.size) return;
  if (bucket.list != kNone && links_[slot].next != kNone) return;
  if (bucket.size == kPlaces) PushToList(&bucket, bucket.slots[--bucket.size]);
  ShiftUp(bucket.slots);
  ShiftUp(bucket.tags);
  bucket.slots[0] = slot;
  bucket.tags[0] = TagOf(hash);
  ++bucket.size;
}

void SourceMap::PushToList(Bucket* bucket, uint32_t slot) {
  links_[slot] = {bucket->list == kNone ? kEnd : bucket->list, kNone};
  if (bucket->list != kNone) links_[bucket->list - 1].previous = slot + 1;
  bucket->list = slot + 1;
}

void SourceMap::Erase(uint32_t slot) {
  Bucket& bucket = BucketOf(HashOf(slot));
  const unsigned place = PlaceOf(bucket, slot);
  if (place == bucket.size) {
    if (bucket.list != kNone && links_[slot].next != kNone) TakeFromList(&bucket, slot);
    return;
  }
  --bucket.size;
  for (unsigned i = place; i < bucket.size; ++i) {
    bucket.slots[i] = bucket.slots[i + 1];
    bucket.tags[i] = bucket.tags[i + 1];
  }
}

void SourceMap::TakeFromList(Bucket* bucket, uint32_t slot) {
  Link& link = links_[slot];
  if (link.next != kEnd) links_[link.next - 1].previous = link.previous;
  if (link.previous != kNone) {
    links_[link.previous - 1].next = link.next;
  } else {
    bucket->list = link.next == kEnd ? kNone : link.next;
  }
  link = {};
}

bool SourceMap::Suits(uint32_t slot, const Tuple& tuple, const NatRange& range,
                      Tuple* result) const {
  if (!SameSource(connections_.Original(slot), tuple)) return false;
  const auto translated = net::Mirror(connections_.Reply(slot));
  if (!translated || !SourceInRange(*translated, range)) return false;
  *result = tuple;
  result->source = translated->source;
  result->source_key = translated->source_key;
  return true;
}

bool SourceMap::Find(const Tuple& tuple, const NatRange& range, Tuple* result) const {
  const uint32_t hash = HashOf(tuple);
  const Bucket& bucket = BucketOf(hash);
  for (uint32_t fits = Matches(bucket, TagOf(hash)); fits != 0; fits &= fits - 1) {
    if (Suits(bucket.slots[std::countr_zero(fits)], tuple, range, result)) return true;
  }
  uint32_t at = bucket.list == kNone ? kEnd : bucket.list;
  for (unsigned probe = kPlaces; at != kEnd && probe < kMaxProbes; ++probe) {
    const uint32_t slot = at - 1;
    at = links_[slot].next;
    if (Suits(slot, tuple, range, result)) return true;
  }
  return false;
}

}  // namespace postern::nat

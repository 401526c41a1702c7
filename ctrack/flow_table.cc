#include "ctrack/flow_table.h"

#include <emmintrin.h>

#include <array>
#include <bit>

namespace postern::ctrack {

using net::Ipv4Key;

namespace {

constexpr size_t kMaxBurst = 64;

}  // namespace

FlowTable::FlowTable(uint32_t capacity, const net::FlowHasher& hasher, const ConnectionPool& pool,
                     void* memory)
    : hasher_(hasher),
      slots_(pool.slots()),
      capacity_(capacity),
      bucket_count_(BucketsFor(capacity)),
      own_memory_(memory == nullptr ? net::ZeroedMemory(BytesFor(capacity)) : net::ZeroedMemory()),
      buckets_(static_cast<Bucket*>(memory == nullptr ? own_memory_.get() : memory)),
      remote_memory_(capacity * sizeof(RemoteSlot)),
      remote_(static_cast<RemoteSlot*>(remote_memory_.get())) {}

// The entries with this tag, by bit.
inline uint32_t FlowTable::Matches(const Bucket& bucket, uint16_t tag) {
  const auto* tags = reinterpret_cast<const __m128i*>(bucket.tags);
  const __m128i wanted = _mm_set1_epi16(static_cast<int16_t>(tag));
  // The second half reads beyond the tags, but within the bucket; `used` has no such bits.
  const __m128i low = _mm_cmpeq_epi16(_mm_load_si128(tags), wanted);
  const __m128i high = _mm_cmpeq_epi16(_mm_load_si128(tags + 1), wanted);
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(low, high))) & bucket.used;
}

inline bool FlowTable::Is(uint32_t reference, const Tuple& tuple) const {
  if ((reference & kRemote) != 0) return remote_[reference & ~kRemote].tuple == tuple;
  return At(reference).tuples[reference & 1] == tuple;
}

inline bool FlowTable::Is(uint32_t reference, const Ipv4Key& key) const {
  if ((reference & kRemote) != 0 || key.zone != 0) return Is(reference, key.ToTuple());
  const Connection& connection = At(reference);
  const WireEnds& ends = connection.ends[reference & 1];
  return connection.kind == key.protocol && ends.source == key.source &&
         ends.destination == key.destination && ends.source_port == key.source_key &&
         ends.destination_port == key.destination_key;
}

inline TableValue FlowTable::ValueOf(uint32_t reference) const {
  if ((reference & kRemote) != 0) return TableValue::Remote(remote_[reference & ~kRemote].worker);
  return TableValue::Local(slots_ + (reference >> 1), static_cast<Direction>(reference & 1));
}

template <typename Key>
inline FlowTable::Place FlowTable::Find(const Key& key, uint32_t hash) const {
  uint32_t at = HomeOf(hash);
  for (uint32_t looked = 0; looked < bucket_count_; ++looked, at = After(at)) {
    const Bucket& bucket = buckets_[at];
    for (uint32_t fits = Matches(bucket, TagOf(hash)); fits != 0; fits &= fits - 1) {
      const auto entry = static_cast<unsigned>(std::countr_zero(fits));
      if (Is(bucket.references[entry], key)) return {at, entry};
    }
    if (bucket.passed == 0) break;
  }
  return {};
}

TableValue FlowTable::Lookup(const Tuple& tuple, uint32_t hash) const {
  const Place place =
      tuple.family == net::Family::kIpv4 ? Find(Ipv4Key(tuple), hash) : Find(tuple, hash);
  if (place.bucket == kNone) return {};
  return ValueOf(buckets_[place.bucket].references[place.entry]);
}

// Reads the bucket and asks for the connection.
template <typename Key>
inline uint32_t FlowTable::Expect(const Key& key, uint32_t hash) const {
  const Bucket& bucket = buckets_[HomeOf(hash)];
  const uint32_t fits = Matches(bucket, TagOf(hash));
  if (fits == 0) return bucket.passed == 0 ? kNone : kElsewhere;
  const uint32_t reference = bucket.references[std::countr_zero(fits)];
  if ((reference & kRemote) != 0) return reference;
  const Connection& connection = At(reference);
  __builtin_prefetch(&connection, 1);
  if constexpr (std::is_same_v<Key, Tuple>) __builtin_prefetch(&connection.tuples[reference & 1]);
  // UDP rarely needs a connection's second line.
  if (key.protocol == net::kProtoTcp) __builtin_prefetch(&connection.protocol, 1);
  return reference;
}

template <typename Key>
inline TableValue FlowTable::Resolve(const Key& key, uint32_t hash, uint32_t candidate) const {
  if (candidate == kNone) return {};
  if (candidate != kElsewhere && Is(candidate, key)) return ValueOf(candidate);
  const Place place = Find(key, hash);
  if (place.bucket == kNone) return {};
  return ValueOf(buckets_[place.bucket].references[place.entry]);
}

// First all buckets are asked for, then all connections, then each is looked at.
void FlowTable::LookupBurst(std::span<const Tuple> tuples, std::span<const uint32_t> hashes,
                            std::span<TableValue> values) const {
  std::array<uint32_t, kMaxBurst> candidates;
  for (size_t i = 0; i < tuples.size(); ++i) Prefetch(hashes[i]);
  for (size_t i = 0; i < tuples.size(); ++i) candidates[i] = Expect(tuples[i], hashes[i]);
  for (size_t i = 0; i < tuples.size(); ++i) {
    values[i] = Resolve(tuples[i], hashes[i], candidates[i]);
  }
}

void FlowTable::ExpectBurst(std::span<const Ipv4Key> keys, std::span<const uint32_t> hashes,
                            std::span<uint32_t> candidates) const {
  for (size_t i = 0; i < keys.size(); ++i) candidates[i] = Expect(keys[i], hashes[i]);
}

void FlowTable::ResolveBurst(std::span<const Ipv4Key> keys, std::span<const uint32_t> hashes,
                             std::span<const uint32_t> candidates,
                             std::span<TableValue> values) const {
  for (size_t i = 0; i < keys.size(); ++i) {
    values[i] = Resolve(keys[i], hashes[i], candidates[i]);
  }
}

bool FlowTable::MayHold(uint32_t hash) const {
  const Bucket& home = buckets_[HomeOf(hash)];
  return home.passed != 0 || Matches(home, TagOf(hash)) != 0;
}

uint32_t FlowTable::AddRemote(const Tuple& tuple, unsigned worker) {
  uint32_t slot = remote_free_;
  if (slot != kNone) {
    remote_free_ = remote_[slot].next_free;
  } else {
    slot = remote_used_++;
  }
  remote_[slot] = {tuple, worker, kNone};
  return slot | kRemote;
}

bool FlowTable::Insert(const Tuple& tuple, uint32_t hash, TableValue value) {
  if (size_ == capacity_) return false;
  if (MayHold(hash) && !Lookup(tuple, hash).empty()) return false;
  constexpr uint16_t kFull = (1U << kEntries) - 1;
  uint32_t at = HomeOf(hash);
  for (; buckets_[at].used == kFull; at = After(at)) {
    if (buckets_[at].passed != UINT16_MAX) ++buckets_[at].passed;
  }
  Bucket& bucket = buckets_[at];
  const auto entry = static_cast<unsigned>(std::countr_one(bucket.used));
  bucket.used = static_cast<uint16_t>(bucket.used | 1U << entry);
  bucket.tags[entry] = TagOf(hash);
  bucket.references[entry] = value.IsRemote()
                                 ? AddRemote(tuple, value.worker())
                                 : static_cast<uint32_t>(value.connection() - slots_) << 1 |
                                       static_cast<uint32_t>(value.direction());
  ++size_;
  return true;
}

bool FlowTable::Erase(const Tuple& tuple, uint32_t hash) {
  const Place place =
      tuple.family == net::Family::kIpv4 ? Find(Ipv4Key(tuple), hash) : Find(tuple, hash);
  if (place.bucket != kNone) Remove(place, hash);
  return place.bucket != kNone;
}

bool FlowTable::EraseLocal(const Connection* connection, Direction direction, uint32_t hash) {
  const uint32_t wanted =
      static_cast<uint32_t>(connection - slots_) << 1 | static_cast<uint32_t>(direction);
  uint32_t at = HomeOf(hash);
  for (uint32_t looked = 0; looked < bucket_count_; ++looked, at = After(at)) {
    const Bucket& bucket = buckets_[at];
    for (uint32_t fits = Matches(bucket, TagOf(hash)); fits != 0; fits &= fits - 1) {
      const auto entry = static_cast<unsigned>(std::countr_zero(fits));
      if (bucket.references[entry] != wanted) continue;
      Remove({at, entry}, hash);
      return true;
    }
    if (bucket.passed == 0) break;
  }
  return false;
}

void FlowTable::Remove(const Place& place, uint32_t hash) {
  for (uint32_t at = HomeOf(hash); at != place.bucket; at = After(at)) {
    if (buckets_[at].passed != UINT16_MAX) --buckets_[at].passed;
  }
  Bucket& bucket = buckets_[place.bucket];
  bucket.used = static_cast<uint16_t>(bucket.used & ~(1U << place.entry));
  const uint32_t reference = bucket.references[place.entry];
  if ((reference & kRemote) != 0) {
    remote_[reference & ~kRemote].next_free = remote_free_;
    remote_free_ = reference & ~kRemote;
  }
  --size_;
}

}  // namespace postern::ctrack

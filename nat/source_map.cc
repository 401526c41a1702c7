// Two hash tables over fixed arrays of nodes.
//
// A Mapping says that a source is translated to another one, and for how many connections; the
// mappings of a source hang in one bucket, the newest first. An Owner is one connection
// and names its mapping, so that a connection's end is found without walking through all
// connections of its source (a resolver sends everything from one port).
//
// Where netfilter keeps one entry a connection, equal ones are counted here; only the order among
// different translations of the same source can differ, after an end.
#include "nat/source_map.h"

#include <bit>
#include <vector>

#include "dataplane/net/flow_hash.h"
#include "dataplane/net/random.h"
#include "nat/range.h"

namespace postern::nat {

using net::NatRange;
using net::Tuple;

namespace {

constexpr uint32_t kNone = UINT32_MAX;
// Mappings of one bucket that Find looks at: a source with more translations gets a new one.
constexpr unsigned kMaxProbes = 128;

struct Mapping {
  Tuple source;      // the original source, with the destination left out
  Tuple translated;  // the translated one, likewise
  uint32_t connections = 0;
  uint32_t bucket = 0;
  uint32_t next = kNone;
  uint32_t previous = kNone;
};

struct Owner {
  const void* key = nullptr;
  uint32_t mapping = kNone;
  uint32_t next = kNone;
};

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

}  // namespace

struct SourceMap::Impl {
  Impl(uint32_t capacity, uint64_t seed)
      : hasher(KeyFromSeed(seed)),
        pointer_factor(net::Rng(seed ^ 0x5bf03635).Next() | 1),
        mappings(capacity),
        owners(capacity) {
    const uint32_t buckets = std::bit_ceil(capacity < 2 ? 2U : capacity);
    bucket_bits = static_cast<unsigned>(std::countr_zero(buckets));
    mapping_buckets.assign(buckets, kNone);
    owner_buckets.assign(buckets, kNone);
    for (uint32_t i = 0; i < capacity; ++i) {
      mappings[i].next = i + 1 < capacity ? i + 1 : kNone;
      owners[i].next = mappings[i].next;
    }
    free_mapping = free_owner = capacity > 0 ? 0 : kNone;
  }

  uint32_t MappingBucket(const Tuple& source) const {
    return hasher.Hash(source) & ((1U << bucket_bits) - 1);
  }
  uint32_t OwnerBucket(const void* key) const {
    const uint64_t mixed = reinterpret_cast<uintptr_t>(key) * pointer_factor;
    return static_cast<uint32_t>(mixed >> (64 - bucket_bits));
  }

  void Link(uint32_t index) {
    Mapping& mapping = mappings[index];
    mapping.previous = kNone;
    mapping.next = mapping_buckets[mapping.bucket];
    if (mapping.next != kNone) mappings[mapping.next].previous = index;
    mapping_buckets[mapping.bucket] = index;
  }
  void Unlink(uint32_t index) {
    const Mapping& mapping = mappings[index];
    if (mapping.next != kNone) mappings[mapping.next].previous = mapping.previous;
    if (mapping.previous != kNone) {
      mappings[mapping.previous].next = mapping.next;
    } else {
      mapping_buckets[mapping.bucket] = mapping.next;
    }
  }

  // The mapping's node, newest in its bucket, with one connection more; kNone when all are in use.
  uint32_t Acquire(const Tuple& source, const Tuple& translated) {
    const uint32_t bucket = MappingBucket(source);
    uint32_t index = mapping_buckets[bucket];
    for (unsigned probe = 0; index != kNone && probe < kMaxProbes; ++probe) {
      if (mappings[index].source == source && mappings[index].translated == translated) {
        Unlink(index);
        Link(index);
        ++mappings[index].connections;
        return index;
      }
      index = mappings[index].next;
    }
    index = free_mapping;
    if (index == kNone) return kNone;
    free_mapping = mappings[index].next;
    mappings[index] =
        Mapping{.source = source, .translated = translated, .connections = 1, .bucket = bucket};
    Link(index);
    return index;
  }

  void Release(uint32_t index) {
    if (--mappings[index].connections > 0) return;
    Unlink(index);
    mappings[index].next = free_mapping;
    free_mapping = index;
  }

  net::FlowHasher hasher;
  uint64_t pointer_factor;
  unsigned bucket_bits = 0;
  std::vector<Mapping> mappings;
  std::vector<Owner> owners;
  std::vector<uint32_t> mapping_buckets;
  std::vector<uint32_t> owner_buckets;
  uint32_t free_mapping = kNone;
  uint32_t free_owner = kNone;
};

SourceMap::SourceMap(uint32_t capacity, uint64_t seed)
    : impl_(std::make_unique<Impl>(capacity, seed)) {}
SourceMap::~SourceMap() = default;

void SourceMap::Insert(const Tuple& original, const Tuple& translated, const void* owner) {
  Impl& map = *impl_;
  const uint32_t index = map.free_owner;
  if (index == kNone) return;
  const uint32_t mapping = map.Acquire(SourceOf(original), SourceOf(translated));
  if (mapping == kNone) return;
  map.free_owner = map.owners[index].next;
  uint32_t& bucket = map.owner_buckets[map.OwnerBucket(owner)];
  map.owners[index] = Owner{.key = owner, .mapping = mapping, .next = bucket};
  bucket = index;
}

void SourceMap::Erase(const Tuple& original, const void* owner) {
  Impl& map = *impl_;
  const Tuple source = SourceOf(original);
  uint32_t* link = &map.owner_buckets[map.OwnerBucket(owner)];
  while (*link != kNone) {
    const uint32_t index = *link;
    Owner& node = map.owners[index];
    if (node.key == owner && map.mappings[node.mapping].source == source) {
      map.Release(node.mapping);
      *link = node.next;
      node = Owner{.next = map.free_owner};
      map.free_owner = index;
      return;
    }
    link = &node.next;
  }
}

bool SourceMap::Find(const Tuple& tuple, const NatRange& range, Tuple* result) const {
  const Impl& map = *impl_;
  const Tuple source = SourceOf(tuple);
  uint32_t index = map.mapping_buckets[map.MappingBucket(source)];
  for (unsigned probe = 0; index != kNone && probe < kMaxProbes; ++probe) {
    const Mapping& mapping = map.mappings[index];
    if (mapping.source == source && SourceInRange(mapping.translated, range)) {
      *result = tuple;
      result->source = mapping.translated.source;
      result->source_key = mapping.translated.source_key;
      return true;
    }
    index = mapping.next;
  }
  return false;
}

}  // namespace postern::nat

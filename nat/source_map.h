// Which translation a source already has: netfilter's nf_nat_bysource.
//
// Overview. A multimap from an original source (address, key, protocol, zone) to the connections
// that are translated from it, the newest first. It holds slots of the worker's connection pool and
// reads the tuples where they are, so it is never full.
//
// A bucket is a cache line: ten slots, the newest first, and eight bits of each one's hash, so that
// most new sources are turned away without a look at anybody's connection, and to enter or remove
// one touches its bucket alone. There are four slots for a bucket; what is too much for one (a
// resolver sends everything from one port) goes, the oldest first, into a list of links between
// slots.
//
// One thread: each worker has its own.
// Invariants: a slot is in the bucket of its connection's original source or in none; those in the
// list are older than those beside it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/net/flow_hash.h"
#include "dataplane/net/nat_range.h"
#include "dataplane/net/tuple.h"
#include "dataplane/net/zeroed_memory.h"

namespace postern::nat {

class SourceMap {
 public:
  // The connections that the map links.
  class Connections {
   public:
    virtual ~Connections() = default;
    virtual const net::Tuple& Original(uint32_t slot) const = 0;
    virtual const net::Tuple& Reply(uint32_t slot) const = 0;
    // Original() where it fits into *key and that comes cheaper; else false.
    virtual bool OriginalKey(uint32_t slot, net::Ipv4Key* key) const = 0;
  };

  // Slots are below `slots`. `memory`: BytesFor(slots) bytes of zeros, aligned to 64, that outlive
  // the map; null: it reserves them itself, and touches them as far as it uses them. Throws
  // std::bad_alloc.
  SourceMap(uint32_t slots, uint64_t seed, const Connections* connections, void* memory = nullptr);
  static size_t BytesFor(uint32_t slots) {
    return BucketsFor(slots) * sizeof(Bucket) + (size_t{slots} + 1) * sizeof(Link);
  }

  // The hash of a key's source, whatever its destination.
  uint32_t HashOf(net::Ipv4Key key) const;
  uint32_t HashOf(const net::Tuple& tuple) const;
  // False: Find() finds nothing for sources with this hash.
  bool MayHold(uint32_t hash) const;

  // The connection's tuples are final, and its source is translated. No effect on one that is in.
  // `hash`: of its original source.
  void Insert(uint32_t slot, uint32_t hash);
  void Insert(uint32_t slot) { Insert(slot, HashOf(slot)); }
  // No effect on a connection that isn't in. Its original tuple must still be there.
  void Erase(uint32_t slot);
  // The newest translated source of `tuple`'s source that lies in `range`, put into *result with
  // tuple's destination: find_appropriate_src.
  bool Find(const net::Tuple& tuple, const net::NatRange& range, net::Tuple* result) const;
  // Find() or Insert() of a source with this hash comes soon.
  void Prefetch(uint32_t hash) const { __builtin_prefetch(&BucketOf(hash), 1); }
  // Erase() of this slot comes soon.
  void PrefetchErase(uint32_t slot) const { Prefetch(HashOf(slot)); }

 private:
  static constexpr unsigned kPlaces = 10;
  // In the list, slot numbers are kept one higher.
  static constexpr uint32_t kNone = 0;
  static constexpr uint32_t kEnd = UINT32_MAX;
  struct Link {
    uint32_t next;      // kNone: the slot isn't in the list; kEnd: it is the last
    uint32_t previous;  // kNone: it is the first
  };
  struct alignas(64) Bucket {
    uint32_t slots[kPlaces];  // the first `size`, the newest first
    uint8_t tags[kPlaces];    // of their hashes
    uint8_t size;
    uint32_t list;  // first of those that found no place; kNone: there are none
  };
  static_assert(sizeof(Bucket) == 64 && offsetof(Bucket, tags) + 16 <= sizeof(Bucket));
  static uint32_t BucketsFor(uint32_t slots) { return slots / 4 + 1; }

  // Places with this tag, by bit.
  static uint32_t Matches(const Bucket& bucket, uint8_t tag);
  // The slot's place, or bucket.size.
  static unsigned PlaceOf(const Bucket& bucket, uint32_t slot);
  void PushToList(Bucket* bucket, uint32_t slot);
  void TakeFromList(Bucket* bucket, uint32_t slot);
  // The connection in `slot` has this source, translated into the range.
  bool Suits(uint32_t slot, const net::Tuple& tuple, const net::NatRange& range,
             net::Tuple* result) const;

  // Of the source of the connection in `slot`: the same as of its tuple.
  uint32_t HashOf(uint32_t slot) const;
  Bucket& BucketOf(uint32_t hash) const { return buckets_[uint64_t{hash} * bucket_count_ >> 32]; }
  // Other bits than those that choose the bucket.
  static uint8_t TagOf(uint32_t hash) { return static_cast<uint8_t>(hash); }

  const net::FlowHasher hasher_;
  const Connections& connections_;
  const uint32_t bucket_count_;
  const net::ZeroedMemory own_memory_;  // empty when the memory is the caller's
  Bucket* const buckets_;
  Link* const links_;  // by slot
};

}  // namespace postern::nat

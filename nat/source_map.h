// Which translation a source already has: netfilter's nf_nat_bysource.
//
// Overview. A multimap from an original source (address, key, protocol, zone) to the connections
// that are translated from it, the newest first. The map is only links between the slots of the
// worker's connection pool and reads the tuples where they are; so it takes the room of two numbers
// a connection, is never full, and costs a memory access where there is nothing to find.
//
// A bucket has, beside the first of its connections, 32 bits that say which hashes may be in it:
// most new sources are turned away without a look at anybody's connection.
//
// One thread: each worker has its own.
// Invariants: a slot is in the bucket of its connection's original source or in none; a bucket's
// bit is set for each slot in it, and none is when it is empty.
#pragma once

#include <bit>
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
  bool MayHold(uint32_t hash) const { return (BucketOf(hash).hashes & BitOf(hash)) != 0; }

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
  void PrefetchErase(uint32_t slot) const {
    __builtin_prefetch(&links_[slot], 1);
    __builtin_prefetch(&BucketOf(HashOf(slot)), 1);
  }

 private:
  // Slot numbers are kept one higher.
  static constexpr uint32_t kNone = 0;
  static constexpr uint32_t kEnd = UINT32_MAX;
  struct Link {
    uint32_t next;      // kNone: the slot isn't in; kEnd: it is the last
    uint32_t previous;  // kNone: it is the first
  };
  struct Bucket {
    uint32_t first;
    uint32_t hashes;
  };
  static size_t BucketsFor(uint32_t slots) { return std::bit_ceil(slots | 1U); }

  // Of the source of the connection in `slot`: the same as of its tuple.
  uint32_t HashOf(uint32_t slot) const;
  Bucket& BucketOf(uint32_t hash) const { return buckets_[hash & mask_]; }
  static uint32_t BitOf(uint32_t hash) { return uint32_t{1} << (hash >> 27); }

  const net::FlowHasher hasher_;
  const Connections& connections_;
  const uint32_t mask_;
  const net::ZeroedMemory own_memory_;  // empty when the memory is the caller's
  Bucket* const buckets_;
  Link* const links_;  // by slot
};

}  // namespace postern::nat

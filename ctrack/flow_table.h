// The connection table: a hash of buckets of a cache line, whose entries are references.
//
// Overview. An entry is 16 bits of a tuple's hash (its tag) and 32 bits that name a connection's
// slot and the tuple's direction. No key is kept: a tuple whose tag fits is compared with the
// connection itself, in the line that the established path wants anyway. So a packet that
// belongs to a connection touches two lines, a connection costs two times six bytes and what stays
// empty, and to insert or remove a tuple costs its bucket alone.
//
// A bucket has ten entries. What finds its own bucket (home) full goes into the next one with room;
// every bucket that it passed counts it (`passed`), and a look-up goes on to the next bucket only
// where that isn't 0. There are ten places for seven tuples of the capacity, so an insert never
// fails while there are fewer.
//
// Remote entries have no connection here; their tuples are kept beside the buckets, in memory that
// is touched only where there are any.
//
// Threads: one. Nothing is allocated after construction.
// Invariants: a tuple is in the first bucket from its home that had room when it came, and in one
// alone; a local entry's connection has its `ends` (Connection::KeepEnds) and tuples as they were
// when it was inserted.
#pragma once

#include "ctrack/pool.h"
#include "ctrack/table.h"
#include "dataplane/net/flow_hash.h"
#include "dataplane/net/zeroed_memory.h"

namespace postern::ctrack {

class FlowTable final : public ConnectionTable {
 public:
  // Room for `capacity` tuples, those of connections of `pool` and remote ones. `memory`:
  // BytesFor(capacity) bytes of zeros, aligned to 64, that outlive the table; null: it reserves
  // them itself. Throws std::bad_alloc.
  FlowTable(uint32_t capacity, const net::FlowHasher& hasher, const ConnectionPool& pool,
            void* memory = nullptr);
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;
  static size_t BytesFor(uint32_t capacity) { return BucketsFor(capacity) * sizeof(Bucket); }

  uint32_t Hash(const Tuple& tuple) const override { return hasher_.Hash(tuple); }
  void HashBurst(std::span<const Tuple> tuples, std::span<uint32_t> hashes) const override {
    hasher_.HashBurst(tuples, hashes);
  }
  void HashBurst(std::span<const net::Ipv4Key> keys, std::span<uint32_t> hashes) const override {
    hasher_.HashBurst(keys, hashes);
  }
  using ConnectionTable::Lookup;
  TableValue Lookup(const Tuple& tuple, uint32_t hash) const override;
  void LookupBurst(std::span<const Tuple> tuples, std::span<const uint32_t> hashes,
                   std::span<TableValue> values) const override;
  void ExpectBurst(std::span<const net::Ipv4Key> keys, std::span<const uint32_t> hashes,
                   std::span<uint32_t> candidates) const override;
  void ResolveBurst(std::span<const net::Ipv4Key> keys, std::span<const uint32_t> hashes,
                    std::span<const uint32_t> candidates,
                    std::span<TableValue> values) const override;
  void Prefetch(std::span<const uint32_t> hashes) const override {
    for (const uint32_t hash : hashes) Prefetch(hash);
  }
  bool MayHold(uint32_t hash) const override;
  bool Insert(const Tuple& tuple, uint32_t hash, TableValue value) override;
  bool Erase(const Tuple& tuple, uint32_t hash) override;
  bool EraseLocal(const Connection* connection, Direction direction, uint32_t hash) override;
  size_t size() const override { return size_; }

 private:
  static constexpr unsigned kEntries = 10;
  // A reference: a connection's slot and the direction in bit 0, or with this bit the place of a
  // remote entry.
  static constexpr uint32_t kRemote = 1U << 31;
  static constexpr uint32_t kNone = UINT32_MAX;
  // A candidate: a reference, or one of these.
  static constexpr uint32_t kElsewhere = UINT32_MAX - 1;  // not in its home bucket, if at all
  static_assert(kNobody == kNone);
  struct alignas(64) Bucket {
    uint16_t tags[kEntries];
    uint16_t used;    // by bit
    uint16_t passed;  // tuples that are in a later bucket; stays at its most once it is there
    uint32_t references[kEntries];
  };
  static_assert(sizeof(Bucket) == 64);
  struct RemoteSlot {
    Tuple tuple;
    uint32_t worker;
    uint32_t next_free;
  };
  // Where an entry is.
  struct Place {
    uint32_t bucket = kNone;
    unsigned entry = 0;
  };

  static uint32_t BucketsFor(uint32_t capacity) { return capacity / 7 + 1; }
  static uint16_t TagOf(uint32_t hash) { return static_cast<uint16_t>(hash); }
  uint32_t HomeOf(uint32_t hash) const {
    return static_cast<uint32_t>(uint64_t{hash} * bucket_count_ >> 32);
  }
  void Prefetch(uint32_t hash) const { __builtin_prefetch(&buckets_[HomeOf(hash)], 1); }
  uint32_t After(uint32_t bucket) const { return bucket + 1 == bucket_count_ ? 0 : bucket + 1; }
  static uint32_t Matches(const Bucket& bucket, uint16_t tag);

  const Connection& At(uint32_t reference) const { return slots_[reference >> 1]; }
  bool Is(uint32_t reference, const Tuple& tuple) const;
  bool Is(uint32_t reference, const net::Ipv4Key& key) const;
  TableValue ValueOf(uint32_t reference) const;
  // kNone in .bucket: not there. Key: Tuple or Ipv4Key.
  template <typename Key>
  Place Find(const Key& key, uint32_t hash) const;
  // Of a look-up in two steps.
  template <typename Key>
  uint32_t Expect(const Key& key, uint32_t hash) const;
  template <typename Key>
  TableValue Resolve(const Key& key, uint32_t hash, uint32_t candidate) const;
  void Remove(const Place& place, uint32_t hash);
  uint32_t AddRemote(const Tuple& tuple, unsigned worker);

  // Immutable after construction.
  const net::FlowHasher hasher_;
  Connection* const slots_;
  const uint32_t capacity_;
  const uint32_t bucket_count_;
  const net::ZeroedMemory own_memory_;  // empty when the memory is the caller's
  Bucket* const buckets_;
  const net::ZeroedMemory remote_memory_;
  RemoteSlot* const remote_;

  size_t size_ = 0;
  uint32_t remote_used_ = 0;  // slots that were ever used
  uint32_t remote_free_ = kNone;
};

}  // namespace postern::ctrack

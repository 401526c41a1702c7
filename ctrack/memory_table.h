// A ConnectionTable in ordinary memory: open addressing with linear probing.
//
// For replay and tests; a worker's table is rte_hash. Life-cycle: room for twice
// the capacity is reserved at construction and never grows. Threads: one.
// Invariants: between a tuple's home slot (its hash) and where it lies no slot is empty; a
// removal closes the gap by moving later entries back, so there are no tombstones.
#pragma once

#include <array>
#include <cstdlib>
#include <memory>

#include "ctrack/table.h"
#include "dataplane/net/flow_hash.h"

namespace postern::ctrack {

class MemoryTable final : public ConnectionTable {
 public:
  // Room for `capacity` tuples, two for each connection. Throws std::bad_alloc.
  MemoryTable(size_t capacity, const std::array<uint8_t, 16>& hash_key);

  uint32_t Hash(const Tuple& tuple) const override { return hasher_.Hash(tuple); }
  void HashBurst(std::span<const Tuple> tuples, std::span<uint32_t> hashes) const override {
    hasher_.HashBurst(tuples, hashes);
  }
  using ConnectionTable::Lookup;
  TableValue Lookup(const Tuple& tuple, uint32_t hash) const override;
  void LookupBurst(std::span<const Tuple> tuples, std::span<const uint32_t> hashes,
                   std::span<TableValue> values) const override;
  void LookupBurst(std::span<const net::Ipv4Key> keys, std::span<TableValue> values) const override;
  bool Insert(const Tuple& tuple, uint32_t hash, TableValue value) override;
  bool Erase(const Tuple& tuple, uint32_t hash) override;
  size_t size() const override { return size_; }

 private:
  struct Slot {
    Tuple tuple;
    uint32_t hash;
    TableValue value;  // empty: the slot is free
  };
  struct FreeMemory {
    void operator()(void* memory) const { std::free(memory); }
  };

  // Where the tuple lies, or the free slot that ends its probe sequence.
  size_t Find(const Tuple& tuple, uint32_t hash) const;

  net::FlowHasher hasher_;
  size_t capacity_;
  size_t mask_;
  std::unique_ptr<Slot[], FreeMemory> slots_;
  size_t size_ = 0;
};

}  // namespace postern::ctrack

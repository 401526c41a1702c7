// Slab of connections of one worker: allocation and freeing in constant time, iteration by slot.
//
// Life-cycle: all memory is reserved at construction and touched only when a slot is first used, so
// that a worker neither asks the heap nor moves a connection. A freed slot is the next one to be
// given out. A connection's Extension lies at the same slot of a second slab.
// Threads: one.
// Invariants: slots at high_water() and above were never used; used() slots are marked kInUse.
#pragma once

#include <cstdint>

#include "ctrack/connection.h"
#include "ctrack/extension.h"
#include "dataplane/net/zeroed_memory.h"

namespace postern::ctrack {

class ConnectionPool {
 public:
  // Room for `capacity` connections, given as memory of BytesFor(capacity) bytes, aligned to 64,
  // that is used from its beginning on; null: the pool reserves it itself. Throws std::bad_alloc.
  // `capacity` should
  // exceed what nf_conntrack_max allows this worker by what one burst can destroy, because
  // destroyed connections go back only at Tracker::Reap.
  explicit ConnectionPool(uint32_t capacity, void* memory = nullptr);
  static constexpr size_t BytesFor(uint32_t capacity) {
    return capacity * (sizeof(Connection) + sizeof(uint32_t));
  }
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  // A connection in its initial state with pool_index set, or null when full.
  Connection* Allocate();
  // Frees the connection's Extension, too. Doesn't touch the connection, which may be long out of
  // the caches.
  void Free(Connection* connection);

  // The connection's Extension in its initial state; the one that it has if it has one. Never
  // null: there is one for every slot.
  Extension* AllocateExtension(Connection* connection);

  uint32_t capacity() const { return capacity_; }
  uint32_t used() const { return used_; }
  // Slots below this may be in use.
  uint32_t high_water() const { return high_water_; }
  // The first line of a slot, used or not; no effect beyond the pool.
  void Prefetch(uint32_t slot) const {
    if (slot < capacity_) __builtin_prefetch(slots_ + slot);
  }
  // The slots that the next `count` calls of Allocate() will give, for writing.
  void PrefetchNext(unsigned count) const;
  // Where slot 0 is.
  Connection* slots() const { return slots_; }
  // The slot of one of the pool's connections, which isn't read.
  uint32_t SlotOf(const Connection* connection) const {
    return static_cast<uint32_t>(connection - slots_);
  }
  // The connection in a slot, or null when the slot is free.
  Connection* At(uint32_t slot) {
    return slot < high_water_ && next_free_[slot] == kInUse ? slots_ + slot : nullptr;
  }

 private:
  static constexpr uint32_t kEnd = UINT32_MAX;
  static constexpr uint32_t kInUse = UINT32_MAX - 1;

  // Immutable after construction.
  uint32_t capacity_;
  net::ZeroedMemory own_slots_;  // empty when the memory is the caller's
  net::ZeroedMemory own_extensions_;
  Connection* slots_;
  Extension* extensions_;

  uint32_t used_ = 0;
  uint32_t high_water_ = 0;
  uint32_t free_head_ = kEnd;
  uint32_t* next_free_;  // by slot: the next free one, kEnd or kInUse
};

}  // namespace postern::ctrack

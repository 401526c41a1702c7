// Slab of connections of one worker: allocation and freeing in constant time, iteration by slot.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ctrack/connection.h"

namespace postern::ctrack {

// Memory comes in chunks that are reserved up front (never touched before
// used) so that a worker neither allocates nor moves connections. One thread.
class ConnectionPool {
 public:
  // Room for `capacity` connections, given as memory of capacity * sizeof(Connection) bytes,
  // aligned to 64; null: the pool reserves it itself with mmap.
  explicit ConnectionPool(uint32_t capacity, void* memory = nullptr);
  ~ConnectionPool();
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  // A connection in its initial state with pool_index set, or null when full.
  Connection* Allocate();
  void Free(Connection* connection);

  uint32_t capacity() const { return capacity_; }
  uint32_t used() const { return used_; }
  // Slots below this may be in use.
  uint32_t high_water() const { return high_water_; }
  // The connection in a slot, or null when the slot is free.
  Connection* At(uint32_t slot);

 private:
  uint32_t capacity_;
  uint32_t used_ = 0;
  uint32_t high_water_ = 0;
  uint32_t free_head_ = UINT32_MAX;
  Connection* slots_ = nullptr;
  size_t mapped_bytes_ = 0;
  std::vector<uint32_t> next_free_;  // by slot; kInUse marks a used one
};

}  // namespace postern::ctrack

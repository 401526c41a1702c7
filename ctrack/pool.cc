#include "ctrack/pool.h"

#include <cassert>
#include <new>
#include <type_traits>

namespace postern::ctrack {

// Slots are given up without ceremony.
static_assert(std::is_trivially_destructible_v<Connection>);
static_assert(std::is_trivially_destructible_v<Extension>);

ConnectionPool::ConnectionPool(uint32_t capacity, void* memory)
    : capacity_(capacity),
      own_slots_(memory == nullptr ? net::ZeroedMemory(BytesFor(capacity)) : net::ZeroedMemory()),
      own_extensions_(capacity * sizeof(Extension)),
      slots_(static_cast<Connection*>(memory == nullptr ? own_slots_.get() : memory)),
      extensions_(static_cast<Extension*>(own_extensions_.get())),
      next_free_(reinterpret_cast<uint32_t*>(slots_ + capacity)) {
  assert(capacity < kInUse);
}

Connection* ConnectionPool::Allocate() {
  uint32_t slot = free_head_;
  if (slot != kEnd) {
    free_head_ = next_free_[slot];
  } else if (high_water_ < capacity_) {
    slot = high_water_++;
  } else {
    return nullptr;
  }
  next_free_[slot] = kInUse;
  ++used_;
  auto* connection = new (slots_ + slot) Connection();
  connection->pool_index = slot;
  return connection;
}

void ConnectionPool::PrefetchNext(unsigned count) const {
  constexpr size_t kLine = 64;
  uint32_t free = free_head_;
  for (uint32_t fresh = high_water_; count > 0; --count) {
    const uint32_t slot = free != kEnd ? free : fresh++;
    if (slot >= capacity_) return;
    if (free != kEnd) free = next_free_[slot];
    const auto* bytes = reinterpret_cast<const char*>(slots_ + slot);
    for (size_t at = 0; at < sizeof(Connection); at += kLine) __builtin_prefetch(bytes + at, 1);
  }
}

void ConnectionPool::Free(Connection* connection) {
  const uint32_t slot = SlotOf(connection);
  assert(At(slot) == connection);
  next_free_[slot] = free_head_;
  free_head_ = slot;
  --used_;
}

Extension* ConnectionPool::AllocateExtension(Connection* connection) {
  if (connection->extension == nullptr) {
    connection->extension = new (extensions_ + connection->pool_index) Extension();
  }
  return connection->extension;
}

}  // namespace postern::ctrack

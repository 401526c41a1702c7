#include "ctrack/memory_table.h"

#include <bit>
#include <new>

namespace postern::ctrack {

MemoryTable::MemoryTable(size_t capacity, const std::array<uint8_t, 16>& hash_key)
    : hasher_(hash_key),
      capacity_(capacity),
      mask_(std::bit_ceil(capacity * 2 + 2) - 1),
      // Zeroed pages come when they are first touched; an all-zero slot is a free one.
      slots_(static_cast<Slot*>(std::calloc(mask_ + 1, sizeof(Slot)))) {
  if (slots_ == nullptr) throw std::bad_alloc();
}

size_t MemoryTable::Find(const Tuple& tuple, uint32_t hash) const {
  size_t at = hash & mask_;
  while (!slots_[at].value.empty() && !(slots_[at].hash == hash && slots_[at].tuple == tuple)) {
    at = (at + 1) & mask_;
  }
  return at;
}

TableValue MemoryTable::Lookup(const Tuple& tuple, uint32_t hash) const {
  return slots_[Find(tuple, hash)].value;
}

void MemoryTable::LookupBurst(std::span<const Tuple> tuples, std::span<const uint32_t> hashes,
                              std::span<TableValue> values) const {
  for (const uint32_t hash : hashes) __builtin_prefetch(&slots_[hash & mask_]);
  for (size_t i = 0; i < tuples.size(); ++i) values[i] = Lookup(tuples[i], hashes[i]);
}

void MemoryTable::LookupBurst(std::span<const net::Ipv4Key> keys,
                              std::span<TableValue> values) const {
  for (size_t i = 0; i < keys.size(); ++i)
    values[i] = Lookup(keys[i].ToTuple(), Hash(keys[i].ToTuple()));
}

bool MemoryTable::Insert(const Tuple& tuple, uint32_t hash, TableValue value) {
  const size_t at = Find(tuple, hash);
  if (!slots_[at].value.empty() || size_ == capacity_) return false;
  slots_[at] = Slot{tuple, hash, value};
  ++size_;
  return true;
}

bool MemoryTable::Erase(const Tuple& tuple, uint32_t hash) {
  size_t gap = Find(tuple, hash);
  if (slots_[gap].value.empty()) return false;
  for (size_t at = (gap + 1) & mask_; !slots_[at].value.empty(); at = (at + 1) & mask_) {
    // An entry may fill the gap if the gap isn't before its home slot.
    const size_t home = slots_[at].hash & mask_;
    if (((at - home) & mask_) >= ((at - gap) & mask_)) {
      slots_[gap] = slots_[at];
      gap = at;
    }
  }
  slots_[gap] = Slot{};
  --size_;
  return true;
}

}  // namespace postern::ctrack

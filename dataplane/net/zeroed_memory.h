// Memory of zeros for large tables whose owner wasn't given any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace postern::net {

// Aligned to a cache line. The allocator maps large blocks, so the pages come when they are first
// touched.
class ZeroedMemory {
 public:
  ZeroedMemory() = default;  // none: get() is null
  // Throws std::bad_alloc.
  explicit ZeroedMemory(size_t bytes) : block_(std::calloc(bytes + kAlignment, 1)) {
    if (block_ == nullptr) throw std::bad_alloc();
  }
  void* get() const {
    const auto address = reinterpret_cast<uintptr_t>(block_.get());
    return reinterpret_cast<void*>((address + kAlignment - 1) & ~uintptr_t{kAlignment - 1});
  }

 private:
  static constexpr size_t kAlignment = 64;
  struct Free {
    void operator()(void* block) const { std::free(block); }
  };
  std::unique_ptr<void, Free> block_;
};

}  // namespace postern::net

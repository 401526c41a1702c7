// Large pages for the EAL's ordinary memory.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace postern::dpdk {

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};
// Ordinary memory that isn't touched yet, in large pages where Linux has them. Null where there is
// none.
std::unique_ptr<void, FreeMemory> ReserveLargePages(size_t bytes);

// Without hugepages DPDK takes shared memory, which Linux gives in pages of 4 KB: every bucket, key
// and buffer that a packet touches costs a walk through the page tables. Puts anonymous memory in
// its place, with what has been written so far, for which Linux may use large pages
// (transparent_hugepage, asked for by madvise). To be called directly after rte_eal_init, before
// any device is there and while only the caller uses DPDK's memory. Nothing that wants the
// memory's file descriptor works afterwards (virtio-user, secondary processes). Where something
// fails all stays as it was.
void UseLargePages();

}  // namespace postern::dpdk

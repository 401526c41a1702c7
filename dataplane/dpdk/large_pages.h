// Large pages for the EAL's ordinary memory.
#pragma once

#include <cstddef>
#include <memory>

namespace postern::dpdk {

struct UnmapMemory {
  size_t bytes = 0;
  void operator()(void* memory) const;
};
using LargePages = std::unique_ptr<void, UnmapMemory>;
// Ordinary memory of zeros, in large pages where Linux has them. The first `touched` bytes have
// been given their pages already: to clear a large page takes Linux some 300 µs, which a worker
// would be away from its ports for. Null where there is no memory.
LargePages ReserveLargePages(size_t bytes, size_t touched);

// Without hugepages DPDK takes shared memory, which Linux gives in pages of 4 KB: every bucket, key
// and buffer that a packet touches costs a walk through the page tables. Puts anonymous memory in
// its place, with what has been written so far, for which Linux may use large pages
// (transparent_hugepage, asked for by madvise). To be called directly after rte_eal_init, before
// any device is there and while only the caller uses DPDK's memory. Nothing that wants the
// memory's file descriptor works afterwards (virtio-user, secondary processes). Where something
// fails all stays as it was.
void UseLargePages();

}  // namespace postern::dpdk

#include "dataplane/dpdk/large_pages.h"

#include <rte_memory.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace postern::dpdk {
namespace {

struct SavedPage {
  uint8_t* at;
  std::vector<uint8_t> bytes;
};

// The pages that were ever touched; a hole would be filled by looking at it.
std::vector<SavedPage> SaveTouched(uint8_t* base, size_t length, size_t page) {
  std::vector<unsigned char> there(length / page);
  if (mincore(base, length, there.data()) != 0) return {};
  std::vector<SavedPage> saved;
  for (size_t i = 0; i < there.size(); ++i) {
    uint8_t* at = base + i * page;
    if ((there[i] & 1) != 0) saved.push_back({at, {at, at + page}});
  }
  return saved;
}

int Replace(const rte_memseg_list* list, void*) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (list->external != 0 || list->page_sz != page) return 0;
  auto* base = static_cast<uint8_t*>(list->base_va);
  const std::vector<SavedPage> saved = SaveTouched(base, list->len, page);
  if (saved.empty()) return 0;
  void* memory = mmap(base, list->len, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return 0;
  madvise(base, list->len, MADV_HUGEPAGE);
  for (const SavedPage& one : saved) std::memcpy(one.at, one.bytes.data(), page);
  return 0;
}

}  // namespace

void UnmapMemory::operator()(void* memory) const { munmap(memory, bytes); }

LargePages ReserveLargePages(size_t bytes, size_t touched) {
  constexpr size_t kLargePage = size_t{2} << 20;
  const size_t rounded = (bytes / kLargePage + 1) * kLargePage;
  // Linux gives large mappings an address that large pages fit.
  void* memory = mmap(nullptr, rounded, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  // Wishes, no more.
  madvise(memory, rounded, MADV_HUGEPAGE);
  madvise(memory, std::min((touched / kLargePage + 1) * kLargePage, rounded), MADV_POPULATE_WRITE);
  return LargePages(memory, UnmapMemory{rounded});
}

void UseLargePages() { rte_memseg_list_walk(Replace, nullptr); }

}  // namespace postern::dpdk

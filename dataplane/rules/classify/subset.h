// Sets of a chain's rules, by position in the chain (0: the first rule).
//
// A set of few rules is an ascending list, one of many a bitmap over the whole chain, cut into
// blocks of a cache line. What is longer as a list than as a bitmap is a bitmap, so a store never
// takes more than four bytes for each position that was put into it.
//
// A store is filled once and then read by every worker; a SubsetView points into it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace postern::rules {

// Rules of a chain that are looked at together: a cache line of bits.
inline constexpr uint32_t kWordRules = 64;
inline constexpr uint32_t kBlockWords = 8;
inline constexpr uint32_t kBlockRules = kWordRules * kBlockWords;

struct alignas(64) RuleBlock {
  std::array<uint64_t, kBlockWords> words;
};

struct Subset {
  static constexpr uint32_t kBitmap = UINT32_MAX;
  uint32_t offset = 0;  // of the list or the bitmap in its store
  uint32_t count = 0;   // of positions in the list; kBitmap
  bool empty() const { return count == 0; }
};

// Either a bitmap (`blocks`), or the list [at, end).
struct SubsetView {
  const uint32_t* at;
  const uint32_t* end;
  const RuleBlock* blocks;
};

class SubsetStore {
 public:
  explicit SubsetStore(uint32_t rules) : rules_(rules) {}

  // `positions` ascend, each below rules().
  Subset Add(std::span<const uint32_t> positions);

  uint32_t rules() const { return rules_; }
  uint32_t blocks() const { return (rules_ + kBlockRules - 1) / kBlockRules; }
  SubsetView View(const Subset& subset) const {
    if (subset.count == Subset::kBitmap) return {nullptr, nullptr, bitmaps_.data() + subset.offset};
    const uint32_t* first = lists_.data() + subset.offset;
    return {first, first + subset.count, nullptr};
  }
  size_t bytes() const {
    return lists_.capacity() * sizeof(uint32_t) + bitmaps_.capacity() * sizeof(RuleBlock);
  }

 private:
  uint32_t rules_;
  std::vector<uint32_t> lists_;
  std::vector<RuleBlock> bitmaps_;
};

}  // namespace postern::rules

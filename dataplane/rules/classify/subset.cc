#include "dataplane/rules/classify/subset.h"

namespace postern::rules {

Subset SubsetStore::Add(std::span<const uint32_t> positions) {
  if (positions.size() * sizeof(uint32_t) < blocks() * sizeof(RuleBlock)) {
    const Subset list{static_cast<uint32_t>(lists_.size()),
                      static_cast<uint32_t>(positions.size())};
    lists_.insert(lists_.end(), positions.begin(), positions.end());
    return list;
  }
  const Subset bitmap{static_cast<uint32_t>(bitmaps_.size()), Subset::kBitmap};
  bitmaps_.resize(bitmaps_.size() + blocks());
  RuleBlock* blocks = bitmaps_.data() + bitmap.offset;
  for (const uint32_t position : positions) {
    blocks[position / kBlockRules].words[position % kBlockRules / kWordRules] |=
        uint64_t{1} << (position % kWordRules);
  }
  return bitmap;
}

}  // namespace postern::rules

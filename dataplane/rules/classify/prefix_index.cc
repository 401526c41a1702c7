#include "dataplane/rules/classify/prefix_index.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

namespace postern::rules {

namespace {

constexpr unsigned kMaxPrefix = 128;

}  // namespace

// The lengths that most rules have, longest first.
void PrefixIndex::ChooseLengths(std::span<const PrefixBound> bounds, Family family, uint64_t seed) {
  std::array<std::pair<uint32_t, uint8_t>, kMaxPrefix> uses{};  // rules and length
  for (unsigned i = 0; i < kMaxPrefix; ++i) uses[i].second = static_cast<uint8_t>(i + 1);
  for (const PrefixBound& bound : bounds) {
    if (bound.length != 0) ++uses[bound.length - 1].first;
  }
  std::ranges::sort(uses, std::greater());
  for (size_t i = 0; i < kMaxLengths && uses[i].first != 0; ++i) {
    const uint8_t length = uses[i].second;
    lengths_.push_back({net::PrefixMask(family, length).Words(),
                        seed ^ (uint64_t{length} * 0xd6e8feb86659fd93U), length});
  }
  std::ranges::sort(lengths_, std::greater(), &Length::length);
}

void PrefixIndex::Build(std::span<const PrefixBound> bounds, Family family, uint64_t seed,
                        SubsetStore* store) {
  ChooseLengths(bounds, family, seed);
  std::vector<uint32_t> any;
  std::vector<std::pair<uint32_t, uint32_t>> filed;  // hash and position
  filed.reserve(bounds.size());
  for (uint32_t position = 0; position < bounds.size(); ++position) {
    const PrefixBound& bound = bounds[position];
    const auto length =
        std::ranges::find_if(lengths_, [&](const Length& l) { return l.length <= bound.length; });
    if (length == lengths_.end()) {
      any.push_back(position);
    } else {
      filed.emplace_back(HashOf(bound.address.Words(), *length), position);
    }
  }
  any_ = store->Add(any);
  std::ranges::sort(filed);
  slots_.resize(std::bit_ceil(2 * filed.size() + 1));
  slot_mask_ = static_cast<uint32_t>(slots_.size() - 1);
  std::vector<uint32_t> positions;
  for (auto at = filed.begin(); at != filed.end();) {
    const uint32_t hash = at->first;
    positions.clear();
    for (; at != filed.end() && at->first == hash; ++at) positions.push_back(at->second);
    uint32_t slot = hash & slot_mask_;
    while (!slots_[slot].rules.empty()) slot = (slot + 1) & slot_mask_;
    slots_[slot] = {hash, store->Add(positions)};
  }
}

}  // namespace postern::rules

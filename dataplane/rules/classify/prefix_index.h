// Which rules can match an address: one dimension of a chain's index.
//
// For each prefix length that rules have there is one look-up of the address' prefix in a hash
// table. The table keeps no addresses, only 32 bits of hash: rules whose prefixes share them
// share a set, which costs a vain look at a rule once in millions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/rules/classify/bounds.h"
#include "dataplane/rules/classify/subset.h"

namespace postern::rules {

class PrefixIndex {
 public:
  // Lengths that are looked up. Where rules have more, the rarer ones are filed under the next
  // shorter one.
  static constexpr size_t kMaxLengths = 8;
  // Sets that Find() may give.
  static constexpr size_t kMaxSets = kMaxLengths + 1;

  // `bounds` by position; their number is store->rules().
  void Build(std::span<const PrefixBound> bounds, Family family, uint64_t seed, SubsetStore* store);

  // Appends the sets whose union holds every rule that can match; returns the end.
  SubsetView* Find(const AddressWords& address, const SubsetStore& store, SubsetView* out) const {
    *out++ = store.View(any_);
    for (const Length& length : lengths_) {
      const Slot* slot = At(HashOf(address, length));
      if (slot != nullptr) *out++ = store.View(slot->rules);
    }
    return out;
  }
  size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  struct Length {
    AddressWords mask{};
    uint64_t seed = 0;
    uint8_t length = 0;
  };
  struct Slot {
    uint32_t hash = 0;
    Subset rules;  // empty: nobody's
  };

  static uint32_t HashOf(const AddressWords& address, const Length& length) {
    uint64_t hash = ((address[0] & length.mask[0]) ^ length.seed) * 0x9e3779b97f4a7c15U;
    hash = (hash ^ (hash >> 29) ^ (address[1] & length.mask[1])) * 0xbf58476d1ce4e5b9U;
    return static_cast<uint32_t>(hash >> 32);
  }
  const Slot* At(uint32_t hash) const {
    for (uint32_t at = hash & slot_mask_;; at = (at + 1) & slot_mask_) {
      const Slot& slot = slots_[at];
      if (slot.rules.empty()) return nullptr;
      if (slot.hash == hash) return &slot;
    }
  }
  void ChooseLengths(std::span<const PrefixBound> bounds, Family family, uint64_t seed);

  Subset any_;
  std::vector<Length> lengths_;
  // At most half full, so that a search ends.
  std::vector<Slot> slots_;
  uint32_t slot_mask_ = 0;
};

}  // namespace postern::rules

// Which rules can match one of a few values (a protocol, an interface, a state): one dimension of a
// chain's index. One set for each value that is told from the others.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/rules/classify/bounds.h"
#include "dataplane/rules/classify/subset.h"

namespace postern::rules {

class ValueIndex {
 public:
  // `bounds` by position; their number is store->rules().
  void Build(std::span<const ValueSet> bounds, SubsetStore* store);

  SubsetView* Find(uint8_t value, const SubsetStore& store, SubsetView* out) const {
    *out++ = store.View(sets_[set_of_[value]]);
    return out;
  }

 private:
  std::array<uint8_t, 256> set_of_{};
  std::vector<Subset> sets_;
};

}  // namespace postern::rules

// Which rules can match a port: one dimension of a chain's index.
//
// The ends of all ranges cut the ports into intervals, each with the set of rules whose ranges
// cover it. A port finds its interval by its high byte and a short binary search. Wide
// ranges that overlap many others would make the sets large together: beyond a limit they count
// as any port, the widest first.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/rules/classify/bounds.h"
#include "dataplane/rules/classify/subset.h"

namespace postern::rules {

class PortIndex {
 public:
  static constexpr size_t kMaxSets = 2;

  // `bounds` by position; their number is store->rules().
  void Build(std::span<const PortBounds> bounds, SubsetStore* store);

  // Appends the sets whose union holds every rule that can match; returns the end.
  SubsetView* Find(uint16_t port, const SubsetStore& store, SubsetView* out) const;
  // The same for a packet that ends before its ports or is a later fragment.
  SubsetView* FindCut(const SubsetStore& store, SubsetView* out) const {
    *out++ = store.View(cut_);
    return out;
  }
  size_t bytes() const {
    return starts_.capacity() * sizeof(uint16_t) + intervals_.capacity() * sizeof(Subset);
  }

 private:
  class Builder;

  Subset any_;
  Subset cut_;
  std::vector<uint16_t> starts_;  // ascending, beginning with 0; by interval
  std::vector<Subset> intervals_;
  // By high byte: the first interval that starts there or later.
  std::array<uint32_t, 257> by_high_byte_{};
};

}  // namespace postern::rules

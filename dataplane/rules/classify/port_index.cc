#include "dataplane/rules/classify/port_index.h"

#include <algorithm>
#include <numeric>

namespace postern::rules {

namespace {

// Memberships in intervals that a rule may have on the average, before wide ones are given up.
constexpr size_t kCellsEach = 32;
constexpr size_t kFreeCells = 4096;

}  // namespace

class PortIndex::Builder {
 public:
  Builder(std::span<const PortBounds> bounds, PortIndex* index)
      : bounds_(bounds), index_(*index), given_up_(bounds.size()) {}

  void Run(SubsetStore* store) {
    Cut();
    GiveUpWidest();
    Fill(store);
    std::vector<uint32_t> any;
    std::vector<uint32_t> cut;
    for (uint32_t position = 0; position < bounds_.size(); ++position) {
      const bool bound = !bounds_[position].ranges.empty();
      if (!bound || given_up_[position]) any.push_back(position);
      if (!bound || bounds_[position].needs_cut_packets) cut.push_back(position);
    }
    index_.any_ = store->Add(any);
    index_.cut_ = store->Add(cut);
  }

 private:
  // Intervals [first, end) of a range.
  struct Stretch {
    uint32_t first;
    uint32_t end;
  };

  void Cut() {
    std::vector<uint16_t>& starts = index_.starts_;
    starts.push_back(0);
    for (const PortBounds& bound : bounds_) {
      for (const PortRange& range : bound.ranges) {
        starts.push_back(range.first);
        if (range.last != UINT16_MAX) starts.push_back(static_cast<uint16_t>(range.last + 1));
      }
    }
    std::ranges::sort(starts);
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
    for (uint32_t byte = 0; byte <= 256; ++byte) {
      index_.by_high_byte_[byte] = static_cast<uint32_t>(
          std::ranges::lower_bound(starts, byte << 8, {}, [](uint16_t s) { return uint32_t{s}; }) -
          starts.begin());
    }
  }

  Stretch StretchOf(const PortRange& range) const {
    const std::vector<uint16_t>& starts = index_.starts_;
    const auto first = std::ranges::lower_bound(starts, range.first);
    const auto end = std::upper_bound(first, starts.end(), range.last);
    return {static_cast<uint32_t>(first - starts.begin()),
            static_cast<uint32_t>(end - starts.begin())};
  }

  void GiveUpWidest() {
    std::vector<size_t> cells(bounds_.size());
    for (size_t position = 0; position < bounds_.size(); ++position) {
      for (const PortRange& range : bounds_[position].ranges) {
        const Stretch stretch = StretchOf(range);
        cells[position] += stretch.end - stretch.first;
      }
    }
    size_t total = std::accumulate(cells.begin(), cells.end(), size_t{0});
    const size_t most = kCellsEach * bounds_.size() + kFreeCells;
    if (total <= most) return;
    std::vector<uint32_t> order(bounds_.size());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::sort(order, std::greater(), [&](uint32_t position) { return cells[position]; });
    for (auto widest = order.begin(); total > most; ++widest) {
      given_up_[*widest] = true;
      total -= cells[*widest];
    }
  }

  // Lists of all intervals one behind the other, each with the rules in ascending order.
  void Fill(SubsetStore* store) {
    const size_t count = index_.starts_.size();
    std::vector<uint32_t> ends(count + 1);
    ForEachCell([&](uint32_t interval, uint32_t) { ++ends[interval + 1]; });
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    std::vector<uint32_t> lists(ends.back());
    std::vector<uint32_t> filled(ends.begin(), ends.end() - 1);
    ForEachCell([&](uint32_t interval, uint32_t position) {
      // A rule's own ranges may overlap.
      uint32_t& next = filled[interval];
      if (next != ends[interval] && lists[next - 1] == position) return;
      lists[next++] = position;
    });
    index_.intervals_.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      index_.intervals_.push_back(store->Add({lists.data() + ends[i], lists.data() + filled[i]}));
    }
  }

  template <typename Visit>
  void ForEachCell(const Visit& visit) const {
    for (uint32_t position = 0; position < bounds_.size(); ++position) {
      if (given_up_[position]) continue;
      for (const PortRange& range : bounds_[position].ranges) {
        const Stretch stretch = StretchOf(range);
        for (uint32_t i = stretch.first; i < stretch.end; ++i) visit(i, position);
      }
    }
  }

  const std::span<const PortBounds> bounds_;
  PortIndex& index_;
  std::vector<bool> given_up_;  // by position
};

void PortIndex::Build(std::span<const PortBounds> bounds, SubsetStore* store) {
  Builder(bounds, this).Run(store);
}

SubsetView* PortIndex::Find(uint16_t port, const SubsetStore& store, SubsetView* out) const {
  const uint16_t* starts = starts_.data();
  const uint16_t* above = std::upper_bound(starts + by_high_byte_[port >> 8],
                                           starts + by_high_byte_[(port >> 8) + 1], port);
  *out++ = store.View(any_);
  const Subset& interval = intervals_[static_cast<size_t>(above - starts) - 1];
  if (!interval.empty()) *out++ = store.View(interval);
  return out;
}

}  // namespace postern::rules

// Times in classes of at most 1/16 of their value: counting is an addition, memory is fixed.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace postern::perf {

class Histogram {
 public:
  void Add(uint64_t value) {
    ++counts_[ClassOf(value)];
    ++total_;
    if (value > max_) max_ = value;
  }
  void Clear() { *this = {}; }
  Histogram& operator+=(const Histogram& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
    if (other.max_ > max_) max_ = other.max_;
    return *this;
  }
  uint64_t total() const { return total_; }
  uint64_t max() const { return max_; }
  // The upper end of the class in which the share (0 to 1) of all values ends, and never more
  // than max(); 0 where there are none.
  uint64_t Quantile(double share) const {
    const double wanted = share * static_cast<double>(total_);
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (counts_[i] != 0 && static_cast<double>(seen) >= wanted) {
        return LastOf(i) < max_ ? LastOf(i) : max_;
      }
    }
    return max_;
  }

 private:
  static constexpr unsigned kBits = 4;  // 16 classes a power of two
  static constexpr uint64_t kExact = 1U << kBits;

  static size_t ClassOf(uint64_t value) {
    if (value < kExact) return value;
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kBits;
    return (size_t{shift} << kBits) + (value >> shift);
  }
  static uint64_t LastOf(size_t index) {
    if (index < kExact) return index;
    const size_t shift = (index >> kBits) - 1;
    return (((index & (kExact - 1)) + kExact + 1) << shift) - 1;
  }

  std::array<uint32_t, (64 - kBits + 1) << kBits> counts_{};
  uint64_t total_ = 0;
  uint64_t max_ = 0;
};

}  // namespace postern::perf

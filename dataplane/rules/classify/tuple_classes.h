// Which tuples no rule of a family can tell apart.
//
// Rules compare addresses with prefixes and ports with ranges. Each dimension (source and
// destination address, source and destination port) is cut where such a range begins and where it
// has ended, for all ranges of all tables, inverted or not. Values between two neighbouring cuts
// are one class: whatever reads nothing but addresses and ports says the same of two tuples of the
// same four classes.
//
// Two tuples are read: -s, -d, --sport, --dport and multiport compare the packet's at the hook,
// --ctorig* the original one of its connection. Where these aren't the same (behind DNAT, in
// replies, in RELATED packets) the class of the one says nothing of the other.
//
// Left out is what a walk reports beside kDependsTuple: --ctrepl* (kDependsCtStatus), recent,
// connlimit and limit (kDependsTime). The ports are those of a whole header, of a protocol that
// has some.
//
// Immutable once built; every worker reads it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "dataplane/rules/model.h"

namespace postern::rules {

__extension__ using Uint128 = unsigned __int128;

// The cuts of one dimension.
template <typename Value>
class Boundaries {
 public:
  // Tells a closed range from what lies around it.
  void AddRange(Value first, Value last) {
    Add(first);
    Add(static_cast<Value>(last + 1));
  }
  // Once, after the last AddRange(). False: more classes than a uint16_t can number.
  bool Finish() {
    std::sort(cuts_.begin(), cuts_.end());
    cuts_.erase(std::unique(cuts_.begin(), cuts_.end()), cuts_.end());
    cuts_.shrink_to_fit();
    if (cuts_.size() <= kFew) std::copy(cuts_.begin(), cuts_.end(), few_.begin() + Padding());
    return cuts_.size() <= UINT16_MAX;
  }

  // The number of cuts at or below the value.
  uint16_t ClassOf(Value value) const {
    size_t left = cuts_.size();
    if (left == 0) return 0;
    if (left <= kFew) {
      Value below = 0;
      for (const Value cut : few_) below = static_cast<Value>(below + (cut <= value ? 1 : 0));
      return static_cast<uint16_t>(static_cast<size_t>(below) - Padding());
    }
    // The answer is from `at` to `at + left`. Either half is as likely, so a branch would be
    // mispredicted; gcc 12 makes one of a `?:` here, but none of a product.
    const Value* at = cuts_.data();
    while (left > 1) {
      const size_t half = left / 2;
      at += half * static_cast<size_t>(at[half - 1] <= value);
      left -= half;
    }
    at += static_cast<size_t>(*at <= value);
    return static_cast<uint16_t>(at - cuts_.data());
  }

 private:
  // Nothing lies below 0; and behind the highest value there is nothing, where adding 1 gives 0.
  void Add(Value cut) {
    if (cut != 0) cuts_.push_back(cut);
  }

  // So many are compared with at once, which is sooner done than to search.
  static constexpr size_t kFew = 16;
  size_t Padding() const { return kFew - cuts_.size(); }

  std::vector<Value> cuts_;  // ascending, each once
  std::array<Value, kFew>
      few_{};  // the same behind zeros, which every value reaches, if they are few
};

// An address as a number in host order: uint32_t for IPv4, Uint128 for IPv6.
template <typename Number>
Number NumberOf(const IpAddress& address) {
  if constexpr (sizeof(Number) == sizeof(uint32_t)) {
    return address.AsV4();
  } else {
    const uint64_t high = uint64_t{address.Word(0)} << 32 | address.Word(1);
    const uint64_t low = uint64_t{address.Word(2)} << 32 | address.Word(3);
    return Number{high} << 64 | low;
  }
}

class TupleClasses {
 public:
  // The boundaries of a tuple's two ends.
  template <typename Value>
  struct Ends {
    Boundaries<Value> source;
    Boundaries<Value> destination;

    uint32_t ClassesOf(Value from, Value to) const {
      return uint32_t{source.ClassOf(from)} << 16 | destination.ClassOf(to);
    }
  };

  TupleClasses() = default;  // no boundaries: all tuples are of one class
  // O(n log n) with the rules. Control thread.
  static TupleClasses Build(const FamilyModel& model);

  // False: a rule's address mask has holes, so that it compares with no range, or a dimension has
  // more than 65,535 boundaries. Of() then says nothing.
  bool complete() const { return complete_; }
  // Of a tuple of the family that was built for. Ports in host order.
  uint64_t Of(const IpAddress& source, const IpAddress& destination, uint16_t source_port,
              uint16_t destination_port) const {
    const uint64_t addresses =
        family_ == Family::kIpv4
            ? ipv4_.ClassesOf(source.AsV4(), destination.AsV4())
            : ipv6_.ClassesOf(NumberOf<Uint128>(source), NumberOf<Uint128>(destination));
    return addresses << 32 | ports_.ClassesOf(source_port, destination_port);
  }

 private:
  Family family_ = Family::kIpv4;
  bool complete_ = true;
  // Those of the other family are empty.
  Ends<uint32_t> ipv4_;
  Ends<Uint128> ipv6_;
  Ends<uint16_t> ports_;
};

}  // namespace postern::rules

// A longest-prefix-match trie, one a family, four bits a step.
//
// Made once by the control thread and read by workers: a lookup takes at most 8 (IPv4) or 32 (IPv6)
// steps. A prefix that ends within a step fills the slots that it covers, so no step is undone.
#include <algorithm>
#include <array>
#include <vector>

#include "dataplane/route/route_table.h"

namespace postern::route {
namespace {

constexpr unsigned kStride = 4;
constexpr unsigned kSlots = 1U << kStride;

class Trie {
 public:
  Trie() { nodes_.emplace_back(); }

  void Add(const IpAddress& address, unsigned length, uint32_t next_hop) {
    if (length == 0) {
      default_ = next_hop;
      return;
    }
    uint32_t node = 0;
    unsigned depth = 0;
    for (; length - depth > kStride; depth += kStride) {
      const unsigned slot = SlotOf(address, depth);
      if (nodes_[node].child[slot] == 0) {
        nodes_[node].child[slot] = static_cast<uint32_t>(nodes_.size());
        nodes_.emplace_back();
      }
      node = nodes_[node].child[slot];
    }
    const unsigned bits = length - depth;  // 1..4 of this step are fixed
    const unsigned span = 1U << (kStride - bits);
    const unsigned first = SlotOf(address, depth) & ~(span - 1);
    for (unsigned slot = first; slot < first + span; ++slot) {
      Entry& entry = nodes_[node].entry[slot];
      // A longer prefix that ends in the same step stays.
      if (entry.next_hop == Fib::kNone || entry.length <= bits) {
        entry = {next_hop, static_cast<uint8_t>(bits)};
      }
    }
  }

  uint32_t Lookup(const IpAddress& address, unsigned width) const {
    uint32_t best = default_;
    uint32_t node = 0;
    for (unsigned depth = 0; depth < width; depth += kStride) {
      const unsigned slot = SlotOf(address, depth);
      const Entry& entry = nodes_[node].entry[slot];
      if (entry.next_hop != Fib::kNone) best = entry.next_hop;
      node = nodes_[node].child[slot];
      if (node == 0) break;
    }
    return best;
  }

 private:
  struct Entry {
    uint32_t next_hop = Fib::kNone;
    uint8_t length = 0;  // bits of this step that the prefix fixes
  };
  struct Node {
    std::array<uint32_t, kSlots> child{};  // 0: none (the root is nobody's child)
    std::array<Entry, kSlots> entry{};
  };

  static unsigned SlotOf(const IpAddress& address, unsigned depth) {
    const uint8_t byte = address.bytes[depth / 8];
    return depth % 8 == 0 ? byte >> kStride : byte & (kSlots - 1);
  }

  std::vector<Node> nodes_;
  uint32_t default_ = Fib::kNone;
};

class TrieFib final : public Fib {
 public:
  void Add(const Prefix& prefix, uint32_t next_hop) override {
    trie(prefix.family).Add(prefix.address, prefix.length, next_hop);
  }
  uint32_t Lookup(Family family, const IpAddress& address) const override {
    return family == Family::kIpv4 ? ipv4_.Lookup(address, 32) : ipv6_.Lookup(address, 128);
  }

 private:
  Trie& trie(Family family) { return family == Family::kIpv4 ? ipv4_ : ipv6_; }

  Trie ipv4_;
  Trie ipv6_;
};

}  // namespace

std::unique_ptr<Fib> MakeTrieFib() { return std::make_unique<TrieFib>(); }

}  // namespace postern::route

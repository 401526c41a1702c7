// Which rules of a long chain can match a packet.
//
// Overview. A chain's rules are numbered from 0. For each dimension (source and destination
// address, ports, protocol, interfaces, state) the index finds a few sets of rules whose union
// holds every rule that this packet passes in that dimension; what isn't in the union of each
// dimension can't match. The candidates come out in the order of the chain, a block of 512 at a
// time, and the walk evaluates them as it would have without the index. So only time is saved:
// an index may name too many rules and never misses one (bounds.h says why nothing else changes).
//
// Life-cycle. Built by RuleSet::Compile for chains of some dozens of rules or more where a
// dimension tells many of them apart; shared by the rule sets that have the same chain. Threads.
// Immutable once built; every worker reads it. A Candidates belongs to one walk.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "dataplane/rules/classify/bounds.h"
#include "dataplane/rules/classify/port_index.h"
#include "dataplane/rules/classify/prefix_index.h"
#include "dataplane/rules/classify/subset.h"
#include "dataplane/rules/classify/value_index.h"

namespace postern::rules {

// What the dimensions ask of a packet at a hook.
struct ClassifyKey {
  AddressWords source;
  AddressWords destination;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  bool cut = true;  // no ports: a later fragment, or fewer bytes than they take
  uint8_t protocol = 0;
  uint8_t in = kNoInterface;
  uint8_t out = kNoInterface;
  uint8_t state = 0;  // StateValue()

  ClassifyKey(const PacketKey& packet, const WalkContext& context);
};

class ChainIndex {
 public:
  // Null where an index would find little: no dimension tells enough rules apart.
  static std::shared_ptr<const ChainIndex> Build(std::span<const RuleBounds> rules, Family family,
                                                 uint64_t seed);

  size_t bytes() const;

 private:
  friend class Candidates;
  enum Dimension : uint8_t {
    kSource,
    kDestination,
    kDestinationPort,
    kSourcePort,
    kProtocol,
    kIn,
    kOut,
    kState,
    kDimensions,
  };

  explicit ChainIndex(uint32_t rules) : store_(rules) {}
  bool Uses(Dimension dimension) const { return (used_ >> dimension & 1) != 0; }
  bool Choose(std::span<const RuleBounds> rules);

  uint32_t used_ = 0;  // a bit a dimension
  SubsetStore store_;
  PrefixIndex source_;
  PrefixIndex destination_;
  PortIndex source_port_;
  PortIndex destination_port_;
  ValueIndex protocol_;
  ValueIndex in_;
  ValueIndex out_;
  ValueIndex state_;
};

// The candidates of one packet in one chain.
class Candidates {
 public:
  // Selects the sets of `key`. O(dimensions × prefix lengths).
  void Select(const ChainIndex& index, const ClassifyKey& key);
  // Null before the first Select().
  const ChainIndex* index() const { return index_; }

  // The candidates among the 64 rules of a word: `*word` becomes the first word, from itself on,
  // whose block has any; 0 and `*word` behind the chain's end when there is none. Words of
  // one packet needn't be asked in order.
  uint64_t Word(uint32_t* word);

 private:
  static constexpr uint32_t kNoBlock = UINT32_MAX;
  static constexpr size_t kMaxSets =
      2 * PrefixIndex::kMaxSets + 2 * PortIndex::kMaxSets + 4;  // four dimensions of values
  struct Part {
    uint8_t first;  // of sets_
    uint8_t end;
    bool sparse;  // only lists
  };

  void Add(const SubsetView* end);
  bool LoadFrom(uint32_t block);
  uint32_t NextBlock(uint32_t block) const;
  bool Intersect(uint32_t block);

  const ChainIndex* index_ = nullptr;
  uint32_t blocks_ = 0;
  uint32_t block_ = kNoBlock;  // the one in words_
  size_t parts_ = 0;
  // Filled as far as parts_ says.
  std::array<Part, ChainIndex::kDimensions> part_;
  std::array<SubsetView, kMaxSets> sets_;
  RuleBlock words_;
};

}  // namespace postern::rules

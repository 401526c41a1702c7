#include "dataplane/rules/classify/chain_index.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "dataplane/rules/matches/answer.h"
#include "dataplane/rules/matches/conntrack.h"

namespace postern::rules {

namespace {

// A dimension that binds fewer of a chain's rules than this share isn't looked at.
constexpr size_t kLeastShare = 16;

// Every port, and none.
constexpr ValueSet kAllInterfaces = {~uint64_t{0}, 1};
static_assert(kNoInterface == 64);

// One bound of each rule, by position.
template <typename Bound>
std::vector<Bound> Column(std::span<const RuleBounds> rules, Bound RuleBounds::*bound) {
  std::vector<Bound> column;
  column.reserve(rules.size());
  for (const RuleBounds& rule : rules) column.push_back(rule.*bound);
  return column;
}

uint8_t InterfaceOf(net::PortId port) {
  return port > net::kLoopbackPort ? kNoInterface : static_cast<uint8_t>(port);
}

}  // namespace

ClassifyKey::ClassifyKey(const PacketKey& packet, const WalkContext& context)
    : source(packet.source),
      destination(packet.destination),
      protocol(packet.protocol),
      in(InterfaceOf(context.in)),
      out(InterfaceOf(context.out)),
      state(StateValue(CtStateOf(*context.ct))) {
  struct Ports {
    net::Be16 source;
    net::Be16 destination;
  };
  if (packet.later_fragment) return;
  const auto* ports = TransportHeader<Ports>(*context.packet);
  if (ports == nullptr) return;
  source_port = ports->source.Host();
  destination_port = ports->destination.Host();
  cut = false;
}

// The dimensions that tell enough rules apart; false where there is none.
bool ChainIndex::Choose(std::span<const RuleBounds> rules) {
  std::array<size_t, kDimensions> bound{};
  const auto values = [&](Dimension dimension, const ValueSet& set) {
    const bool all = std::ranges::all_of(set, [](uint64_t word) { return word == ~uint64_t{0}; });
    if (!all && set != kAllInterfaces) ++bound[dimension];
  };
  for (const RuleBounds& rule : rules) {
    bound[kSource] += rule.source.length != 0 ? 1 : 0;
    bound[kDestination] += rule.destination.length != 0 ? 1 : 0;
    bound[kSourcePort] += rule.source_port.ranges.empty() ? 0 : 1;
    bound[kDestinationPort] += rule.destination_port.ranges.empty() ? 0 : 1;
    values(kProtocol, rule.protocols);
    values(kIn, rule.in_ports);
    values(kOut, rule.out_ports);
    values(kState, rule.states);
  }
  for (unsigned dimension = 0; dimension < kDimensions; ++dimension) {
    if (bound[dimension] * kLeastShare >= rules.size()) used_ |= 1U << dimension;
  }
  return used_ != 0;
}

std::shared_ptr<const ChainIndex> ChainIndex::Build(std::span<const RuleBounds> rules,
                                                    Family family, uint64_t seed) {
  std::shared_ptr<ChainIndex> index(new ChainIndex(static_cast<uint32_t>(rules.size())));
  if (rules.empty() || !index->Choose(rules)) return nullptr;
  SubsetStore* store = &index->store_;
  const auto prefixes = [&](Dimension dimension, PrefixBound RuleBounds::*bound,
                            PrefixIndex* into) {
    if (index->Uses(dimension)) into->Build(Column(rules, bound), family, seed, store);
  };
  const auto ports = [&](Dimension dimension, PortBounds RuleBounds::*bound, PortIndex* into) {
    if (index->Uses(dimension)) into->Build(Column(rules, bound), store);
  };
  const auto values = [&](Dimension dimension, ValueSet RuleBounds::*bound, ValueIndex* into) {
    if (index->Uses(dimension)) into->Build(Column(rules, bound), store);
  };
  prefixes(kSource, &RuleBounds::source, &index->source_);
  prefixes(kDestination, &RuleBounds::destination, &index->destination_);
  ports(kSourcePort, &RuleBounds::source_port, &index->source_port_);
  ports(kDestinationPort, &RuleBounds::destination_port, &index->destination_port_);
  values(kProtocol, &RuleBounds::protocols, &index->protocol_);
  values(kIn, &RuleBounds::in_ports, &index->in_);
  values(kOut, &RuleBounds::out_ports, &index->out_);
  values(kState, &RuleBounds::states, &index->state_);
  return index;
}

size_t ChainIndex::bytes() const {
  return sizeof(*this) + store_.bytes() + source_.bytes() + destination_.bytes() +
         source_port_.bytes() + destination_port_.bytes();
}

// One more dimension, with the sets up to `end`.
void Candidates::Add(const SubsetView* end) {
  const uint8_t first = parts_ == 0 ? 0 : part_[parts_ - 1].end;
  const auto last = static_cast<uint8_t>(end - sets_.data());
  bool sparse = true;
  for (size_t s = first; s < last; ++s) sparse = sparse && sets_[s].blocks == nullptr;
  part_[parts_++] = {first, last, sparse};
}

void Candidates::Select(const ChainIndex& index, const ClassifyKey& key) {
  const SubsetStore& store = index.store_;
  index_ = &index;
  blocks_ = store.blocks();
  block_ = kNoBlock;
  parts_ = 0;
  SubsetView* end = sets_.data();
  const auto add = [&](SubsetView* next) {
    Add(next);
    end = next;
  };
  using enum ChainIndex::Dimension;
  if (index.Uses(kSource)) add(index.source_.Find(key.source, store, end));
  if (index.Uses(kDestination)) add(index.destination_.Find(key.destination, store, end));
  if (index.Uses(kDestinationPort)) {
    add(key.cut ? index.destination_port_.FindCut(store, end)
                : index.destination_port_.Find(key.destination_port, store, end));
  }
  // Of a packet that is cut between its ports the first may still be read.
  if (index.Uses(kSourcePort) && !key.cut) {
    add(index.source_port_.Find(key.source_port, store, end));
  }
  if (index.Uses(kProtocol)) add(index.protocol_.Find(key.protocol, store, end));
  if (index.Uses(kIn)) add(index.in_.Find(key.in, store, end));
  if (index.Uses(kOut)) add(index.out_.Find(key.out, store, end));
  // A multiport before the state drops a packet without ports.
  if (index.Uses(kState) && !key.cut) add(index.state_.Find(key.state, store, end));
}

// The first block from `block` on in which each dimension of lists has something.
uint32_t Candidates::NextBlock(uint32_t block) const {
  uint32_t next = block;
  for (size_t p = 0; p < parts_; ++p) {
    if (!part_[p].sparse) continue;
    uint32_t nearest = blocks_;
    for (size_t s = part_[p].first; s < part_[p].end; ++s) {
      const uint32_t* at = std::lower_bound(sets_[s].at, sets_[s].end, next * kBlockRules);
      if (at != sets_[s].end) nearest = std::min(nearest, *at / kBlockRules);
    }
    next = std::max(next, nearest);
  }
  return next;
}

bool Candidates::Intersect(uint32_t block) {
  words_.words.fill(~uint64_t{0});
  uint64_t left = ~uint64_t{0};
  for (size_t p = 0; p < parts_ && left != 0; ++p) {
    RuleBlock part{};
    for (size_t s = part_[p].first; s < part_[p].end; ++s) {
      const SubsetView& set = sets_[s];
      if (set.blocks != nullptr) {
        for (size_t w = 0; w < kBlockWords; ++w) part.words[w] |= set.blocks[block].words[w];
        continue;
      }
      const uint32_t* at = std::lower_bound(set.at, set.end, block * kBlockRules);
      for (; at != set.end && *at / kBlockRules == block; ++at) {
        part.words[*at % kBlockRules / kWordRules] |= uint64_t{1} << (*at % kWordRules);
      }
    }
    left = 0;
    for (size_t w = 0; w < kBlockWords; ++w) left |= words_.words[w] &= part.words[w];
  }
  return left != 0;
}

// The first block from `block` on that has a candidate.
bool Candidates::LoadFrom(uint32_t block) {
  while ((block = NextBlock(block)) < blocks_) {
    if (Intersect(block)) {
      block_ = block;
      return true;
    }
    ++block;
  }
  block_ = kNoBlock;
  return false;
}

uint64_t Candidates::Word(uint32_t* word) {
  const uint32_t block = *word / kBlockWords;
  if (block != block_) {
    if (!LoadFrom(block)) {
      *word = blocks_ * kBlockWords;
      return 0;
    }
    if (block_ != block) *word = block_ * kBlockWords;
  }
  return words_.words[*word % kBlockWords];
}

}  // namespace postern::rules

// A walk's steps through chains: from a rule to the next one that has to be looked at.
//
// In a chain without an index that is the next rule; in one with an index the next candidate. A
// jump leaves a Place behind, to which the walk comes back. Candidates are kept for one chain at
// a time: a Place holds those of its word of 64 rules, and when they are used up the chain's are
// selected again, so that coming back is cheap however often it happens.
#pragma once

#include <bit>
#include <cstdint>

#include "dataplane/rules/compiled.h"

namespace postern::rules {

class WalkSteps {
 public:
  // Where a walk stands in a chain; behind the rule `id`.
  struct Place {
    const ChainRange* chain;
    RuleId id;
    uint32_t word;  // of the chain, in 64 rules
    uint64_t left;  // candidates of the word that weren't looked at
  };

  WalkSteps(const PacketKey& packet, const WalkContext& context)
      : packet_(packet), context_(context) {}

  // Before the first rule of a chain.
  void Enter(const ChainRange& chain) {
    place_.chain = &chain;
    place_.id = chain.first - 1;
    if (chain.index == nullptr) return;
    Select();
    place_.word = 0;
    place_.left = candidates_.Word(&place_.word);
  }
  // To the next rule to look at; false at the chain's end.
  bool Advance() {
    if (place_.chain->index != nullptr) return AdvanceToCandidate();
    return ++place_.id < place_.chain->last;
  }
  RuleId id() const { return place_.id; }
  const Place& place() const { return place_; }
  void ReturnTo(const Place& place) { place_ = place; }

 private:
  void Select() { candidates_.Select(*place_.chain->index, ClassifyKey(packet_, context_)); }
  bool AdvanceToCandidate() {
    const ChainRange& chain = *place_.chain;
    const uint32_t rules = chain.last - chain.first;
    while (place_.left == 0) {
      if (++place_.word * kWordRules >= rules) return false;
      if (candidates_.index() != chain.index.get()) Select();
      place_.left = candidates_.Word(&place_.word);
    }
    const uint32_t position =
        place_.word * kWordRules + static_cast<uint32_t>(std::countr_zero(place_.left));
    place_.left &= place_.left - 1;
    place_.id = chain.first + position;
    return position < rules;
  }

  const PacketKey& packet_;
  const WalkContext& context_;
  Place place_;
  Candidates candidates_;
};

}  // namespace postern::rules

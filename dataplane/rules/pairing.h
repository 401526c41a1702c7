// Which rule of an old chain is which of a new one.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/rules/model.h"

namespace postern::rules {

inline constexpr uint32_t kUnpaired = UINT32_MAX;

// For each rule of `next` the index of the same rule (Rule::SameAs) in `previous`, or kUnpaired.
// Equal rules are paired in order. Takes about linear time unless many rules differ in little.
std::vector<uint32_t> PairRules(const std::vector<Rule>& previous, const std::vector<Rule>& next);

}  // namespace postern::rules

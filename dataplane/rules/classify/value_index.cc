#include "dataplane/rules/classify/value_index.h"

#include <map>

namespace postern::rules {

void ValueIndex::Build(std::span<const ValueSet> bounds, SubsetStore* store) {
  // Rules have few different bounds; values that the same bounds let pass share a set.
  std::map<ValueSet, uint32_t> numbers;
  std::vector<uint32_t> number_of(bounds.size());
  for (size_t position = 0; position < bounds.size(); ++position) {
    const bool repeated = position != 0 && bounds[position] == bounds[position - 1];
    number_of[position] =
        repeated ? number_of[position - 1]
                 : numbers.try_emplace(bounds[position], static_cast<uint32_t>(numbers.size()))
                       .first->second;
  }
  std::map<std::vector<bool>, uint8_t> known;
  std::vector<uint32_t> positions;
  for (unsigned value = 0; value < set_of_.size(); ++value) {
    std::vector<bool> passes(numbers.size());
    for (const auto& [set, number] : numbers) {
      passes[number] = (set[value / 64] >> (value % 64) & 1) != 0;
    }
    const auto [place, fresh] = known.try_emplace(passes, static_cast<uint8_t>(sets_.size()));
    set_of_[value] = place->second;
    if (!fresh) continue;
    positions.clear();
    for (uint32_t position = 0; position < bounds.size(); ++position) {
      if (passes[number_of[position]]) positions.push_back(position);
    }
    sets_.push_back(store->Add(positions));
  }
}

}  // namespace postern::rules

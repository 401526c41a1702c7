#include "dataplane/rules/model.h"

#include <algorithm>

namespace postern::rules {

Chain* TableModel::Find(std::string_view name) {
  const auto it = std::find_if(chains.begin(), chains.end(),
                               [name](const Chain& chain) { return chain.name == name; });
  return it == chains.end() ? nullptr : &*it;
}

const Chain* TableModel::Find(std::string_view name) const {
  return const_cast<TableModel*>(this)->Find(name);
}

std::vector<net::Hook> BuiltinChains(net::Table table) {
  using enum net::Hook;
  switch (table) {
    case net::Table::kRaw:
      return {kPrerouting, kOutput};
    case net::Table::kMangle:
      return {kPrerouting, kInput, kForward, kOutput, kPostrouting};
    case net::Table::kNat:
      return {kPrerouting, kInput, kOutput, kPostrouting};
    case net::Table::kFilter:
      return {kInput, kForward, kOutput};
  }
  return {};
}

FamilyModel EmptyModel(Family family) {
  FamilyModel model;
  model.family = family;
  for (int t = 0; t < net::kTableCount; ++t) {
    for (const net::Hook hook : BuiltinChains(static_cast<net::Table>(t))) {
      Chain chain;
      chain.name = net::ToString(hook);
      chain.builtin = true;
      model.tables[t].chains.push_back(std::move(chain));
    }
  }
  return model;
}

}  // namespace postern::rules

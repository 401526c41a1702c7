// A SourceMap with the connections that it links.
#pragma once

#include <cstdint>
#include <vector>

#include "nat/source_map.h"

namespace postern::nat {

using net::NatRange;
using net::Tuple;

class TranslatedSources : public SourceMap::Connections {
 public:
  explicit TranslatedSources(uint32_t slots) : connections_(slots), map(slots, 1, this) {}

  const Tuple& Original(uint32_t slot) const override { return connections_[slot].original; }
  const Tuple& Reply(uint32_t slot) const override { return connections_[slot].reply; }
  bool OriginalKey(uint32_t slot, net::Ipv4Key* key) const override {
    const Tuple& original = connections_[slot].original;
    if (!has_keys || original.family != net::Family::kIpv4) return false;
    *key = net::Ipv4Key(original);
    return true;
  }

  void Insert(uint32_t slot, const Tuple& original, const Tuple& translated) {
    connections_[slot] = {original, *net::Mirror(translated)};
    map.Insert(slot);
  }
  bool Has(const Tuple& tuple, const NatRange& range = {}) {
    return map.Find(tuple, range, &found);
  }

 private:
  struct Connection {
    Tuple original;
    Tuple reply;
  };
  std::vector<Connection> connections_;

 public:
  bool has_keys = true;  // where they can be
  SourceMap map;
  Tuple found;
};

}  // namespace postern::nat

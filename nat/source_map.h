// Which translation a source already has: netfilter's nf_nat_bysource.
#pragma once

#include <cstdint>
#include <memory>

#include "dataplane/net/nat_range.h"
#include "dataplane/net/tuple.h"

namespace postern::nat {

// A multimap from an original source (address, key, protocol, zone) to translated
// sources. Fixed room, given at construction; when it is full new entries are
// simply not remembered. One thread: each worker has its own.
class SourceMap {
 public:
  explicit SourceMap(uint32_t capacity, uint64_t seed);
  ~SourceMap();

  // A connection with this original tuple is now translated so that its tuple is `translated`.
  // `owner` identifies it for Erase.
  void Insert(const net::Tuple& original, const net::Tuple& translated, const void* owner);
  void Erase(const net::Tuple& original, const void* owner);
  // The first translated source of `tuple`'s source that lies in `range`, put into *result with
  // tuple's destination: find_appropriate_src.
  bool Find(const net::Tuple& tuple, const net::NatRange& range, net::Tuple* result) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::nat

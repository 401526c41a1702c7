// The connection table of a worker over rte_hash (DESIGN.md section 4).
//
// Two rte_hash tables, one a family: an IPv4 tuple packs into a key of 16 bytes, an IPv6 tuple is
// its own key of 40. Hashes are FlowHasher's, given with every call. Buckets are extendable, so an
// insert never fails while fewer than `capacity` tuples of a family are there.
// Threads: one; nothing inside is locked.
#pragma once

#include <memory>

#include "ctrack/table.h"
#include "dataplane/net/flow_hash.h"
#include "dataplane/net/result.h"

struct rte_hash;

namespace postern::dpdk {

class RteHashTable : public ctrack::ConnectionTable {
 public:
  // `capacity` tuples of each family; `socket` a NUMA node or -1 for any.
  static net::Result<std::unique_ptr<RteHashTable>> Create(uint32_t capacity,
                                                           const net::FlowHasher& hasher,
                                                           int socket);
  ~RteHashTable() override;
  RteHashTable(const RteHashTable&) = delete;
  RteHashTable& operator=(const RteHashTable&) = delete;

  uint32_t Hash(const net::Tuple& tuple) const override { return hasher_.Hash(tuple); }
  void HashBurst(std::span<const net::Tuple> tuples, std::span<uint32_t> hashes) const override {
    hasher_.HashBurst(tuples, hashes);
  }
  ctrack::TableValue Lookup(const net::Tuple& tuple, uint32_t hash) const override;
  void LookupBurst(std::span<const net::Tuple> tuples, std::span<const uint32_t> hashes,
                   std::span<ctrack::TableValue> values) const override;
  void LookupBurst(std::span<const net::Ipv4Key> keys,
                   std::span<ctrack::TableValue> values) const override;
  bool Insert(const net::Tuple& tuple, uint32_t hash, ctrack::TableValue value) override;
  bool Erase(const net::Tuple& tuple, uint32_t hash) override;
  size_t size() const override { return size_; }

 private:
  explicit RteHashTable(const net::FlowHasher& hasher) : hasher_(hasher) {}

  net::FlowHasher hasher_;
  rte_hash* ipv4_ = nullptr;
  rte_hash* ipv6_ = nullptr;
  size_t size_ = 0;
};

}  // namespace postern::dpdk

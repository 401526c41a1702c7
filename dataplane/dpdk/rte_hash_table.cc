#include "dataplane/dpdk/rte_hash_table.h"

#include <rte_errno.h>
#include <rte_hash.h>

#include <array>
#include <cstring>

#include "dataplane/dpdk/ring.h"

namespace postern::dpdk {
namespace {

using ctrack::TableValue;
using net::Ipv4Key;
using net::Tuple;

constexpr size_t kMaxBurst = 64;

// rte_hash wants a function although every call brings its hash.
uint32_t NoHash(const void*, uint32_t, uint32_t) { return 0; }

rte_hash* MakeHash(uint32_t capacity, uint32_t key_length, int socket) {
  const std::string name = UniqueName("ct");
  rte_hash_parameters parameters{};
  parameters.name = name.c_str();
  parameters.entries = capacity;
  parameters.key_len = key_length;
  parameters.hash_func = NoHash;
  parameters.socket_id = socket;
  parameters.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE;
  return rte_hash_create(&parameters);
}

TableValue ToValue(const void* data) {
  return TableValue::FromWord(reinterpret_cast<uintptr_t>(data));
}

TableValue Find(const rte_hash* hash, const void* key, uint32_t signature) {
  void* data = nullptr;
  return rte_hash_lookup_with_hash_data(hash, key, signature, &data) >= 0 ? ToValue(data)
                                                                          : TableValue();
}

// The tuples of one family out of a burst.
struct Group {
  std::array<const void*, kMaxBurst> keys;
  std::array<hash_sig_t, kMaxBurst> signatures;
  std::array<uint8_t, kMaxBurst> places;
  uint32_t size = 0;

  void Add(const void* key, uint32_t signature, size_t place) {
    keys[size] = key;
    signatures[size] = signature;
    places[size++] = static_cast<uint8_t>(place);
  }
  void Find(const rte_hash* hash, std::span<TableValue> values) {
    if (size == 0) return;
    std::array<void*, kMaxBurst> data;
    uint64_t hits = 0;
    rte_hash_lookup_with_hash_bulk_data(hash, keys.data(), signatures.data(), size, &hits,
                                        data.data());
    for (uint32_t i = 0; i < size; ++i) {
      values[places[i]] = (hits >> i & 1) != 0 ? ToValue(data[i]) : TableValue();
    }
  }
};

}  // namespace

net::Result<std::unique_ptr<RteHashTable>> RteHashTable::Create(uint32_t capacity,
                                                                const net::FlowHasher& hasher,
                                                                int socket) {
  std::unique_ptr<RteHashTable> table(new RteHashTable(hasher));
  table->ipv4_ = MakeHash(capacity, sizeof(Ipv4Key), socket);
  table->ipv6_ = MakeHash(capacity, sizeof(Tuple), socket);
  if (table->ipv4_ == nullptr || table->ipv6_ == nullptr) {
    return net::Error{"no memory for a connection table of " + std::to_string(capacity) +
                      " tuples: " + rte_strerror(rte_errno) +
                      "; raise memory_mb or lower nf_conntrack_max"};
  }
  return table;
}

RteHashTable::~RteHashTable() {
  rte_hash_free(ipv4_);
  rte_hash_free(ipv6_);
}

TableValue RteHashTable::Lookup(const Tuple& tuple, uint32_t hash) const {
  if (tuple.family == net::Family::kIpv6) return Find(ipv6_, &tuple, hash);
  const Ipv4Key key(tuple);
  return Find(ipv4_, &key, hash);
}

void RteHashTable::LookupBurst(std::span<const Tuple> tuples, std::span<const uint32_t> hashes,
                               std::span<TableValue> values) const {
  std::array<Ipv4Key, kMaxBurst> keys;
  Group ipv4;
  Group ipv6;
  for (size_t i = 0; i < tuples.size(); ++i) {
    if (tuples[i].family == net::Family::kIpv6) {
      ipv6.Add(&tuples[i], hashes[i], i);
    } else {
      keys[i] = Ipv4Key(tuples[i]);
      ipv4.Add(&keys[i], hashes[i], i);
    }
  }
  ipv4.Find(ipv4_, values);
  ipv6.Find(ipv6_, values);
}

void RteHashTable::LookupBurst(std::span<const Ipv4Key> keys, std::span<TableValue> values) const {
  if (keys.empty()) return;
  std::array<hash_sig_t, kMaxBurst> signatures;
  std::array<const void*, kMaxBurst> places;
  std::array<void*, kMaxBurst> data;
  hasher_.HashBurst(keys, signatures);
  for (size_t i = 0; i < keys.size(); ++i) places[i] = &keys[i];
  uint64_t hits = 0;
  rte_hash_lookup_with_hash_bulk_data(ipv4_, places.data(), signatures.data(),
                                      static_cast<uint32_t>(keys.size()), &hits, data.data());
  for (size_t i = 0; i < keys.size(); ++i) {
    values[i] = (hits >> i & 1) != 0 ? ToValue(data[i]) : TableValue();
  }
}

bool RteHashTable::Insert(const Tuple& tuple, uint32_t hash, TableValue value) {
  // rte_hash would replace the value of a key that is there.
  if (!Lookup(tuple, hash).empty()) return false;
  void* data = reinterpret_cast<void*>(value.word());
  int failure;
  if (tuple.family == net::Family::kIpv6) {
    failure = rte_hash_add_key_with_hash_data(ipv6_, &tuple, hash, data);
  } else {
    const Ipv4Key key(tuple);
    failure = rte_hash_add_key_with_hash_data(ipv4_, &key, hash, data);
  }
  if (failure != 0) return false;
  ++size_;
  return true;
}

bool RteHashTable::Erase(const Tuple& tuple, uint32_t hash) {
  int position;
  if (tuple.family == net::Family::kIpv6) {
    position = rte_hash_del_key_with_hash(ipv6_, &tuple, hash);
  } else {
    const Ipv4Key key(tuple);
    position = rte_hash_del_key_with_hash(ipv4_, &key, hash);
  }
  if (position < 0) return false;
  --size_;
  return true;
}

}  // namespace postern::dpdk

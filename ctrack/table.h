// The connection table as conntrack sees it: tuple to connection and direction.
//
// FlowTable implements it. One table a worker, touched by that worker alone.
#pragma once

#include <cstdint>
#include <span>

#include "ctrack/connection.h"

namespace postern::ctrack {

// A table entry in one word: a local connection with the direction of the tuple, or a
// remote entry, which says that another worker holds the connection.
class TableValue {
 public:
  constexpr TableValue() = default;
  static TableValue Local(Connection* connection, Direction direction) {
    return TableValue(reinterpret_cast<uintptr_t>(connection) | static_cast<uintptr_t>(direction));
  }
  static constexpr TableValue Remote(unsigned worker) {
    return TableValue((uintptr_t{worker} << 8) | 2);
  }

  constexpr bool empty() const { return word_ == 0; }
  constexpr bool IsRemote() const { return (word_ & 2) != 0; }
  constexpr unsigned worker() const { return static_cast<unsigned>(word_ >> 8); }
  Connection* connection() const {
    return IsRemote() ? nullptr : reinterpret_cast<Connection*>(word_ & ~uintptr_t{3});
  }
  constexpr Direction direction() const { return static_cast<Direction>(word_ & 1); }
  constexpr uintptr_t word() const { return word_; }
  static constexpr TableValue FromWord(uintptr_t word) { return TableValue(word); }

 private:
  constexpr explicit TableValue(uintptr_t word) : word_(word) {}
  uintptr_t word_ = 0;
};

class ConnectionTable {
 public:
  virtual ~ConnectionTable() = default;

  virtual uint32_t Hash(const Tuple& tuple) const = 0;
  virtual void HashBurst(std::span<const Tuple> tuples, std::span<uint32_t> hashes) const = 0;
  // An IPv4 tuple's hash is that of its key.
  virtual void HashBurst(std::span<const net::Ipv4Key> keys, std::span<uint32_t> hashes) const = 0;

  virtual TableValue Lookup(const Tuple& tuple, uint32_t hash) const = 0;
  // At most 64 tuples at once; all spans have the same size.
  virtual void LookupBurst(std::span<const Tuple> tuples, std::span<const uint32_t> hashes,
                           std::span<TableValue> values) const = 0;
  // The same for IPv4 tuples in their short form, in two steps, so that what the second one reads
  // can come while others are dealt with. The first one tells where to look; `candidates` are the
  // table's own, and kNobody where it is certain that there is nobody. Between the two the table
  // may change: what the second one then finds was there at one of these times.
  static constexpr uint32_t kNobody = UINT32_MAX;
  virtual void ExpectBurst(std::span<const net::Ipv4Key> keys, std::span<const uint32_t> hashes,
                           std::span<uint32_t> candidates) const = 0;
  virtual void ResolveBurst(std::span<const net::Ipv4Key> keys, std::span<const uint32_t> hashes,
                            std::span<const uint32_t> candidates,
                            std::span<TableValue> values) const = 0;
  // Asks for what look-ups, inserts or removals of tuples with these hashes read first.
  virtual void Prefetch(std::span<const uint32_t> hashes) const = 0;
  // False: no tuple in the table has this hash. True: there may be one.
  virtual bool MayHold(uint32_t hash) const = 0;
  // A local value's connection has this tuple in its direction, and its `ends` are kept.
  // False when the tuple is there already. Never refuses for lack of room while the number of
  // tuples is at most the capacity it was made with.
  virtual bool Insert(const Tuple& tuple, uint32_t hash, TableValue value) = 0;
  virtual bool Erase(const Tuple& tuple, uint32_t hash) = 0;
  // The entry that leads to this connection in `direction`, whose tuple has this hash. Reads
  // nothing of the connection.
  virtual bool EraseLocal(const Connection* connection, Direction direction, uint32_t hash) = 0;
  virtual size_t size() const = 0;

  TableValue Lookup(const Tuple& tuple) const { return Lookup(tuple, Hash(tuple)); }
};

}  // namespace postern::ctrack

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "ctrack/memory_table.h"
#include "ctrack/pool.h"
#include "dataplane/net/random.h"
#include "tests/ctrack/fixture.h"

namespace postern::ctrack {
namespace {

Tuple TupleNumber(uint32_t n) {
  Tuple tuple;
  tuple.source = net::IpAddress::V4(0xc0000200 + (n & 0xff));
  tuple.destination = net::IpAddress::V4(0xc6336401);
  tuple.source_key = static_cast<uint16_t>(n >> 8);
  tuple.protocol = net::kProtoUdp;
  return tuple;
}

TEST(TableValue, KeepsConnectionDirectionAndWorker) {
  Connection connection;
  const TableValue local = TableValue::Local(&connection, Direction::kReply);
  EXPECT_EQ(local.connection(), &connection);
  EXPECT_EQ(local.direction(), Direction::kReply);
  EXPECT_FALSE(local.IsRemote());
  for (const unsigned worker : {0U, 1U, 63U}) {
    const TableValue remote = TableValue::Remote(worker);
    EXPECT_TRUE(remote.IsRemote());
    EXPECT_FALSE(remote.empty());
    EXPECT_EQ(remote.worker(), worker);
    EXPECT_EQ(remote.connection(), nullptr);
  }
}

// Small enough that probe sequences meet, wrap around and are closed up all the time.
TEST(MemoryTable, AgreesWithAMap) {
  constexpr size_t kCapacity = 60;
  MemoryTable table(kCapacity, kHashKey);
  std::map<uint32_t, unsigned> model;
  net::Rng rng(7);
  for (int step = 0; step < 200000; ++step) {
    const uint32_t n = rng.Below(90);
    const Tuple tuple = TupleNumber(n);
    const uint32_t hash = table.Hash(tuple);
    const auto found = model.find(n);
    switch (rng.Below(3)) {
      case 0: {
        const bool room = found == model.end() && model.size() < kCapacity;
        EXPECT_EQ(table.Insert(tuple, hash, TableValue::Remote(n)), room);
        if (room) model[n] = n;
        break;
      }
      case 1:
        EXPECT_EQ(table.Erase(tuple, hash), found != model.end());
        if (found != model.end()) model.erase(found);
        break;
      default: {
        const TableValue value = table.Lookup(tuple, hash);
        EXPECT_EQ(value.empty(), found == model.end());
        EXPECT_EQ(value.empty() ? n : value.worker(), n);
      }
    }
    ASSERT_EQ(table.size(), model.size());
  }
}

TEST(MemoryTable, TakesAllThatItHasRoomForEvenWithOneHash) {
  MemoryTable table(100, kHashKey);
  for (uint32_t n = 0; n < 100; ++n) {
    EXPECT_TRUE(table.Insert(TupleNumber(n), 42, TableValue::Remote(n)));
  }
  EXPECT_FALSE(table.Insert(TupleNumber(100), 42, TableValue::Remote(1)));
  for (uint32_t n = 0; n < 100; n += 3) EXPECT_TRUE(table.Erase(TupleNumber(n), 42));
  for (uint32_t n = 0; n < 100; ++n) {
    EXPECT_EQ(table.Lookup(TupleNumber(n), 42).empty(), n % 3 == 0) << n;
  }
}

TEST(MemoryTable, BurstsAnswerAsSinglesDo) {
  MemoryTable table(64, kHashKey);
  std::array<Tuple, 32> tuples;
  std::array<uint32_t, 32> hashes;
  std::array<TableValue, 32> values;
  for (uint32_t n = 0; n < 32; ++n) {
    tuples[n] = TupleNumber(n);
    if (n % 2 == 0) table.Insert(tuples[n], table.Hash(tuples[n]), TableValue::Remote(n));
  }
  table.HashBurst(tuples, hashes);
  table.LookupBurst(tuples, hashes, values);
  for (uint32_t n = 0; n < 32; ++n) {
    EXPECT_EQ(hashes[n], table.Hash(tuples[n]));
    EXPECT_EQ(values[n].word(), table.Lookup(tuples[n]).word());
    EXPECT_EQ(values[n].empty(), n % 2 != 0);
  }
}

TEST(ConnectionPool, LendsEverySlotOnceAndTakesItBack) {
  ConnectionPool pool(8);
  std::set<Connection*> lent;
  for (uint32_t i = 0; i < 8; ++i) {
    Connection* connection = pool.Allocate();
    ASSERT_NE(connection, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(connection) % 64, 0U);
    EXPECT_EQ(pool.At(connection->pool_index), connection);
    EXPECT_TRUE(lent.insert(connection).second);
  }
  EXPECT_EQ(pool.Allocate(), nullptr);
  EXPECT_EQ(pool.used(), 8U);
  EXPECT_EQ(pool.high_water(), 8U);
  Connection* third = pool.At(3);
  third->mark = 7;
  pool.AllocateExtension(third)->packets[0] = 9;
  pool.Free(third);
  EXPECT_EQ(pool.At(3), nullptr);
  EXPECT_EQ(pool.At(8), nullptr);
  Connection* again = pool.Allocate();
  EXPECT_EQ(again, third);
  EXPECT_EQ(again->mark, 0U) << "as new";
  EXPECT_EQ(again->extension, nullptr);
  EXPECT_EQ(pool.AllocateExtension(again)->packets[0], 0U);
}

TEST(ConnectionPool, KeepsTheExtensionThatAConnectionHas) {
  ConnectionPool pool(2);
  Connection* connection = pool.Allocate();
  Extension* extension = pool.AllocateExtension(connection);
  extension->start = 5;
  EXPECT_EQ(pool.AllocateExtension(connection), extension);
  EXPECT_EQ(extension->start, 5U);
  EXPECT_NE(pool.AllocateExtension(pool.Allocate()), extension);
}

TEST(ConnectionPool, WorksInGivenMemory) {
  alignas(64) static uint8_t memory[4 * sizeof(Connection)];
  ConnectionPool pool(4, memory);
  EXPECT_EQ(reinterpret_cast<uint8_t*>(pool.Allocate()), memory);
}

}  // namespace
}  // namespace postern::ctrack

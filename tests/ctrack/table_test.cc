#include <gtest/gtest.h>

#include <array>
#include <set>

#include "ctrack/pool.h"
#include "dataplane/net/random.h"
#include "tests/ctrack/fixture.h"

namespace postern::ctrack {
namespace {

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

TEST(ConnectionPool, FreesConnectionsWithAndWithoutExtensions) {
  ConnectionPool pool(3);
  std::array<Connection*, 3> lent;
  for (Connection*& connection : lent) connection = pool.Allocate();
  pool.AllocateExtension(lent[1])->bytes[1] = 9;
  for (Connection* connection : lent) {
    EXPECT_EQ(pool.SlotOf(connection), connection->pool_index);
    pool.Free(connection);
  }
  EXPECT_EQ(pool.used(), 0U);
  for (int i = 0; i < 3; ++i) {
    Connection* connection = pool.Allocate();
    EXPECT_EQ(connection, lent[2 - i]) << "the last freed first";
    EXPECT_EQ(connection->extension, nullptr);
    EXPECT_EQ(pool.AllocateExtension(connection)->bytes[1], 0U);
  }
}

TEST(ConnectionPool, WorksInGivenMemory) {
  alignas(64) static uint8_t memory[ConnectionPool::BytesFor(4)];
  ConnectionPool pool(4, memory);
  EXPECT_EQ(reinterpret_cast<uint8_t*>(pool.Allocate()), memory);
}

}  // namespace
}  // namespace postern::ctrack

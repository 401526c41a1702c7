#include "ctrack/flow_table.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "dataplane/net/random.h"

namespace postern::ctrack {
namespace {

using net::Family;
using net::IpAddress;

Tuple Ipv4Tuple(uint32_t source, uint16_t port, uint8_t protocol = 6, uint16_t zone = 0) {
  Tuple tuple;
  tuple.source = IpAddress::V4(source);
  tuple.destination = IpAddress::V4(0xc6336401);
  tuple.source_key = port;
  tuple.destination_key = 80;
  tuple.protocol = protocol;
  tuple.zone = zone;
  return tuple;
}

Tuple Ipv6Tuple(uint32_t source, uint16_t port) {
  Tuple tuple = Ipv4Tuple(0, port);
  tuple.family = Family::kIpv6;
  tuple.source = {};
  tuple.source.SetWord(0, 0x20010db8);
  tuple.source.SetWord(3, source);
  tuple.destination = tuple.source;
  return tuple;
}

std::string KeyOf(const Tuple& tuple) {
  return {reinterpret_cast<const char*>(&tuple), sizeof(tuple)};
}

class FlowTableTest : public testing::Test {
 protected:
  std::unique_ptr<FlowTable> Make(uint32_t capacity) {
    return std::make_unique<FlowTable>(capacity, net::FlowHasher({1, 2, 3}), pool_);
  }
  // A connection whose answers' tuple isn't its tuple's mirror.
  Connection* MakeConnection(const Tuple& tuple) {
    Connection* connection = pool_.Allocate();
    Tuple reply = *net::Mirror(tuple);
    reply.destination_key = static_cast<uint16_t>(reply.destination_key + 1);
    connection->tuples = {tuple, reply};
    connection->KeepEnds();
    return connection;
  }
  ConnectionPool pool_{4096};
};

TEST_F(FlowTableTest, FindsWhatWasInserted) {
  const auto table = Make(64);
  const Tuple tuple = Ipv4Tuple(0xc0000201, 1024);
  const uint32_t hash = table->Hash(tuple);
  EXPECT_TRUE(table->Lookup(tuple, hash).empty());
  EXPECT_TRUE(table->Insert(tuple, hash, TableValue::Remote(3)));
  EXPECT_FALSE(table->Insert(tuple, hash, TableValue::Remote(4)));
  EXPECT_EQ(table->Lookup(tuple, hash).worker(), 3U);
  EXPECT_EQ(table->size(), 1U);
  EXPECT_TRUE(table->Erase(tuple, hash));
  EXPECT_FALSE(table->Erase(tuple, hash));
  EXPECT_TRUE(table->Lookup(tuple, hash).empty());
}

TEST_F(FlowTableTest, HashesAConnectionsKeysAsItsTuples) {
  const auto table = Make(64);
  const Connection* connection = MakeConnection(Ipv4Tuple(0xc0000201, 1024, net::kProtoIcmp));
  ASSERT_TRUE(connection->HasKeys());
  const std::array keys = {connection->Key(Direction::kOriginal),
                           connection->Key(Direction::kReply)};
  std::array<uint32_t, 2> hashes;
  table->HashBurst(keys, hashes);
  table->Prefetch(hashes);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(keys[i].ToTuple(), connection->tuples[i]);
    EXPECT_EQ(hashes[i], table->Hash(connection->tuples[i]));
  }
  EXPECT_FALSE(MakeConnection(Ipv6Tuple(1, 1024))->HasKeys());
  EXPECT_FALSE(MakeConnection(Ipv4Tuple(1, 1024, 6, 2))->HasKeys());
}

// Every field counts, also where the hash says nothing.
TEST_F(FlowTableTest, TellsTuplesApartWithEqualHashes) {
  std::vector<Tuple> tuples;
  const Tuple base = Ipv4Tuple(0xc0000201, 1024);
  tuples.push_back(base);
  for (int field = 0; field < 7; ++field) {
    Tuple other = base;
    if (field == 0) other.source = IpAddress::V4(0xc0000202);
    if (field == 1) other.destination = IpAddress::V4(0xc6336402);
    if (field == 2) other.source_key = 1025;
    if (field == 3) other.destination_key = 81;
    if (field == 4) other.protocol = 17;
    if (field == 5) other.zone = 1;
    if (field == 6) other.family = Family::kIpv6;
    tuples.push_back(other);
  }
  const auto table = Make(64);
  for (size_t i = 0; i < tuples.size(); ++i) {
    ASSERT_TRUE(table->Insert(tuples[i], 7, TableValue::Remote(static_cast<unsigned>(i)))) << i;
  }
  for (size_t i = 0; i < tuples.size(); ++i) {
    EXPECT_EQ(table->Lookup(tuples[i], 7).worker(), i);
  }
}

TEST_F(FlowTableTest, TakesItsWholeCapacityWhateverTheHashes) {
  constexpr uint32_t kCapacity = 4096;
  for (const uint32_t mask : {0xffffffffU, 0xffU, 0U}) {
    const auto table = Make(kCapacity);
    for (uint32_t i = 0; i < kCapacity; ++i) {
      const Tuple tuple = Ipv4Tuple(i, 1);
      ASSERT_TRUE(table->Insert(tuple, table->Hash(tuple) & mask, TableValue::Remote(1)))
          << i << " of " << kCapacity << ", mask " << mask;
    }
    for (uint32_t i = 0; i < kCapacity; ++i) {
      const Tuple tuple = Ipv4Tuple(i, 1);
      ASSERT_FALSE(table->Lookup(tuple, table->Hash(tuple) & mask).empty()) << i;
    }
    // Room that was used is room again.
    for (uint32_t i = 0; i < kCapacity; ++i) {
      const Tuple old = Ipv4Tuple(i, 1);
      ASSERT_TRUE(table->Erase(old, table->Hash(old) & mask)) << i;
      const Tuple tuple = Ipv4Tuple(i, 2);
      ASSERT_TRUE(table->Insert(tuple, table->Hash(tuple) & mask, TableValue::Remote(1))) << i;
    }
  }
}

TEST_F(FlowTableTest, AgreesWithAMapOverRandomOperations) {
  const auto table = Make(2000);
  std::map<std::string, TableValue> reference;
  net::Rng random(42);
  for (int step = 0; step < 200'000; ++step) {
    const bool ipv6 = random.Below(2) == 0;
    const uint32_t number = random.Below(1500);
    const Tuple tuple = ipv6 ? Ipv6Tuple(number, 5) : Ipv4Tuple(number, 5);
    const uint32_t hash = table->Hash(tuple);
    const std::string key = KeyOf(tuple);
    switch (random.Below(3)) {
      case 0: {
        const TableValue value = TableValue::Remote(random.Below(1000));
        ASSERT_EQ(table->Insert(tuple, hash, value), reference.emplace(key, value).second);
        break;
      }
      case 1:
        ASSERT_EQ(table->Erase(tuple, hash), reference.erase(key) == 1);
        break;
      default: {
        const auto found = reference.find(key);
        ASSERT_EQ(table->Lookup(tuple, hash).word(),
                  found == reference.end() ? 0 : found->second.word());
      }
    }
    ASSERT_EQ(table->size(), reference.size());
  }
}

TEST_F(FlowTableTest, BurstsOfBothFamiliesAgreeWithSingleLookups) {
  const auto table = Make(1000);
  net::Rng random(7);
  for (uint32_t i = 0; i < 500; ++i) {
    const Tuple tuple = i % 2 == 0 ? Ipv4Tuple(i, 9) : Ipv6Tuple(i, 9);
    ASSERT_TRUE(table->Insert(tuple, table->Hash(tuple), TableValue::Remote(i)));
  }
  for (size_t size = 0; size <= 64; ++size) {
    std::vector<Tuple> tuples(size);
    for (Tuple& tuple : tuples) {
      const uint32_t i = random.Below(1000);
      tuple = random.Below(2) == 0 ? Ipv4Tuple(i, 9) : Ipv6Tuple(i, 9);
    }
    std::vector<uint32_t> hashes(size);
    table->HashBurst(tuples, hashes);
    std::vector<TableValue> values(size, TableValue::Remote(9999));
    table->LookupBurst(tuples, hashes, values);
    for (size_t i = 0; i < size; ++i) {
      EXPECT_EQ(hashes[i], table->Hash(tuples[i]));
      EXPECT_EQ(values[i].word(), table->Lookup(tuples[i], hashes[i]).word()) << i;
    }
  }
}

// Small enough that buckets overflow and wrap around all the time; `mask` makes hashes collide.
TEST_F(FlowTableTest, AgreesWithAMapWhereConnectionsKeepTheTuples) {
  for (const uint32_t mask : {0xffffffffU, 0xf000'0003U, 0U}) {
    constexpr uint32_t kCapacity = 60;
    const auto table = Make(kCapacity);
    std::vector<Connection*> connections;
    for (uint32_t n = 0; n < 60; ++n) {
      connections.push_back(
          MakeConnection(n % 3 == 0 ? Ipv6Tuple(n, 5) : Ipv4Tuple(n / 3, 5, 17, n % 3 == 1)));
    }
    std::map<std::string, TableValue> reference;
    net::Rng random(mask);
    for (int step = 0; step < 50'000; ++step) {
      Connection* connection = connections[random.Below(60)];
      const auto direction = static_cast<Direction>(random.Below(2));
      const Tuple& tuple = connection->tuple(direction);
      const uint32_t hash = table->Hash(tuple) & mask;
      const auto found = reference.find(KeyOf(tuple));
      switch (random.Below(3)) {
        case 0: {
          const TableValue value = random.Below(4) == 0 ? TableValue::Remote(random.Below(64))
                                                        : TableValue::Local(connection, direction);
          const bool room = found == reference.end() && reference.size() < kCapacity;
          ASSERT_EQ(table->Insert(tuple, hash, value), room);
          if (room) reference.emplace(KeyOf(tuple), value);
          break;
        }
        case 1:
          ASSERT_EQ(table->Erase(tuple, hash), found != reference.end());
          if (found != reference.end()) reference.erase(found);
          break;
        default:
          ASSERT_EQ(table->Lookup(tuple, hash).word(),
                    found == reference.end() ? 0 : found->second.word());
      }
      ASSERT_EQ(table->size(), reference.size());
    }
    for (Connection* connection : connections) pool_.Free(connection);
  }
}

TEST_F(FlowTableTest, BurstsOfShortKeysAgreeWithSingleLookups) {
  const auto table = Make(600);
  for (uint32_t i = 0; i < 300; ++i) {
    Connection* connection = MakeConnection(Ipv4Tuple(i, 9));
    for (const Direction direction : {Direction::kOriginal, Direction::kReply}) {
      const Tuple& tuple = connection->tuple(direction);
      ASSERT_TRUE(table->Insert(
          tuple, table->Hash(tuple),
          i % 7 == 0 ? TableValue::Remote(i) : TableValue::Local(connection, direction)));
    }
  }
  net::Rng random(3);
  for (size_t size = 0; size <= 64; ++size) {
    std::vector<net::Ipv4Key> keys(size);
    for (net::Ipv4Key& key : keys) key = net::Ipv4Key(Ipv4Tuple(random.Below(600), 9));
    std::vector<TableValue> values(size, TableValue::Remote(9999));
    std::vector<uint32_t> hashes(size);
    std::vector<uint32_t> candidates(size);
    table->HashBurst(keys, hashes);
    table->ExpectBurst(keys, hashes, candidates);
    table->ResolveBurst(keys, hashes, candidates, values);
    for (size_t i = 0; i < size; ++i) {
      EXPECT_EQ(values[i].word(), table->Lookup(keys[i].ToTuple()).word()) << i;
      EXPECT_EQ(hashes[i], table->Hash(keys[i].ToTuple())) << i;
      EXPECT_TRUE(values[i].empty() || table->MayHold(hashes[i])) << i;
      EXPECT_EQ(candidates[i] == ConnectionTable::kNobody, !table->MayHold(hashes[i])) << i;
    }
  }
}

}  // namespace
}  // namespace postern::ctrack

#include <gtest/gtest.h>

#include <map>

#include "dataplane/net/random.h"
#include "tests/nat/translated_sources.h"

namespace postern::nat {
namespace {

using net::IpAddress;
using net::NatRange;
using net::Tuple;

Tuple Flow(uint32_t source, uint16_t port, uint32_t destination = 0xc6336407) {
  Tuple tuple;
  tuple.source = IpAddress::V4(source);
  tuple.source_key = port;
  tuple.destination = IpAddress::V4(destination);
  tuple.destination_key = 53;
  tuple.protocol = net::kProtoUdp;
  return tuple;
}

TEST(SourceMapTest, FindsTheNewestTranslationInRange) {
  TranslatedSources world(16);
  EXPECT_FALSE(world.Has(Flow(1, 1000)));
  world.Insert(1, Flow(1, 1000), Flow(9, 2000));
  world.Insert(2, Flow(1, 1000), Flow(9, 3000));
  ASSERT_TRUE(world.Has(Flow(1, 1000, 77)));
  EXPECT_EQ(world.found, Flow(9, 3000, 77));
  NatRange low;
  low.has_ports = true;
  low.ports = {1, 2500};
  ASSERT_TRUE(world.Has(Flow(1, 1000), low));
  EXPECT_EQ(world.found.source_key, 2000);
  NatRange elsewhere;
  elsewhere.has_address = true;
  elsewhere.first_address = elsewhere.last_address = IpAddress::V4(8);
  EXPECT_FALSE(world.Has(Flow(1, 1000), elsewhere));
}

TEST(SourceMapTest, ForgetsWithTheLastConnection) {
  TranslatedSources world(16);
  world.Insert(1, Flow(1, 1000), Flow(9, 2000));
  world.Insert(2, Flow(1, 1000, 5), Flow(9, 2000, 5));
  world.map.Insert(2);  // a second time: nothing
  world.map.Erase(1);
  EXPECT_TRUE(world.Has(Flow(1, 1000)));
  world.map.Erase(1);  // a second time: nothing
  EXPECT_TRUE(world.Has(Flow(1, 1000)));
  world.map.Erase(2);
  EXPECT_FALSE(world.Has(Flow(1, 1000)));
}

TEST(SourceMapTest, ZonesAndProtocolsAreApart) {
  TranslatedSources world(16);
  world.Insert(1, Flow(1, 1000), Flow(9, 2000));
  Tuple other = Flow(1, 1000);
  other.zone = 5;
  EXPECT_FALSE(world.Has(other));
  other = Flow(1, 1000);
  other.protocol = net::kProtoTcp;
  EXPECT_FALSE(world.Has(other));
}

// Inserted by its tuple, found by it, erased by its key, and the other way round.
TEST(SourceMapTest, ASourceHasOneHashFromTupleAndFromKey) {
  constexpr uint32_t kMany = 1000;
  TranslatedSources world(kMany);
  Tuple ipv6 = Flow(0, 1000);
  ipv6.family = net::Family::kIpv6;
  for (const bool by_key : {false, true}) {
    world.has_keys = by_key;
    for (uint32_t i = 0; i + 1 < kMany; ++i) world.Insert(i, Flow(i, 1000), Flow(9, 1));
    world.Insert(kMany - 1, ipv6, ipv6);
    for (uint32_t i = 0; i + 1 < kMany; ++i) ASSERT_TRUE(world.Has(Flow(i, 1000))) << i;
    EXPECT_TRUE(world.Has(ipv6));
    world.has_keys = !by_key;
    for (uint32_t i = 0; i < kMany; ++i) {
      world.map.PrefetchErase(i);
      world.map.Erase(i);
      for (uint32_t j = i + 1; j < i + 4 && j + 1 < kMany; ++j) {
        ASSERT_TRUE(world.Has(Flow(j, 1000))) << i << " took " << j << " away";
      }
    }
    for (uint32_t i = 0; i + 1 < kMany; ++i) ASSERT_FALSE(world.Has(Flow(i, 1000))) << i;
    EXPECT_FALSE(world.Has(ipv6));
  }
}

TEST(SourceMapTest, HasRoomForEveryConnection) {
  TranslatedSources world(5);
  for (uint16_t i = 0; i < 5; ++i) world.Insert(i, Flow(1, i), Flow(9, i));
  for (uint16_t i = 0; i < 5; ++i) EXPECT_TRUE(world.Has(Flow(1, i))) << i;
  for (uint16_t i = 0; i < 5; ++i) world.map.Erase(i);
  for (uint16_t i = 0; i < 5; ++i) world.Insert(i, Flow(2, i), Flow(9, i));
  for (uint16_t i = 0; i < 5; ++i) {
    EXPECT_FALSE(world.Has(Flow(1, i)));
    EXPECT_TRUE(world.Has(Flow(2, i)));
  }
}

// A resolver: everything from one port. Ending each connection must not walk through all of them.
TEST(SourceMapTest, ManyConnectionsOfOneSource) {
  constexpr uint32_t kMany = 200000;
  TranslatedSources world(kMany);
  for (uint32_t i = 0; i < kMany; ++i) world.Insert(i, Flow(1, 53, i), Flow(9, 53, i));
  for (uint32_t i = 0; i < kMany; ++i) {
    ASSERT_TRUE(world.Has(Flow(1, 53)));
    world.map.Erase(i);
  }
  EXPECT_FALSE(world.Has(Flow(1, 53)));
}

TEST(SourceMapTest, AgreesWithAModel) {
  net::Rng rng(3);
  TranslatedSources world(200);
  struct Entry {
    uint16_t source;
    uint16_t translated;
  };
  std::map<uint32_t, Entry> model;  // by slot
  for (int step = 0; step < 100000; ++step) {
    const uint32_t slot = rng.Below(200);
    const auto at = model.find(slot);
    if (at == model.end()) {
      const Entry entry{static_cast<uint16_t>(rng.Below(20)), static_cast<uint16_t>(rng.Below(5))};
      world.Insert(slot, Flow(1, entry.source), Flow(9, entry.translated));
      model[slot] = entry;
    } else {
      world.map.Erase(slot);
      model.erase(at);
    }
    const auto source = static_cast<uint16_t>(rng.Below(20));
    const auto wanted = static_cast<uint16_t>(rng.Below(5));
    bool expected = false;
    for (const auto& [id, entry] : model) {
      expected |= entry.source == source && entry.translated == wanted;
    }
    NatRange range;
    range.has_ports = true;
    range.ports = {wanted, wanted};
    ASSERT_EQ(world.Has(Flow(1, source), range), expected) << step;
  }
}

}  // namespace
}  // namespace postern::nat

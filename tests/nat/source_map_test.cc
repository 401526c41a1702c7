#include "nat/source_map.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "dataplane/net/random.h"

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
const void* Id(uintptr_t number) { return reinterpret_cast<const void*>(number * 64); }

TEST(SourceMapTest, FindsTheNewestTranslationInRange) {
  SourceMap map(16, 1);
  const NatRange any;
  Tuple found;
  EXPECT_FALSE(map.Find(Flow(1, 1000), any, &found));
  map.Insert(Flow(1, 1000), Flow(9, 2000), Id(1));
  map.Insert(Flow(1, 1000), Flow(9, 3000), Id(2));
  ASSERT_TRUE(map.Find(Flow(1, 1000, 77), any, &found));
  EXPECT_EQ(found, Flow(9, 3000, 77));
  NatRange low;
  low.has_ports = true;
  low.ports = {1, 2500};
  ASSERT_TRUE(map.Find(Flow(1, 1000), low, &found));
  EXPECT_EQ(found.source_key, 2000);
  NatRange elsewhere;
  elsewhere.has_address = true;
  elsewhere.first_address = elsewhere.last_address = IpAddress::V4(8);
  EXPECT_FALSE(map.Find(Flow(1, 1000), elsewhere, &found));
}

TEST(SourceMapTest, ForgetsWithTheLastConnection) {
  SourceMap map(16, 1);
  Tuple found;
  map.Insert(Flow(1, 1000), Flow(9, 2000), Id(1));
  map.Insert(Flow(1, 1000, 5), Flow(9, 2000, 5), Id(2));
  map.Erase(Flow(1, 1000), Id(1));
  EXPECT_TRUE(map.Find(Flow(1, 1000), {}, &found));
  map.Erase(Flow(1, 1000), Id(1));  // a second time: nothing
  EXPECT_TRUE(map.Find(Flow(1, 1000), {}, &found));
  map.Erase(Flow(1, 1000), Id(2));
  EXPECT_FALSE(map.Find(Flow(1, 1000), {}, &found));
}

TEST(SourceMapTest, ZonesAndProtocolsAreApart) {
  SourceMap map(16, 1);
  Tuple found;
  map.Insert(Flow(1, 1000), Flow(9, 2000), Id(1));
  Tuple other = Flow(1, 1000);
  other.zone = 5;
  EXPECT_FALSE(map.Find(other, {}, &found));
  other = Flow(1, 1000);
  other.protocol = net::kProtoTcp;
  EXPECT_FALSE(map.Find(other, {}, &found));
}

TEST(SourceMapTest, FullMapForgetsNothingAndRecovers) {
  SourceMap map(4, 1);
  Tuple found;
  for (uint16_t i = 0; i < 8; ++i) map.Insert(Flow(1, i), Flow(9, i), Id(i + 1U));
  for (uint16_t i = 0; i < 8; ++i) EXPECT_EQ(map.Find(Flow(1, i), {}, &found), i < 4) << i;
  for (uint16_t i = 0; i < 8; ++i) map.Erase(Flow(1, i), Id(i + 1U));
  for (uint16_t i = 0; i < 4; ++i) map.Insert(Flow(2, i), Flow(9, i), Id(i + 1U));
  for (uint16_t i = 0; i < 4; ++i) EXPECT_TRUE(map.Find(Flow(2, i), {}, &found));
  SourceMap none(0, 1);
  none.Insert(Flow(1, 1), Flow(9, 1), Id(1));
  none.Erase(Flow(1, 1), Id(1));
  EXPECT_FALSE(none.Find(Flow(1, 1), {}, &found));
}

// A resolver: everything from one port. Ending each connection must not walk through all of them.
TEST(SourceMapTest, ManyConnectionsOfOneSource) {
  constexpr uint32_t kMany = 200000;
  SourceMap map(kMany, 1);
  for (uint32_t i = 0; i < kMany; ++i) map.Insert(Flow(1, 53, i), Flow(9, 53, i), Id(i + 1));
  Tuple found;
  for (uint32_t i = 0; i < kMany; ++i) {
    ASSERT_TRUE(map.Find(Flow(1, 53), {}, &found));
    map.Erase(Flow(1, 53, i), Id(i + 1));
  }
  EXPECT_FALSE(map.Find(Flow(1, 53), {}, &found));
}

TEST(SourceMapTest, AgreesWithAModel) {
  net::Rng rng(3);
  SourceMap map(256, 2);
  struct Entry {
    uint16_t source;
    uint16_t translated;
  };
  std::map<uintptr_t, Entry> model;  // by owner
  for (int step = 0; step < 100000; ++step) {
    const uintptr_t owner = 1 + rng.Below(200);
    const auto at = model.find(owner);
    if (at == model.end()) {
      const Entry entry{static_cast<uint16_t>(rng.Below(20)), static_cast<uint16_t>(rng.Below(5))};
      map.Insert(Flow(1, entry.source), Flow(9, entry.translated), Id(owner));
      model[owner] = entry;
    } else {
      map.Erase(Flow(1, at->second.source), Id(owner));
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
    Tuple found;
    ASSERT_EQ(map.Find(Flow(1, source), range, &found), expected) << step;
  }
}

}  // namespace
}  // namespace postern::nat

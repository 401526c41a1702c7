#include "dataplane/net/flow_hash.h"

#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <vector>

#include "dataplane/net/random.h"

namespace postern::net {
namespace {

Tuple RandomTuple(Rng& rng, Family family, uint8_t protocol) {
  Tuple tuple;
  tuple.family = family;
  tuple.protocol = protocol;
  const size_t width = family == Family::kIpv4 ? 4 : 16;
  for (size_t i = 0; i < width; ++i) {
    tuple.source.bytes[i] = static_cast<uint8_t>(rng.Next());
    tuple.destination.bytes[i] = static_cast<uint8_t>(rng.Next());
  }
  if (HasPorts(protocol)) {
    tuple.source_key = static_cast<uint16_t>(rng.Next());
    tuple.destination_key = static_cast<uint16_t>(rng.Next());
  }
  return tuple;
}

// The hash as NIC data sheets define it: for every set bit of the input the 32 bits of the key that
// start there.
uint32_t ReferenceToeplitz(const std::vector<uint8_t>& input, const std::array<uint8_t, 40>& key) {
  const auto key_bit = [&](size_t i) { return (key[i / 8] >> (7 - i % 8)) & 1U; };
  uint32_t hash = 0;
  for (size_t bit = 0; bit < input.size() * 8; ++bit) {
    if (((input[bit / 8] >> (7 - bit % 8)) & 1) == 0) continue;
    uint32_t window = 0;
    for (size_t i = 0; i < 32; ++i) window = (window << 1) | key_bit(bit + i);
    hash ^= window;
  }
  return hash;
}

// The NIC's input: addresses, then ports where it hashes them.
std::vector<uint8_t> RssInput(const Tuple& tuple) {
  const long width = tuple.family == Family::kIpv4 ? 4 : 16;
  std::vector<uint8_t> out(tuple.source.bytes.begin(), tuple.source.bytes.begin() + width);
  out.insert(out.end(), tuple.destination.bytes.begin(), tuple.destination.bytes.begin() + width);
  if (tuple.protocol == kProtoTcp || tuple.protocol == kProtoUdp || tuple.protocol == kProtoSctp) {
    for (const uint16_t port : {tuple.source_key, tuple.destination_key}) {
      out.push_back(static_cast<uint8_t>(port >> 8));
      out.push_back(static_cast<uint8_t>(port));
    }
  }
  return out;
}

TEST(OwnerMapTest, HashIsTheNicsToeplitz) {
  Rng rng(1);
  for (int round = 0; round < 500; ++round) {
    const OwnerMap map(static_cast<uint16_t>(rng.Next()), 4);
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      for (const uint8_t protocol :
           {kProtoTcp, kProtoUdp, kProtoSctp, kProtoUdpLite, kProtoGre, kProtoEsp}) {
        const Tuple tuple = RandomTuple(rng, family, protocol);
        ASSERT_EQ(map.Hash(tuple), ReferenceToeplitz(RssInput(tuple), map.RssKey()))
            << ToString(tuple);
      }
    }
  }
}

TEST(OwnerMapTest, BothDirectionsHaveOneOwner) {
  Rng rng(2);
  for (unsigned workers = 1; workers <= 64; ++workers) {
    const OwnerMap map(static_cast<uint16_t>(rng.Next()), workers);
    for (int round = 0; round < 50; ++round) {
      const Tuple tuple = RandomTuple(rng, round % 2 ? Family::kIpv4 : Family::kIpv6, kProtoTcp);
      ASSERT_EQ(map.OwnerOf(tuple), map.OwnerOf(*Mirror(tuple)));
      ASSERT_LT(map.OwnerOf(tuple), workers);
    }
  }
}

TEST(OwnerMapTest, KeysHaveTheirTuplesOwner) {
  Rng rng(5);
  for (int i = 0; i < 1000; ++i) {
    const OwnerMap map(static_cast<uint16_t>(rng.Next()), 1 + rng.Below(64));
    Tuple tuple;
    tuple.source = IpAddress::V4(static_cast<uint32_t>(rng.Next()));
    tuple.destination = IpAddress::V4(static_cast<uint32_t>(rng.Next()));
    tuple.source_key = static_cast<uint16_t>(rng.Next());
    tuple.destination_key = static_cast<uint16_t>(rng.Next());
    tuple.protocol = rng.Below(2) == 0 ? kProtoTcp : kProtoUdp;
    ASSERT_EQ(map.OwnerOfPorts(Ipv4Key(tuple)), map.OwnerOf(tuple));
  }
}

TEST(OwnerMapTest, QueryIdsHaveOneOwnerInBothDirections) {
  const OwnerMap map(0x1234, 8);
  Tuple ping;
  ping.source = IpAddress::V4(0xc0000201);
  ping.destination = IpAddress::V4(0xc6336402);
  ping.protocol = kProtoIcmp;
  std::set<unsigned> owners;
  for (unsigned id = 0; id < 65536; ++id) {
    ping.source_key = static_cast<uint16_t>(id);
    ping.destination_key = kIcmpEchoRequest << 8;
    ASSERT_EQ(map.OwnerOf(ping), map.OwnerOf(*Mirror(ping)));
    owners.insert(map.OwnerOf(ping));
  }
  EXPECT_EQ(owners.size(), 8U);
}

TEST(OwnerMapTest, FoldMovesByThePortsXor) {
  Rng rng(3);
  for (int round = 0; round < 1000; ++round) {
    Tuple tuple = RandomTuple(rng, Family::kIpv6, kProtoUdp);
    const uint16_t before = OwnerMap::Fold(tuple);
    const uint16_t old_port = tuple.source_key;
    tuple.source_key = static_cast<uint16_t>(rng.Next());
    ASSERT_EQ(OwnerMap::Fold(tuple), before ^ old_port ^ tuple.source_key);
  }
}

// A seed such as 0xffff or 0x0101 would leave workers without a share.
TEST(OwnerMapTest, EverySeedSpreadsPortsEvenly) {
  for (unsigned seed = 0; seed < 65536; seed += 251) {
    for (const unsigned workers : {2U, 3U, 8U}) {
      const OwnerMap map(static_cast<uint16_t>(seed), workers);
      std::vector<unsigned> share(workers);
      for (unsigned word = 0; word < 65536; ++word) {
        ++share[map.OwnerOfFold(static_cast<uint16_t>(word))];
      }
      for (const unsigned count : share) {
        // 128 table entries over 3 workers: 43, 43, 42.
        ASSERT_NEAR(count, 65536.0 / workers, 65536.0 / 128) << seed << " " << workers;
      }
    }
  }
}

TEST(OwnerMapTest, SaysWhichProtocolsDependOnTheSourceKey) {
  for (const uint8_t protocol : {kProtoTcp, kProtoUdp, kProtoSctp, kProtoIcmp, kProtoIcmpv6}) {
    Tuple tuple;
    tuple.protocol = protocol;
    tuple.destination_key = kIcmpEchoRequest << 8;
    const uint16_t before = OwnerMap::Fold(tuple);
    tuple.source_key = 1;
    EXPECT_NE(OwnerMap::Fold(tuple), before);
    EXPECT_TRUE(OwnerMap::DependsOnSourceKey(protocol));
  }
  EXPECT_FALSE(OwnerMap::DependsOnSourceKey(kProtoGre));
  EXPECT_FALSE(OwnerMap::DependsOnSourceKey(kProtoUdpLite));
}

class FlowHasherTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !__builtin_cpu_supports("aes")) GTEST_SKIP() << "no AES-NI";
  }
};

TEST_P(FlowHasherTest, DependsOnEveryBitAndOnTheKey) {
  Rng rng(4);
  std::array<uint8_t, 16> key{};
  for (auto& byte : key) byte = static_cast<uint8_t>(rng.Next());
  const FlowHasher hasher(key, GetParam());
  Tuple tuple = RandomTuple(rng, Family::kIpv6, kProtoTcp);
  const uint32_t hash = hasher.Hash(tuple);
  EXPECT_EQ(hasher.Hash(tuple), hash);
  auto* bytes = reinterpret_cast<uint8_t*>(&tuple);
  for (size_t bit = 0; bit < sizeof(Tuple) * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    const int changed = std::popcount(hasher.Hash(tuple) ^ hash);
    EXPECT_GT(changed, 3) << bit;
    EXPECT_LT(changed, 29) << bit;
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
  }
  for (size_t bit = 0; bit < 128; ++bit) {
    auto other = key;
    other[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    EXPECT_NE(FlowHasher(other, GetParam()).Hash(tuple), hash) << bit;
  }
}

// The authors' test vector for 40 bytes that count up from 0 under a key that counts up from 0.
TEST(SipHashTest, AgreesWithThePublishedVector) {
  std::array<uint8_t, 16> key;
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i);
  Tuple tuple;
  auto* bytes = reinterpret_cast<uint8_t*>(&tuple);
  for (size_t i = 0; i < sizeof(Tuple); ++i) bytes[i] = static_cast<uint8_t>(i);
  EXPECT_EQ(FlowHasher(key, false).Hash(tuple), static_cast<uint32_t>(0x0e3ea96b5304a7d0));
}

TEST_P(FlowHasherTest, BurstEqualsSingle) {
  Rng rng(5);
  const FlowHasher hasher({1, 2, 3}, GetParam());
  std::vector<Tuple> tuples;
  for (int i = 0; i < 64; ++i) tuples.push_back(RandomTuple(rng, Family::kIpv4, kProtoUdp));
  for (size_t count = 0; count <= tuples.size(); ++count) {
    std::vector<uint32_t> hashes(count);
    hasher.HashBurst(std::span(tuples).first(count), hashes);
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(hashes[i], hasher.Hash(tuples[i]));
  }
}

TEST_P(FlowHasherTest, AnIpv4TuplesHashIsThatOfItsKey) {
  Rng rng(6);
  const FlowHasher hasher({4, 5, 6}, GetParam());
  for (int i = 0; i < 64; ++i) {
    Tuple tuple = RandomTuple(rng, Family::kIpv4, kProtoUdp);
    tuple.zone = static_cast<uint16_t>(rng.Next());
    const std::array keys = {Ipv4Key(tuple)};
    std::array<uint32_t, 1> hashes;
    hasher.HashBurst(keys, hashes);
    EXPECT_EQ(hasher.Hash(keys[0]), hasher.Hash(tuple));
    EXPECT_EQ(hashes[0], hasher.Hash(tuple));
  }
}

// Ports and addresses that count upwards are what a flood looks like.
TEST_P(FlowHasherTest, CountingTuplesCollideNoMoreThanChance) {
  const FlowHasher hasher({9, 8, 7}, GetParam());
  Tuple tuple;
  tuple.protocol = kProtoTcp;
  tuple.destination = IpAddress::V4(0xcb007102);
  tuple.destination_key = 443;
  std::vector<unsigned> buckets(65536);
  for (uint32_t host = 0; host < 16; ++host) {
    for (uint32_t port = 1024; port < 1024 + 16384; ++port) {
      tuple.source = IpAddress::V4(0xc0000200 + host);
      tuple.source_key = static_cast<uint16_t>(port);
      ++buckets[hasher.Hash(tuple) & 0xffff];
    }
  }
  // 4 a bucket on average: Poisson leaves more than 24 with a probability of 1e-7 for all.
  for (const unsigned count : buckets) ASSERT_LT(count, 25U);
}

INSTANTIATE_TEST_SUITE_P(Aes, FlowHasherTest, testing::Values(true));
INSTANTIATE_TEST_SUITE_P(SipHash, FlowHasherTest, testing::Values(false));

}  // namespace
}  // namespace postern::net

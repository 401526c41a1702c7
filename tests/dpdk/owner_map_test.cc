// OwnerMap is the function that a NIC computes.
#include <gtest/gtest.h>
#include <rte_thash.h>

#include <array>
#include <cstring>

#include "dataplane/net/flow_hash.h"
#include "dataplane/net/random.h"

namespace postern::net {
namespace {

// What RSS hashes, as words in host order: addresses, then ports for TCP, UDP and SCTP.
uint32_t NicHash(const OwnerMap& owners, const Tuple& tuple) {
  const bool ports =
      tuple.protocol == kProtoTcp || tuple.protocol == kProtoUdp || tuple.protocol == kProtoSctp;
  const int words = tuple.family == Family::kIpv4 ? 1 : 4;
  std::array<uint32_t, 9> input{};
  uint32_t size = 0;
  for (int i = 0; i < words; ++i) input[size++] = tuple.source.Word(i);
  for (int i = 0; i < words; ++i) input[size++] = tuple.destination.Word(i);
  if (ports) input[size++] = uint32_t{tuple.source_key} << 16 | tuple.destination_key;
  const std::array<uint8_t, 40> key = owners.RssKey();
  return rte_softrss(input.data(), size, key.data());
}

TEST(OwnerMap, IsTheHashOfTheNic) {
  Rng random(3);
  for (int i = 0; i < 5000; ++i) {
    const OwnerMap owners(static_cast<uint16_t>(random.Next()), 1 + random.Below(16));
    Tuple tuple;
    tuple.family = random.Below(2) == 0 ? Family::kIpv4 : Family::kIpv6;
    for (size_t b = 0; b < (tuple.family == Family::kIpv4 ? 4U : 16U); ++b) {
      tuple.source.bytes[b] = static_cast<uint8_t>(random.Next());
      tuple.destination.bytes[b] = static_cast<uint8_t>(random.Next());
    }
    constexpr std::array<uint8_t, 4> kProtocols = {kProtoTcp, kProtoUdp, kProtoSctp, kProtoGre};
    tuple.protocol = kProtocols[random.Below(kProtocols.size())];
    tuple.source_key = static_cast<uint16_t>(random.Next());
    tuple.destination_key = static_cast<uint16_t>(random.Next());
    const uint32_t hash = NicHash(owners, tuple);
    ASSERT_EQ(owners.Hash(tuple), hash);
    // The redirection table: 128 buckets, round-robin.
    ASSERT_EQ(owners.OwnerOf(tuple), hash % 128 % owners.workers());
  }
}

}  // namespace
}  // namespace postern::net

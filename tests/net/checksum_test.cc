#include "dataplane/net/checksum.h"

#include <gtest/gtest.h>

#include <vector>

#include "dataplane/net/random.h"

namespace postern::net {
namespace {

// RFC 1071 1, word by word.
uint16_t ReferenceSum(const std::vector<uint8_t>& bytes, uint32_t initial) {
  uint64_t sum = initial;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<uint64_t>(bytes[i]) << 8;
    if (i + 1 < bytes.size()) sum += bytes[i + 1];
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

TEST(OnesSumTest, AgreesWithTheReferenceAtEveryLengthAndAlignment) {
  Rng rng(1);
  for (size_t length = 0; length < 200; ++length) {
    for (size_t shift = 0; shift < 8; ++shift) {
      std::vector<uint8_t> bytes(shift + length);
      for (auto& byte : bytes) byte = static_cast<uint8_t>(rng.Next());
      const auto initial = static_cast<uint32_t>(rng.Next());
      const std::vector<uint8_t> part(bytes.begin() + static_cast<long>(shift), bytes.end());
      ASSERT_EQ(OnesSum(bytes.data() + shift, length, initial), ReferenceSum(part, initial))
          << length << " " << shift;
    }
  }
}

TEST(OnesSumTest, CarriesAllTheWay) {
  const std::vector<uint8_t> bytes(65535, 0xff);
  EXPECT_EQ(OnesSum(bytes.data(), 65534), 0xffff);
  EXPECT_EQ(OnesSum(bytes.data(), 65535), ReferenceSum(bytes, 0));
}

TEST(FoldRawTest, AddsAllHalvesWithTheirCarries) {
  Rng rng(5);
  const auto fold = [](uint64_t sum) {
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(sum);
  };
  for (int round = 0; round < 20000; ++round) {
    // Words that are nearly all ones or zeros carry most.
    uint64_t sum = rng.Next() >> rng.Below(64);
    if (round % 3 == 0) sum = ~uint64_t{0} - (rng.Next() >> rng.Below(64));
    ASSERT_EQ(FoldRaw(sum), fold(sum)) << sum;
  }
  for (const uint64_t sum : {uint64_t{0}, uint64_t{0xffff}, uint64_t{0x10000}, uint64_t{1} << 32,
                             ~uint64_t{0}, uint64_t{0xffffffff}, uint64_t{0x1fffffffe}}) {
    EXPECT_EQ(FoldRaw(sum), fold(sum)) << sum;
  }
}

TEST(UpdateChecksumTest, EqualsFullRecomputation) {
  Rng rng(2);
  for (int round = 0; round < 20000; ++round) {
    std::vector<uint8_t> bytes(20);
    for (auto& byte : bytes) byte = static_cast<uint8_t>(rng.Next());
    const uint16_t before = InternetChecksum(bytes.data(), bytes.size());
    const auto get32 = [&](size_t at) { return reinterpret_cast<const Be32*>(&bytes[at])->Host(); };
    const size_t at = 4 * rng.Below(5);
    const uint32_t old_value = get32(at);
    // Extremes more often than chance would give them.
    const uint32_t kind = rng.Below(4);
    const uint32_t value = kind == 0   ? 0
                           : kind == 1 ? 0xffffffff
                                       : static_cast<uint32_t>(rng.Next());
    *reinterpret_cast<Be32*>(&bytes[at]) = value;
    const uint16_t want = InternetChecksum(bytes.data(), bytes.size());
    const uint16_t got = UpdateChecksum32(before, old_value, value);
    // 0 and 0xffff are the same number in one's complement; a sum of zero is only reached when
    // every byte is zero.
    if (OnesSum(bytes.data(), bytes.size()) != 0) {
      ASSERT_EQ(got, want) << round;
    }
  }
}

}  // namespace
}  // namespace postern::net

#include "dataplane/pipeline/two_places.h"

#include <gtest/gtest.h>

namespace postern::pipeline {
namespace {

// All of them want the same place.
struct Key {
  uint32_t number = 0;
  friend bool operator==(const Key&, const Key&) = default;
  static constexpr uint64_t Mixed() { return uint64_t{5} << 61; }
};

TEST(TwoPlaces, ANewKeyPushesOutTheSecondPlace) {
  TwoPlaces<Key, int, 3> map;
  EXPECT_EQ(map.Find({1}), nullptr);
  for (const uint32_t number : {1U, 2U}) map.Set({number}, static_cast<int>(10 * number));
  for (const uint32_t number : {1U, 2U}) {
    ASSERT_NE(map.Find({number}), nullptr);
    EXPECT_EQ(*map.Find({number}), static_cast<int>(10 * number));
  }
  // The first place goes to the new one, and who had it moves to the second.
  map.Set({3}, 30);
  EXPECT_EQ(*map.Find({3}), 30);
  EXPECT_EQ(*map.Find({1}), 10);
  EXPECT_EQ(map.Find({2}), nullptr);
  // A known one is changed where it is.
  map.Set({1}, 11);
  EXPECT_EQ(*map.Find({1}), 11);
  EXPECT_EQ(*map.Find({3}), 30);
  map.Clear();
  EXPECT_EQ(map.Find({1}), nullptr);
  EXPECT_EQ(map.Find({3}), nullptr);
}

}  // namespace
}  // namespace postern::pipeline

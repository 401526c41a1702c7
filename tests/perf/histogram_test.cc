#include "perf/histogram.h"

#include <gtest/gtest.h>

namespace postern::perf {
namespace {

TEST(Histogram, SaysNothingOfNothing) {
  const Histogram histogram;
  EXPECT_EQ(histogram.total(), 0U);
  EXPECT_EQ(histogram.Quantile(0.5), 0U);
  EXPECT_EQ(histogram.max(), 0U);
}

TEST(Histogram, KeepsSmallValuesExactly) {
  Histogram histogram;
  for (uint64_t value = 0; value < 16; ++value) histogram.Add(value);
  EXPECT_EQ(histogram.Quantile(1.0 / 16), 0U);
  EXPECT_EQ(histogram.Quantile(0.5), 7U);
  EXPECT_EQ(histogram.Quantile(1), 15U);
}

TEST(Histogram, IsWrongByASixteenthAtMost) {
  for (uint64_t value : {17ULL, 100ULL, 1000ULL, 123'456ULL, 1ULL << 33, (1ULL << 40) - 1}) {
    Histogram histogram;
    histogram.Add(value);
    histogram.Add(2 * value);
    const uint64_t median = histogram.Quantile(0.5);
    EXPECT_GE(median, value);
    EXPECT_LE(median, value + value / 16) << value;
    EXPECT_EQ(histogram.Quantile(1), 2 * value);
  }
}

TEST(Histogram, OrdersTheLargestValuesToo) {
  Histogram histogram;
  histogram.Add(UINT64_MAX);
  histogram.Add(1);
  EXPECT_EQ(histogram.Quantile(0.5), 1U);
  EXPECT_EQ(histogram.Quantile(1), UINT64_MAX);
}

TEST(Histogram, FindsTheRareOne) {
  Histogram histogram;
  for (int i = 0; i < 999; ++i) histogram.Add(10);
  histogram.Add(5000);
  EXPECT_EQ(histogram.Quantile(0.99), 10U);
  EXPECT_EQ(histogram.Quantile(0.999), 10U);
  EXPECT_EQ(histogram.Quantile(0.9999), 5000U);
}

TEST(Histogram, Adds) {
  Histogram one;
  Histogram other;
  one.Add(1);
  other.Add(3);
  other.Add(9);
  one += other;
  EXPECT_EQ(one.total(), 3U);
  EXPECT_EQ(one.Quantile(0.5), 3U);
  EXPECT_EQ(one.max(), 9U);
}

}  // namespace
}  // namespace postern::perf

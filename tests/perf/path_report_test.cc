#include "perf/path_report.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "perf/path_bed.h"

namespace postern::perf {
namespace {

PathMeasurement Measured(std::initializer_list<double> values) {
  PathMeasurement measurement{{.flows = 16'000}, {}, {}};
  for (const double value : values) measurement.rounds.push_back({{"mpps", value}});
  return measurement;
}

TEST(PathReport, TakesTheMedianOfTheRounds) {
  EXPECT_EQ(MedianOf(Measured({}), "mpps"), 0);
  EXPECT_EQ(MedianOf(Measured({3}), "mpps"), 3);
  EXPECT_EQ(MedianOf(Measured({9, 1, 2}), "mpps"), 2);
  EXPECT_EQ(MedianOf(Measured({9, 1, 2, 4}), "mpps"), 3);
  EXPECT_EQ(LeastOf(Measured({9, 1, 2, 4}), "mpps"), 1);
  EXPECT_EQ(MostOf(Measured({9, 1, 2, 4}), "mpps"), 9);
  EXPECT_EQ(MedianOf(Measured({9, 1}), "no such figure"), 0);
}

TEST(PathReport, SaysWhatFailed) {
  PathMeasurement failed{{.flows = 16'000}, {}, {"no traffic passes"}};
  std::ostringstream out;
  PrintPaths(out, {failed});
  EXPECT_NE(out.str().find("failed: no traffic passes"), std::string::npos);
  const auto json = PathsToJson({failed, Measured({1, 5, 2})});
  EXPECT_EQ(json[0]["errors"][0], "no traffic passes");
  EXPECT_EQ(json[1]["median"]["mpps"], 2);
  EXPECT_EQ(json[1]["rounds"].size(), 3U);
}

TEST(PathScenario, NamesAreUnique) {
  std::set<std::string> names;
  for (const PathScenario& scenario : AllPaths()) {
    EXPECT_TRUE(names.insert(scenario.Name()).second) << scenario.Name();
  }
}

TEST(Window, CountsASecondOfEachWorkersOwnTime) {
  Window window;
  window.cpu = {2, 0.5};
  window.moved = {200, 300};
  EXPECT_EQ(window.sent(), 500U);
  EXPECT_DOUBLE_EQ(window.Rate(window.moved), 100 + 600);
  window.cpu[1] = 0;
  EXPECT_DOUBLE_EQ(window.Rate(window.moved), 100);
}

}  // namespace
}  // namespace postern::perf

// Figures of several rounds of whole paths as tables and JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "perf/path_scenario.h"

namespace postern::perf {

struct PathMeasurement {
  PathScenario scenario;
  std::vector<nlohmann::ordered_json> rounds;  // RunPath's; all of the same names
  std::vector<std::string> errors;
};

// Median of one figure over the rounds (the mean of the middle two where their number is even); 0
// where no round has it.
double MedianOf(const PathMeasurement& measurement, const std::string& figure);
double LeastOf(const PathMeasurement& measurement, const std::string& figure);
double MostOf(const PathMeasurement& measurement, const std::string& figure);

void PrintPaths(std::ostream& out, const std::vector<PathMeasurement>& measurements);
nlohmann::ordered_json PathsToJson(const std::vector<PathMeasurement>& measurements);

}  // namespace postern::perf

// postern-bench's figures as a table for people and as JSON for programs.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "perf/scenario.h"

namespace postern::perf {

struct Measurement {
  Scenario scenario;
  std::vector<Round> rounds;
  std::vector<uint32_t> bursts;  // cycles of every burst in the pipeline
  uint64_t longest_tick = 0;
  double bytes_a_connection = 0;
  uint64_t lost = 0;
  Expiry expiry;  // connections 0: not measured
};

// `hertz` of the time stamp counter.
void PrintTables(std::ostream& out, const std::vector<Measurement>& measurements, double hertz);
std::string ToJson(const std::vector<Measurement>& measurements, double hertz);

}  // namespace postern::perf

// What few connections carry beside their Connection: allocated by the worker's
// pool when first needed, freed with the connection.
#pragma once

#include <array>
#include <cstdint>

#include "ctrack/connection.h"

namespace postern::ctrack {

struct Extension {
  // nf_conntrack_acct was on when the connection began: by Direction.
  bool counted = false;
  std::array<uint64_t, 2> packets{};
  std::array<uint64_t, 2> bytes{};
  // nf_conntrack_timestamp: nanoseconds of the worker's clock.
  Time start = 0;
  uint32_t next_free = 0;  // the pool's
};

}  // namespace postern::ctrack

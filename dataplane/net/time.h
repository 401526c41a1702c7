// Time as an argument: nothing below the worker reads a clock.
#pragma once

#include <cstdint>

namespace postern::net {

// Nanoseconds. In the daemon the epoch is CLOCK_MONOTONIC's, in a replay the
// captures' own. Durations have the same unit.
using Time = uint64_t;

inline constexpr Time kMicrosecond = 1'000;
inline constexpr Time kMillisecond = 1'000'000;
inline constexpr Time kSecond = 1'000'000'000;

}  // namespace postern::net

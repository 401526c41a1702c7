// "did you mean …?": the nearest of some names to a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace postern::control {

// The name nearest to `typed` by edit distance (a swap of neighbours counts once), or "" when none
// is near enough to be meant: at most a third of the letters differ, and at least one may.
std::string Nearest(std::string_view typed, std::span<const std::string_view> names);

// "; did you mean 'X'?" or "".
std::string Suggestion(std::string_view typed, std::span<const std::string_view> names);

}  // namespace postern::control

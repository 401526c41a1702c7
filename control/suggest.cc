#include "control/suggest.h"

#include <algorithm>
#include <vector>

namespace postern::control {
namespace {

// Optimal string alignment distance.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string Nearest(std::string_view typed, std::span<const std::string_view> names) {
  // Nobody types a name of this length by mistake; the table would only cost time.
  constexpr size_t kLongest = 128;
  if (typed.empty() || typed.size() > kLongest) return "";
  size_t best_distance = std::max<size_t>(1, typed.size() / 3) + 1;
  std::string best;
  for (const std::string_view name : names) {
    const size_t distance = Distance(typed, name);
    if (distance < best_distance) {
      best_distance = distance;
      best = name;
    }
  }
  return best;
}

std::string Suggestion(std::string_view typed, std::span<const std::string_view> names) {
  const std::string nearest = Nearest(typed, names);
  return nearest.empty() ? "" : "; did you mean '" + nearest + "'?";
}

}  // namespace postern::control

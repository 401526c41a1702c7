#include "dataplane/rules/matches/limit.h"

#include <array>

namespace postern::rules {

namespace {

// XT_LIMIT_SCALE: `average` counts in units of 1/10000 second a packet.
constexpr uint32_t kScale = 10000;
// What nf_tables takes for a burst of 0.
constexpr uint32_t kDefaultBurst = 5;

struct Rate {
  uint64_t packets;
  uint64_t seconds;
};

// The unit that iptables 1.8.9 chooses: the largest at which the division still comes out better
// than the next smaller one's would.
Rate RateOf(uint32_t average) {
  constexpr std::array<uint32_t, 4> kUnits = {kScale * 24 * 60 * 60, kScale * 60 * 60, kScale * 60,
                                              kScale};
  size_t i = 1;
  while (i < kUnits.size() && average <= kUnits[i] && kUnits[i] / average >= kUnits[i] % average) {
    ++i;
  }
  const uint32_t unit = kUnits[i - 1];
  const uint32_t packets = unit / average;
  return {packets == 0 ? 1 : packets, unit / kScale};
}

}  // namespace

LimitState::LimitState(const LimitMatch& match) {
  const Rate rate = RateOf(match.average == 0 ? 1 : match.average);
  cost_ = static_cast<int64_t>(rate.seconds * net::kSecond / rate.packets);
  capacity_ = cost_ * (match.burst == 0 ? kDefaultBurst : match.burst);
}

}  // namespace postern::rules

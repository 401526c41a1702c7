// -m limit: a token bucket's rate and burst.
#include <cstdlib>
#include <limits>

#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::LimitMatch;

enum : uint8_t { kLimit, kBurst };
constexpr OptionSpec kOptions[] = {
    {"limit", kLimit, OptionType::kString},
    {"limit-burst", kBurst, OptionType::kUint32, 0, 0, 10000},
};

constexpr uint32_t kDefaultBurst = 5;
constexpr uint32_t kScale = 10000;  // the kernel's XT_LIMIT_SCALE: one packet a second
struct Unit {
  std::string_view long_name;
  std::string_view name;
  uint32_t seconds;
};
constexpr Unit kUnits[] = {
    {"day", "day", 86400}, {"hour", "hour", 3600}, {"minute", "min", 60}, {"second", "sec", 1}};

struct Rate {
  uint32_t packets;
  const Unit* unit;
};

// The largest unit that holds the rate without losing too much: the original's rule.
Rate RateOf(uint32_t average) {
  size_t i = 1;
  for (; i < std::size(kUnits); ++i) {
    const uint32_t multiple = kScale * kUnits[i].seconds;
    if (average > multiple || multiple / average < multiple % average) break;
  }
  return {kScale * kUnits[i - 1].seconds / average, &kUnits[i - 1]};
}

std::string RateText(uint32_t average) {
  if (average == 0) return "inf";
  const Rate rate = RateOf(average);
  return fmt::format("{}/{}", rate.packets, rate.unit->name);
}

// 10000 / packets a second; nothing for text that is no rate.
std::optional<uint32_t> ParseRate(const std::string& text) {
  uint32_t seconds = 1;
  if (const size_t slash = text.find('/'); slash != text.npos) {
    const std::string_view unit = std::string_view(text).substr(slash + 1);
    if (unit.empty()) return std::nullopt;
    seconds = 0;
    for (const Unit& known : kUnits) {
      if (StartsIgnoringCase(known.long_name, unit)) seconds = known.seconds;
    }
    if (seconds == 0) return std::nullopt;
  }
  const auto packets = static_cast<uint32_t>(std::strtol(text.c_str(), nullptr, 10));
  if (packets == 0) return std::nullopt;
  const uint32_t average = kScale * seconds / packets;
  if (average == 0) Fail("Rate too fast \"{}\"", text);
  return average;
}

// The original hands the rate to the kernel as whole packets a unit of time and reads it back so.
uint32_t Stored(uint32_t average) {
  const Rate rate = RateOf(average);
  return static_cast<uint32_t>(uint64_t{kScale} * rate.unit->seconds / rate.packets);
}

class LimitExtension : public MatchOf<LimitMatch> {
 public:
  LimitExtension() : MatchOf("limit") {}
  std::span<const OptionSpec> options() const override { return kOptions; }

 protected:
  LimitMatch InitStruct(Family) const override { return {kScale * 3600 / 3, kDefaultBurst}; }

  void ParseStruct(const OptionCall& call, LimitMatch* match) const override {
    if (call.option->id == kBurst) {
      // The kernel's own default stands in for 0.
      match->burst = call.number == 0 ? kDefaultBurst : static_cast<uint32_t>(call.number);
      return;
    }
    const auto average = ParseRate(call.argument);
    if (!average) Fail("bad rate \"{}\"'", call.argument);
    match->average = Stored(*average);
  }

  void SaveStruct(const PrintContext&, const LimitMatch& match, std::string* out) const override {
    *out += " --limit " + RateText(match.average);
    if (match.burst != kDefaultBurst) *out += fmt::format(" --limit-burst {}", match.burst);
  }

  void ListStruct(const PrintContext&, const LimitMatch& match, std::string* out) const override {
    *out += fmt::format(" limit: avg {} burst {}", RateText(match.average), match.burst);
  }
};

}  // namespace

const MatchExtension& LimitMatchExtension() {
  static const LimitExtension kExtension;
  return kExtension;
}

}  // namespace postern::control::iptables

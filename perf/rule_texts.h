// The rule sets of the benchmarks, as iptables-save would write them.
#pragma once

#include <cstdint>
#include <string>

namespace postern::perf {

enum class Nat : uint8_t { kNone, kMasquerade, kDnat };

// A stateful edge rule set with `rules` rules in the filter table, at least 10: with ten it is a
// usual one; the others stand in FORWARD between the rules for known connections and those that let
// new ones pass, and match no packet of the benchmarks (addresses and ports of someone else).
// `variant` changes what the others match, so that two sets of one size differ in them all.
std::string EdgeRules(unsigned rules, Nat nat, unsigned variant = 0);
// The same for IPv6, without DNAT.
std::string EdgeRules6(unsigned rules, Nat nat);

}  // namespace postern::perf

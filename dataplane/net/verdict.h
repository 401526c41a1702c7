// Verdicts, hooks and drop reasons. The default is to drop.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace postern::net {

enum class Verdict : uint8_t { kDrop, kAccept, kReject, kStolen };

enum class Hook : uint8_t { kPrerouting, kInput, kForward, kOutput, kPostrouting };
inline constexpr int kHookCount = 5;

enum class Table : uint8_t { kRaw, kMangle, kNat, kFilter };
inline constexpr int kTableCount = 4;

constexpr std::string_view ToString(Verdict verdict) {
  constexpr std::array<std::string_view, 4> kNames = {"drop", "accept", "reject", "stolen"};
  return kNames[static_cast<size_t>(verdict)];
}
constexpr std::string_view ToString(Hook hook) {
  constexpr std::array<std::string_view, 5> kNames = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT",
                                                      "POSTROUTING"};
  return kNames[static_cast<size_t>(hook)];
}
constexpr std::string_view ToString(Table table) {
  constexpr std::array<std::string_view, 4> kNames = {"raw", "mangle", "nat", "filter"};
  return kNames[static_cast<size_t>(table)];
}

// Every way to lose a packet. The name is the reason's label in metrics,
// in `postern status --json` and in replay events.
#define POSTERN_DROP_REASONS(X)                                                    \
  X(kNone, "none")                                                                 \
  /* link */                                                                       \
  X(kFrameTooShort, "frame_too_short")                                             \
  X(kVlanTagged, "vlan_tagged")                                                    \
  X(kUnknownEtherType, "unknown_ethertype")                                        \
  X(kNotForUs, "not_for_us")                                                       \
  X(kArpMalformed, "arp_malformed")                                                \
  /* network header */                                                             \
  X(kIpHeaderInvalid, "ip_header_invalid")                                         \
  X(kIpChecksum, "ip_checksum")                                                    \
  X(kIpTruncated, "ip_truncated")                                                  \
  X(kIpv6HeaderChain, "ipv6_header_chain")                                         \
  X(kMartianSource, "martian_source")                                              \
  X(kMartianDestination, "martian_destination")                                    \
  X(kSourceRoute, "source_route")                                                  \
  X(kReversePath, "reverse_path")                                                  \
  /* fragments */                                                                  \
  X(kFragmentInvalid, "fragment_invalid")                                          \
  X(kFragmentOverlap, "fragment_overlap")                                          \
  X(kFragmentTimeout, "fragment_timeout")                                          \
  X(kFragmentMemory, "fragment_memory")                                            \
  /* rules */                                                                      \
  X(kRuleDrop, "rule_drop")                                                        \
  X(kPolicyDrop, "policy_drop")                                                    \
  X(kRuleReject, "rule_reject")                                                    \
  X(kMatchHotdrop, "match_hotdrop")                                                \
  /* conntrack and NAT */                                                          \
  X(kConntrackTableFull, "conntrack_table_full")                                   \
  X(kConntrackDrop, "conntrack_drop")                                              \
  X(kConntrackClash, "conntrack_clash")                                            \
  X(kNatExhausted, "nat_exhausted")                                                \
  X(kNatFailed, "nat_failed")                                                      \
  /* forwarding */                                                                 \
  X(kForwardingDisabled, "forwarding_disabled")                                    \
  X(kNoRoute, "no_route")                                                          \
  X(kTtlExpired, "ttl_expired")                                                    \
  X(kPacketTooBig, "packet_too_big")                                               \
  X(kNeighborUnresolved, "neighbor_unresolved")                                    \
  X(kNeighborQueueFull, "neighbor_queue_full")                                     \
  X(kMulticast, "multicast")                                                       \
  X(kBroadcast, "broadcast")                                                       \
  X(kNoHostInterface, "no_host_interface")                                         \
  /* machine */                                                                    \
  X(kNoBuffer, "no_buffer")                                                        \
  X(kTxFull, "tx_full")                                                            \
  X(kLinkDown, "link_down")                                                        \
  X(kHandoffFull, "handoff_full")                                                  \
  X(kHostQueueFull, "host_queue_full")                                             \
  X(kNoRules, "no_rules")

enum class DropReason : uint8_t {
#define POSTERN_ENUM(name, label) name,
  POSTERN_DROP_REASONS(POSTERN_ENUM)
#undef POSTERN_ENUM
      kCount
};
inline constexpr size_t kDropReasonCount = static_cast<size_t>(DropReason::kCount);

constexpr std::string_view ToString(DropReason reason) {
  constexpr std::array<std::string_view, kDropReasonCount> kNames = {
#define POSTERN_NAME(name, label) label,
      POSTERN_DROP_REASONS(POSTERN_NAME)
#undef POSTERN_NAME
  };
  return kNames[static_cast<size_t>(reason)];
}

}  // namespace postern::net

// The compiled form of a rule set, private to this room.
//
// All rules of both families and all tables stand in one array; a rule's index is its RuleId. A
// chain is a stretch of it; a built-in chain's policy has the index after its last rule (that
// element is never evaluated). Jumps hold the number of their chain, so a walk
// follows no names and no pointers but those of fat match data in the model, of which the rule set
// has its own copy. A long chain has an index of its rules (classify/chain_index.h).
//
// Immutable after Compile(); every worker reads it.
#pragma once

#include <array>
#include <cstdint>
#include <variant>
#include <vector>

#include "dataplane/rules/classify/chain_index.h"
#include "dataplane/rules/classify/tuple_classes.h"
#include "dataplane/rules/ip_part.h"
#include "dataplane/rules/matches/connlimit.h"
#include "dataplane/rules/matches/conntrack.h"
#include "dataplane/rules/matches/icmp.h"
#include "dataplane/rules/matches/limit.h"
#include "dataplane/rules/matches/mark.h"
#include "dataplane/rules/matches/multiport.h"
#include "dataplane/rules/matches/recent.h"
#include "dataplane/rules/matches/tcp_udp.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

// -m comment is gone here: it matches always.
using CompiledMatch =
    std::variant<TcpMatch, UdpMatch, CompiledIcmp, CompiledMultiport, CompiledConntrack, StateMatch,
                 MarkMatch, CompiledLimit, CompiledRecent, CompiledConnlimit>;

// A stretch of the rule array.
struct ChainRange {
  uint32_t first = 0;
  uint32_t last = 0;  // one behind
  // The first of them whose answer depends on addresses or ports; `last` if there is none.
  uint32_t first_of_tuple = 0;
  // Which of its rules can match a packet; null: every rule is looked at.
  std::shared_ptr<const ChainIndex> index;
};

enum class TargetKind : uint8_t {
  kNone,
  kAccept,
  kDrop,
  kReturn,
  kJump,
  kGoto,
  kReject,
  kLog,
  kMark,
  kSnat,
  kDnat,
  kMasquerade,
  kRedirect,
  kNotrack,
};

struct CompiledTarget {
  struct Mark {
    uint32_t value;
    uint32_t mask;
  };
  TargetKind kind = TargetKind::kNone;
  RejectWith reject = RejectWith::kIcmpPortUnreachable;
  union {
    uint32_t chain;        // kJump, kGoto: number in its table
    Mark mark;             // kMark
    const NatRange* nat;   // kSnat … kRedirect
    const LogTarget* log;  // kLog
  };
  CompiledTarget() : nat(nullptr) {}
};

struct CompiledRule {
  IpPart ip;
  uint32_t first_match = 0;
  uint32_t match_count = 0;
  CompiledTarget target;
};

struct BaseChain {
  bool exists = false;
  uint32_t chain = 0;  // number in its table
  RuleId policy = kNoRule;
  net::Verdict verdict = net::Verdict::kAccept;
};

// Chains that may be entered at a time by jumps. (nf_tables refuses more than 16, the older
// ip_tables as many as there are chains.)
inline constexpr size_t kMaxJumpDepth = 64;

inline constexpr size_t kFamilyCount = 2;
constexpr size_t FamilyIndex(Family family) { return family == Family::kIpv4 ? 0 : 1; }

struct RuleSet::Compiled {
  Model model;
  Options options;
  std::vector<CompiledRule> rules;
  std::vector<CompiledMatch> matches;
  std::array<std::array<std::array<BaseChain, net::kHookCount>, net::kTableCount>, kFamilyCount>
      base;
  // By RuleId, and by family, table and chain.
  std::vector<RulePlace> places;
  std::array<std::array<std::vector<ChainRange>, net::kTableCount>, kFamilyCount> chains;
  std::array<TupleClasses, kFamilyCount> tuple_classes;
  std::vector<ConnlimitState*> connlimits;  // of all rules; the model's states own them
  // Only where Compile was given none.
  std::unique_ptr<SharedState> own_state;

  const BaseChain& Base(Family family, net::Table table, net::Hook hook) const {
    return base[FamilyIndex(family)][static_cast<size_t>(table)][static_cast<size_t>(hook)];
  }
  const std::vector<ChainRange>& Chains(Family family, net::Table table) const {
    return chains[FamilyIndex(family)][static_cast<size_t>(table)];
  }
};

}  // namespace postern::rules

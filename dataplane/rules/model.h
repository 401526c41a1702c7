// Rules as data: what the iptables grammar makes of text, what the printers turn
// into text again, and what Compile() makes a RuleSet of. One struct a match
// or target, holding what the user said, already validated.
//
// Adding an extension: a struct here and in the variant, Matches()/Execute() in this
// room, an Extension in control/iptables. The compiler finds what is forgotten.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dataplane/net/address.h"
#include "dataplane/net/nat_range.h"
#include "dataplane/net/tuple.h"
#include "dataplane/net/verdict.h"

namespace postern::rules {

using net::Family;
using net::IpAddress;
using net::NatRange;
using net::PortRange;

// address & mask == value & mask. The mask need not be contiguous.
struct AddressMatch {
  IpAddress address;
  IpAddress mask;  // all zero: any
  bool invert = false;
  friend bool operator==(const AddressMatch&, const AddressMatch&) = default;
};

// "eth0", "eth+", "" (any).
struct InterfaceMatch {
  std::string name;
  bool invert = false;
  friend bool operator==(const InterfaceMatch&, const InterfaceMatch&) = default;
};

// The part that every rule has: -s -d -i -o -p (and -f for IPv4).
struct IpMatch {
  AddressMatch source;
  AddressMatch destination;
  InterfaceMatch in;
  InterfaceMatch out;
  uint8_t protocol = 0;  // 0: any
  bool invert_protocol = false;
  bool fragment = false;  // -f: later fragments only
  bool invert_fragment = false;
  friend bool operator==(const IpMatch&, const IpMatch&) = default;
};

// ---- matches ----

struct TcpMatch {
  PortRange source;
  PortRange destination;
  bool invert_source = false;
  bool invert_destination = false;
  uint8_t flag_mask = 0;
  uint8_t flag_compare = 0;
  bool invert_flags = false;
  uint8_t option = 0;  // --tcp-option, 0: none
  bool invert_option = false;
  friend bool operator==(const TcpMatch&, const TcpMatch&) = default;
};

struct UdpMatch {
  PortRange source;
  PortRange destination;
  bool invert_source = false;
  bool invert_destination = false;
  friend bool operator==(const UdpMatch&, const UdpMatch&) = default;
};

// icmp and icmp6 (by the rule's family).
struct IcmpMatch {
  uint8_t type = 0xff;  // 0xff for IPv4: any
  uint8_t first_code = 0;
  uint8_t last_code = 0xff;
  bool invert = false;
  friend bool operator==(const IcmpMatch&, const IcmpMatch&) = default;
};

struct MultiportMatch {
  enum class Which : uint8_t { kSource, kDestination, kEither };
  Which which = Which::kDestination;
  std::vector<PortRange> ports;  // at most 15 slots; a range takes two
  std::vector<bool> is_range;    // 80:80 is printed as a range
  bool invert = false;
  friend bool operator==(const MultiportMatch&, const MultiportMatch&) = default;
};

// Bits of --ctstate.
enum CtStateBit : uint16_t {
  kCtStateInvalid = 1U << 0,
  kCtStateEstablished = 1U << 1,
  kCtStateRelated = 1U << 2,
  kCtStateNew = 1U << 3,
  kCtStateSnat = 1U << 4,
  kCtStateDnat = 1U << 5,
  kCtStateUntracked = 1U << 6,
};
// Bits of --ctstatus are ctrack::Status' EXPECTED, SEEN_REPLY, ASSURED, CONFIRMED.

struct ConntrackMatch {
  // Which options were given, and which of them were negated; bits of Field.
  enum Field : uint16_t {
    kState = 1U << 0,
    kProto = 1U << 1,
    kOrigSrc = 1U << 2,
    kOrigDst = 1U << 3,
    kReplSrc = 1U << 4,
    kReplDst = 1U << 5,
    kStatus = 1U << 6,
    kExpires = 1U << 7,
    kOrigSrcPort = 1U << 8,
    kOrigDstPort = 1U << 9,
    kReplSrcPort = 1U << 10,
    kReplDstPort = 1U << 11,
    kDirection = 1U << 12,
  };
  uint16_t fields = 0;
  uint16_t inverted = 0;
  uint16_t state = 0;   // CtStateBit
  uint16_t status = 0;  // 0 with kStatus: NONE
  uint8_t protocol = 0;
  AddressMatch orig_src, orig_dst, repl_src, repl_dst;  // their own invert unused
  PortRange orig_src_port, orig_dst_port, repl_src_port, repl_dst_port;
  uint32_t expires_min = 0;  // seconds
  uint32_t expires_max = 0;
  bool direction_reply = false;  // --ctdir REPLY
  friend bool operator==(const ConntrackMatch&, const ConntrackMatch&) = default;
};

// -m state --state: stays apart from conntrack so that it is printed as it was given.
struct StateMatch {
  uint16_t state = 0;  // CtStateBit
  bool invert = false;
  friend bool operator==(const StateMatch&, const StateMatch&) = default;
};

struct CommentMatch {
  std::string comment;
  friend bool operator==(const CommentMatch&, const CommentMatch&) = default;
};

struct MarkMatch {
  uint32_t mark = 0;
  uint32_t mask = 0xffffffff;
  bool invert = false;
  friend bool operator==(const MarkMatch&, const MarkMatch&) = default;
};

// Rate in the kernel's unit: `average` is 10000 / packets a second (XT_LIMIT_SCALE), as xt_limit
// has it.
struct LimitMatch {
  uint32_t average = 0;
  uint32_t burst = 5;
  friend bool operator==(const LimitMatch&, const LimitMatch&) = default;
};

struct RecentMatch {
  enum class Operation : uint8_t { kSet, kCheck, kUpdate, kRemove };
  Operation operation = Operation::kSet;
  std::string name = "DEFAULT";
  bool destination = false;  // --rdest
  uint32_t seconds = 0;      // 0: not given
  uint32_t hitcount = 0;     // 0: not given
  bool ttl = false;          // --rttl
  bool reap = false;
  bool invert = false;
  IpAddress mask;  // --mask, all ones by default
  friend bool operator==(const RecentMatch&, const RecentMatch&) = default;
};

struct ConnlimitMatch {
  uint32_t limit = 0;
  bool invert = false;       // --connlimit-upto
  bool destination = false;  // --connlimit-daddr
  IpAddress mask;
  uint8_t mask_length = 32;
  friend bool operator==(const ConnlimitMatch&, const ConnlimitMatch&) = default;
};

using Match =
    std::variant<TcpMatch, UdpMatch, IcmpMatch, MultiportMatch, ConntrackMatch, StateMatch,
                 CommentMatch, MarkMatch, LimitMatch, RecentMatch, ConnlimitMatch>;

// ---- targets ----

// No -j at all: counts and goes on.
struct NoTarget {
  friend bool operator==(const NoTarget&, const NoTarget&) = default;
};
struct AcceptTarget {
  friend bool operator==(const AcceptTarget&, const AcceptTarget&) = default;
};
struct DropTarget {
  friend bool operator==(const DropTarget&, const DropTarget&) = default;
};
struct ReturnTarget {
  friend bool operator==(const ReturnTarget&, const ReturnTarget&) = default;
};
// -j CHAIN or -g CHAIN.
struct JumpTarget {
  std::string chain;
  bool is_goto = false;
  friend bool operator==(const JumpTarget&, const JumpTarget&) = default;
};

enum class RejectWith : uint8_t {
  // IPv4
  kIcmpNetUnreachable,
  kIcmpHostUnreachable,
  kIcmpPortUnreachable,
  kIcmpProtoUnreachable,
  kIcmpNetProhibited,
  kIcmpHostProhibited,
  kIcmpAdminProhibited,
  // IPv6
  kIcmp6NoRoute,
  kIcmp6AdmProhibited,
  kIcmp6AddrUnreachable,
  kIcmp6PortUnreachable,
  kIcmp6PolicyFail,
  kIcmp6RejectRoute,
  // both
  kTcpReset,
};
struct RejectTarget {
  RejectWith with = RejectWith::kIcmpPortUnreachable;
  friend bool operator==(const RejectTarget&, const RejectTarget&) = default;
};

struct LogTarget {
  enum Option : uint8_t {
    kTcpSequence = 1U << 0,
    kTcpOptions = 1U << 1,
    kIpOptions = 1U << 2,
    kUid = 1U << 3,
    kMacDecode = 1U << 5,
  };
  uint8_t level = 4;
  std::string prefix;  // at most 29 bytes
  uint8_t options = 0;
  friend bool operator==(const LogTarget&, const LogTarget&) = default;
};

// mark = (mark & ~mask) ^ value: every form (--set-mark, --set-xmark, --and-mark …) comes down to
// it.
struct MarkTarget {
  uint32_t value = 0;
  uint32_t mask = 0xffffffff;
  friend bool operator==(const MarkTarget&, const MarkTarget&) = default;
};

struct SnatTarget {
  NatRange range;
  friend bool operator==(const SnatTarget&, const SnatTarget&) = default;
};
struct DnatTarget {
  NatRange range;
  friend bool operator==(const DnatTarget&, const DnatTarget&) = default;
};
struct MasqueradeTarget {
  NatRange range;
  friend bool operator==(const MasqueradeTarget&, const MasqueradeTarget&) = default;
};
struct RedirectTarget {
  NatRange range;
  friend bool operator==(const RedirectTarget&, const RedirectTarget&) = default;
};

// -j CT --notrack; -j NOTRACK is the same with `spelled_notrack`.
struct NotrackTarget {
  bool spelled_notrack = false;
  friend bool operator==(const NotrackTarget&, const NotrackTarget&) = default;
};

using Target = std::variant<NoTarget, AcceptTarget, DropTarget, ReturnTarget, JumpTarget,
                            RejectTarget, LogTarget, MarkTarget, SnatTarget, DnatTarget,
                            MasqueradeTarget, RedirectTarget, NotrackTarget>;

// ---- rules, chains, tables ----

struct Counters {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  friend bool operator==(const Counters&, const Counters&) = default;
};

// Where a rule stands in the text, for messages.
struct Origin {
  std::string file;
  int line = 0;
};

struct Rule {
  IpMatch ip;
  std::vector<Match> matches;  // in the order given, which is the order of evaluation
  Target target;
  Counters counters;  // the initial values (from -c or from the running rule)
  // State that outlives a reload of an unchanged rule (limit's tokens, connlimit's counts), by
  // match; null: fresh. Filled by CarryOver().
  std::vector<std::shared_ptr<void>> states;
  Origin origin;

  // Same text: everything but counters, state and origin.
  bool SameAs(const Rule& other) const {
    return ip == other.ip && matches == other.matches && target == other.target;
  }
};

struct Chain {
  std::string name;
  bool builtin = false;
  net::Verdict policy = net::Verdict::kAccept;  // built-in chains only
  Counters policy_counters;
  std::vector<Rule> rules;
};

struct TableModel {
  std::vector<Chain> chains;  // built-in ones first, in the kernel's order
  Chain* Find(std::string_view name);
  const Chain* Find(std::string_view name) const;
};

// One family's rules, all four tables. A table that no rule file named has its built-in chains
// with policy ACCEPT and doesn't exist for iptables-save (`present` false).
struct FamilyModel {
  Family family = Family::kIpv4;
  std::array<TableModel, net::kTableCount> tables;
  std::array<bool, net::kTableCount> present{};
  TableModel& table(net::Table t) { return tables[static_cast<size_t>(t)]; }
  const TableModel& table(net::Table t) const { return tables[static_cast<size_t>(t)]; }
};
// All built-in chains, empty, policy ACCEPT.
FamilyModel EmptyModel(Family family);
// The built-in chains of a table in the kernel's order: filter INPUT FORWARD OUTPUT; nat
// PREROUTING INPUT OUTPUT POSTROUTING; mangle all five; raw PREROUTING OUTPUT.
std::vector<net::Hook> BuiltinChains(net::Table table);

struct Model {
  FamilyModel ipv4 = EmptyModel(Family::kIpv4);
  FamilyModel ipv6 = EmptyModel(Family::kIpv6);
  FamilyModel& family(Family f) { return f == Family::kIpv4 ? ipv4 : ipv6; }
  const FamilyModel& family(Family f) const { return f == Family::kIpv4 ? ipv4 : ipv6; }
};

}  // namespace postern::rules

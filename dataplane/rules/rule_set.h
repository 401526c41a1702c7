// The compiled, immutable rule set and the walk through it.
//
// A RuleSet is made by the control thread (Compile), published by one pointer and
// read by every worker. What changes per packet lives beside it: counters and paths in a
// worker's own WorkerRules (worker_rules.h), the state of limit, recent and
// connlimit in shared objects with atomics that the rule set only points to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ctrack/connection.h"
#include "dataplane/net/packet.h"
#include "dataplane/net/random.h"
#include "dataplane/net/verdict.h"
#include "dataplane/rules/model.h"

namespace postern::rules {

// Dense number of a rule, or of a built-in chain's policy, over both families and all tables of
// one RuleSet.
using RuleId = uint32_t;
inline constexpr RuleId kNoRule = UINT32_MAX;

// What the answer of a walk depended on beside what stays the same for all
// packets of one connection, direction, ctinfo, in port and out port. Bits.
enum Dependence : uint16_t {
  kDependsNothing = 0,
  kDependsTcpFlags = 1U << 0,
  kDependsMark = 1U << 1,        // packet mark at the hook's entry
  kDependsPacket = 1U << 2,      // length, TTL, fragment bits, options, payload, ICMP type …
  kDependsTime = 1U << 3,        // limit, recent, ctexpire …
  kDependsSideEffect = 1U << 4,  // LOG, REJECT, recent --set: the walk itself must happen
  kDependsCtStatus = 1U << 5,    // ASSURED, SEEN_REPLY …: status bits
  // Addresses or ports. Where it isn't set, the answer is that of all connections of one family and
  // protocol.
  kDependsTuple = 1U << 6,
};

struct PathStep {
  RuleId rule;
};

// Collects what a packet meets on its way: fixed room, so that a worker doesn't
// allocate. `overflow`: more rules than fit; such a packet isn't remembered as a path and its
// rules were counted one by one.
struct PathBuilder {
  static constexpr size_t kMaxRules = 256;
  uint32_t size = 0;
  bool overflow = false;
  uint16_t depends = kDependsNothing;
  RuleId rules[kMaxRules];
  void Clear() {
    size = 0;
    overflow = false;
    depends = kDependsNothing;
  }
};

class LogSink {
 public:
  virtual ~LogSink() = default;
  // A LOG rule matched. Must not allocate, lock or call the system; copies what it needs.
  virtual void Log(const LogTarget& target, const net::Packet& packet, net::Hook hook,
                   net::PortId in, net::PortId out, net::Time now) = 0;
};

// Finds the connection of a packet that has none with it (raw, INVALID, untracked), for connlimit.
// Implemented by the pipeline with the worker's table.
class ConnectionFinder {
 public:
  virtual ~ConnectionFinder() = default;
  // A confirmed, living connection with this tuple in either direction, or null.
  virtual const ctrack::Connection* FindConnection(const net::Tuple& tuple, net::Time now) = 0;
};

// What a connection is to connlimit: in no table; in the table; there, but in TIME_WAIT or CLOSE.
enum class Standing : uint8_t { kAbsent, kOpen, kClosed };

class TupleClasses;
class WorkerRules;

// What a packet brings to a chain.
struct WalkContext {
  net::Packet* packet = nullptr;  // MARK changes its mark
  ctrack::CtRef* ct = nullptr;    // NOTRACK makes it kUntracked
  net::Hook hook = net::Hook::kPrerouting;
  net::PortId in = net::kNoPort;   // kNoPort at OUTPUT and for nothing known yet
  net::PortId out = net::kNoPort;  // kNoPort at PREROUTING and INPUT
  bool own_reset = false;          // Postern's own TCP reset: what leaves, but by no socket
  net::Time now = 0;
  net::Rng* rng = nullptr;
  WorkerRules* worker = nullptr;       // counts what overflows the path; null: not counted
  LogSink* log = nullptr;              // null: LOG rules only count
  PathBuilder* path = nullptr;         // rules that matched are appended; never null
  ConnectionFinder* finder = nullptr;  // null: a packet without connection has none
};

struct WalkResult {
  net::Verdict verdict = net::Verdict::kDrop;  // kAccept, kDrop or kReject
  net::DropReason reason = net::DropReason::kRuleDrop;
  RuleId decided_by = kNoRule;
  // The nat table's answer: a binding to set up (points into the rule set), or null.
  const NatRange* nat = nullptr;
  bool nat_destination = false;  // DNAT, REDIRECT
  bool masquerade = false;       // source address is the out port's
  bool redirect = false;         // destination is the in port's address (127.0.0.1 at OUTPUT)
  RejectWith reject = RejectWith::kIcmpPortUnreachable;
};

// Where a rule id stands; for counters, traces and metrics.
struct RulePlace {
  Family family = Family::kIpv4;
  net::Table table = net::Table::kFilter;
  uint16_t chain = 0;   // index in TableModel::chains
  uint32_t number = 0;  // 1-based rule number; 0: the chain's policy
};

// State of recent's lists, by name; outlives rule sets.
class RecentTables;
// Everything that rule sets share over their lives. Control thread; outlives the workers.
struct SharedState {
  SharedState();
  ~SharedState();
  std::unique_ptr<RecentTables> recent;
};

class RuleSet {
 public:
  struct Options {
    std::vector<std::string> port_names;  // by PortId
    uint32_t generation = 1;
    // Addresses that one connlimit rule can list at a time, and half the tuples: nf_conntrack_max
    // is enough even where the rule meets replies too.
    uint32_t connlimit_keys = 1U << 18;
    // Random in the daemon: hashes over addresses that a sender chooses begin with it.
    uint64_t hash_seed = 0;
    // Rules from which on a chain gets an index (classify/chain_index.h), where one is of use.
    uint32_t index_from = 48;
  };
  // Compiles a validated model (unknown chains, loops and misplaced targets were refused by
  // Validate). `previous`, may be null: unchanged rules keep the state of limit and connlimit.
  // `shared`, may be null where nothing needs to outlive this rule set: lists of recent then live
  // and die with it. Rule::states of `model` are not looked at. Control thread.
  static std::shared_ptr<const RuleSet> Compile(const Model& model, const Options& options,
                                                SharedState* shared, const RuleSet* previous);
  ~RuleSet();

  // Walks one built-in chain. A table without rules and with policy ACCEPT whose chain would change
  // nothing still counts its policy.
  WalkResult Walk(net::Table table, const WalkContext& context) const;
  // False when the chain has no rule (the caller may skip the walk but must count its policy with
  // PolicyId).
  bool HasRules(Family family, net::Table table, net::Hook hook) const;
  // The policy's id; kNoRule where the table has no such chain.
  RuleId PolicyId(Family family, net::Table table, net::Hook hook) const;
  // To be told by the connection's worker when it was confirmed, closed or ended: connlimit's
  // lists. Without a connlimit rule nobody needs to call it.
  bool HasConnlimit() const;
  void NoteConnection(const ctrack::Connection& connection) const;
  // The table exists for this family: a table that no rule file named isn't walked.
  bool HasTable(Family family, net::Table table) const;
  // Which tuples no rule of any table tells apart (classify/tuple_classes.h).
  const TupleClasses& tuple_classes(Family family) const;

  uint32_t generation() const;
  uint32_t rule_count() const;  // ids are below it
  RulePlace Place(RuleId id) const;
  RuleId IdOf(const RulePlace& place) const;
  const Model& model() const;  // what it was compiled from

  struct Compiled;  // compiled.h

 private:
  RuleSet();
  std::unique_ptr<Compiled> compiled_;
};

// Checks what only the whole model shows: jumps to chains that don't exist, loops, targets and
// matches in tables or hooks where netfilter refuses them. Appends "FILE:LINE: sentence".
// True when there was nothing to say.
bool Validate(const Model& model, std::vector<std::string>* errors);

// For each rule (and policy) of `next` the id of the same rule in `previous`, or kNoRule. A rule is
// the same if its chain has the same name and its text is the same; equal rules are paired in
// order.
std::vector<RuleId> MatchRules(const RuleSet& previous, const RuleSet& next);

}  // namespace postern::rules

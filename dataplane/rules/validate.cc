// What only the whole model shows, and what the kernel checks when rules are loaded: chains that
// exist, no loops, targets and matches where netfilter takes them.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "dataplane/net/wire.h"
#include "dataplane/rules/compiled.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

namespace {

using HookMask = uint8_t;
constexpr HookMask Bit(net::Hook hook) {
  return static_cast<HookMask>(1U << static_cast<unsigned>(hook));
}
constexpr HookMask kPre = Bit(net::Hook::kPrerouting);
constexpr HookMask kIn = Bit(net::Hook::kInput);
constexpr HookMask kFwd = Bit(net::Hook::kForward);
constexpr HookMask kOut = Bit(net::Hook::kOutput);
constexpr HookMask kPost = Bit(net::Hook::kPostrouting);

// Where a target may stand. `hooks` counts for every built-in chain that leads to the rule.
struct Place {
  std::string_view target;
  net::Table table;
  HookMask hooks;
};

const Place* PlaceOf(const Target& target) {
  static constexpr Place kSnat = {"SNAT", net::Table::kNat, kPost | kIn};
  static constexpr Place kDnat = {"DNAT", net::Table::kNat, kPre | kOut};
  static constexpr Place kMasquerade = {"MASQUERADE", net::Table::kNat, kPost};
  static constexpr Place kRedirect = {"REDIRECT", net::Table::kNat, kPre | kOut};
  static constexpr Place kReject = {"REJECT", net::Table::kFilter, kIn | kFwd | kOut};
  static constexpr Place kCt = {"CT", net::Table::kRaw, kPre | kOut};
  static constexpr Place kNotrack = {"NOTRACK", net::Table::kRaw, kPre | kOut};
  if (std::holds_alternative<SnatTarget>(target)) return &kSnat;
  if (std::holds_alternative<DnatTarget>(target)) return &kDnat;
  if (std::holds_alternative<MasqueradeTarget>(target)) return &kMasquerade;
  if (std::holds_alternative<RedirectTarget>(target)) return &kRedirect;
  if (std::holds_alternative<RejectTarget>(target)) return &kReject;
  if (const auto* notrack = std::get_if<NotrackTarget>(&target)) {
    return notrack->spelled_notrack ? &kNotrack : &kCt;
  }
  return nullptr;
}

std::string HookNames(HookMask hooks) {
  std::string names;
  for (int h = 0; h < net::kHookCount; ++h) {
    const auto hook = static_cast<net::Hook>(h);
    if ((hooks & Bit(hook)) == 0) continue;
    if (!names.empty()) names += ", ";
    names += net::ToString(hook);
  }
  return names;
}

// One table of one family.
class TableCheck {
 public:
  TableCheck(Family family, net::Table table, const TableModel& model,
             std::vector<std::string>* errors)
      : family_(family), table_(table), model_(model), errors_(*errors) {}

  void Run() {
    for (size_t c = 0; c < model_.chains.size(); ++c) {
      if (!index_.try_emplace(model_.chains[c].name, c).second) {
        errors_.push_back("Chain '" + model_.chains[c].name + "' stands twice in table " +
                          std::string(net::ToString(table_)) + ".");
      }
    }
    visits_.assign(model_.chains.size(), Visit::kNew);
    depths_.assign(model_.chains.size(), 0);
    reached_.assign(model_.chains.size(), 0);
    for (size_t c = 0; c < model_.chains.size(); ++c) Descend(c);
    if (!loop_) {
      for (size_t c = 0; c < model_.chains.size(); ++c) {
        if (model_.chains[c].builtin) Reach(c, HookOf(model_.chains[c]));
      }
    }
    for (size_t c = 0; c < model_.chains.size(); ++c) {
      for (const Rule& rule : model_.chains[c].rules) CheckRule(c, rule);
    }
  }

 private:
  enum class Visit : uint8_t { kNew, kOpen, kDone };

  void Fail(const Rule& rule, const std::string& sentence) {
    const std::string place =
        rule.origin.file.empty() ? ""
                                 : rule.origin.file + ":" + std::to_string(rule.origin.line) + ": ";
    errors_.push_back(place + sentence);
  }

  HookMask HookOf(const Chain& chain) const {
    for (const net::Hook hook : BuiltinChains(table_)) {
      if (net::ToString(hook) == chain.name) return Bit(hook);
    }
    return 0;
  }

  // Depth first through jumps: missing chains, loops, nesting. Sets depths_[c] to the levels of
  // jumps below chain c.
  void Descend(size_t c) {
    if (visits_[c] == Visit::kDone) return;
    visits_[c] = Visit::kOpen;
    for (const Rule& rule : model_.chains[c].rules) {
      const auto* jump = std::get_if<JumpTarget>(&rule.target);
      if (jump == nullptr) continue;
      const auto target = index_.find(jump->chain);
      if (target == index_.end()) {
        Fail(rule, "Chain '" + jump->chain + "' does not exist");
        continue;
      }
      if (model_.chains[target->second].builtin) {
        Fail(rule, "a rule can't jump to the built-in chain '" + jump->chain + "'");
        continue;
      }
      if (visits_[target->second] == Visit::kOpen) {
        Fail(rule, "the jump from chain '" + model_.chains[c].name + "' to '" + jump->chain +
                       "' makes a loop");
        loop_ = true;
        continue;
      }
      Descend(target->second);
      depths_[c] = std::max(depths_[c], depths_[target->second] + 1);
      if (depths_[c] == kMaxJumpDepth + 1) {
        Fail(rule, "jumps are nested more than " + std::to_string(kMaxJumpDepth) +
                       " deep from chain '" + model_.chains[c].name + "'");
      }
    }
    visits_[c] = Visit::kDone;
  }

  // Notes from which hooks a chain is reached. Ends because there is no loop, and because a
  // chain is entered once a hook.
  void Reach(size_t c, HookMask hooks) {
    if ((reached_[c] & hooks) == hooks) return;
    reached_[c] = static_cast<HookMask>(reached_[c] | hooks);
    for (const Rule& rule : model_.chains[c].rules) {
      const auto* jump = std::get_if<JumpTarget>(&rule.target);
      if (jump == nullptr) continue;
      const auto target = index_.find(jump->chain);
      if (target != index_.end()) Reach(target->second, hooks);
    }
  }

  void CheckRule(size_t c, const Rule& rule) {
    CheckTargetPlace(c, rule);
    CheckTarget(rule);
    CheckIp(model_.chains[c], rule);
    for (const Match& match : rule.matches) CheckMatch(rule, match);
  }

  void CheckTargetPlace(size_t c, const Rule& rule) {
    const Place* place = PlaceOf(rule.target);
    if (place == nullptr) return;
    const std::string name(place->target);
    if (place->table != table_) {
      Fail(rule, "the " + name + " target is only valid in the " +
                     std::string(net::ToString(place->table)) + " table, not in " +
                     std::string(net::ToString(table_)));
      return;
    }
    const auto wrong = static_cast<HookMask>(reached_[c] & ~place->hooks);
    if (wrong == 0) return;
    Fail(rule, "the " + name + " target is only valid in " + HookNames(place->hooks) +
                   " and chains called from there; chain '" + model_.chains[c].name +
                   "' is reached from " + HookNames(wrong));
  }

  void CheckTarget(const Rule& rule) {
    if (table_ == net::Table::kNat && std::holds_alternative<DropTarget>(rule.target)) {
      Fail(rule,
           "The \"nat\" table is not intended for filtering, the use of DROP is therefore "
           "inhibited.");
    }
    const auto* reject = std::get_if<RejectTarget>(&rule.target);
    if (reject == nullptr) return;
    if (reject->with == RejectWith::kTcpReset) {
      if (!HasProtocol(rule, {net::kProtoTcp})) {
        Fail(rule, "REJECT --reject-with tcp-reset needs '-p tcp'");
      }
    } else if ((reject->with >= RejectWith::kIcmp6NoRoute) != (family_ == Family::kIpv6)) {
      Fail(rule, "this REJECT type belongs to the other IP version");
    }
  }

  void CheckIp(const Chain& chain, const Rule& rule) {
    if (family_ == Family::kIpv6 && (rule.ip.fragment || rule.ip.invert_fragment)) {
      Fail(rule, "-f is not supported with IPv6");
    }
    if (!chain.builtin) return;
    const HookMask hook = HookOf(chain);
    if (!rule.ip.in.name.empty() && (hook & (kOut | kPost)) != 0) {
      Fail(rule, "Can't use -i with " + chain.name);
    }
    if (!rule.ip.out.name.empty() && (hook & (kPre | kIn)) != 0) {
      Fail(rule, "Can't use -o with " + chain.name);
    }
  }

  // The rule has -p with one of these, not negated.
  static bool HasProtocol(const Rule& rule, std::initializer_list<uint8_t> protocols) {
    return !rule.ip.invert_protocol &&
           std::find(protocols.begin(), protocols.end(), rule.ip.protocol) != protocols.end();
  }

  void CheckMatch(const Rule& rule, const Match& match) {
    if (std::holds_alternative<TcpMatch>(match)) {
      if (!HasProtocol(rule, {net::kProtoTcp})) Fail(rule, "the tcp match needs '-p tcp'");
    } else if (std::holds_alternative<UdpMatch>(match)) {
      if (!HasProtocol(rule, {net::kProtoUdp})) Fail(rule, "the udp match needs '-p udp'");
    } else if (std::holds_alternative<IcmpMatch>(match)) {
      if (family_ == Family::kIpv4 && !HasProtocol(rule, {net::kProtoIcmp})) {
        Fail(rule, "the icmp match needs '-p icmp'");
      }
      if (family_ == Family::kIpv6 && !HasProtocol(rule, {net::kProtoIcmpv6})) {
        Fail(rule, "the icmp6 match needs '-p icmpv6'");
      }
    } else if (const auto* multiport = std::get_if<MultiportMatch>(&match)) {
      CheckMultiport(rule, *multiport);
    } else if (const auto* recent = std::get_if<RecentMatch>(&match)) {
      CheckRecent(rule, *recent);
    } else if (const auto* limit = std::get_if<LimitMatch>(&match)) {
      if (limit->average == 0) Fail(rule, "limit: the rate must not be 0");
    }
  }

  void CheckMultiport(const Rule& rule, const MultiportMatch& match) {
    if (!HasProtocol(rule, {net::kProtoTcp, net::kProtoUdp, net::kProtoUdpLite, net::kProtoSctp,
                            net::kProtoDccp})) {
      Fail(rule, "multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'");
    }
    constexpr size_t kSlots = 15;  // XT_MULTI_PORTS
    size_t slots = match.ports.size();
    for (size_t i = 0; i < match.ports.size(); ++i) {
      const bool range = i < match.is_range.size() ? bool{match.is_range[i]}
                                                   : match.ports[i].first != match.ports[i].last;
      if (range) ++slots;
      if (match.ports[i].first > match.ports[i].last) {
        Fail(rule, "multiport: the range's first port is above its last");
      }
    }
    if (slots == 0) Fail(rule, "multiport expects a port");
    if (slots > kSlots) Fail(rule, "multiport: more than 15 ports (a range counts as two)");
  }

  void CheckRecent(const Rule& rule, const RecentMatch& match) {
    using enum RecentMatch::Operation;
    constexpr size_t kMaxName = 199;  // XT_RECENT_NAME_LEN - 1
    const bool checks = match.operation == kCheck || match.operation == kUpdate;
    if (match.name.empty() || match.name.size() > kMaxName) {
      Fail(rule, "recent: a list's name has 1 to 199 characters");
    }
    if (!checks && (match.seconds != 0 || match.hitcount != 0 || match.ttl || match.reap)) {
      Fail(rule,
           "recent: --seconds, --hitcount, --rttl and --reap go with --rcheck and --update only");
    }
    if (match.reap && match.seconds == 0) Fail(rule, "recent: --reap needs --seconds");
    if (match.hitcount > RecentTable::kMaxHitcount) {
      Fail(rule, "recent: --hitcount is larger than the " +
                     std::to_string(RecentTable::kMaxHitcount) + " packets that can be remembered");
    }
  }

  const Family family_;
  const net::Table table_;
  const TableModel& model_;
  std::vector<std::string>& errors_;
  std::map<std::string, size_t, std::less<>> index_;
  std::vector<Visit> visits_;
  std::vector<size_t> depths_;
  std::vector<HookMask> reached_;
  bool loop_ = false;
};

}  // namespace

bool Validate(const Model& model, std::vector<std::string>* errors) {
  const size_t before = errors->size();
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (int t = 0; t < net::kTableCount; ++t) {
      const auto table = static_cast<net::Table>(t);
      TableCheck(family, table, model.family(family).table(table), errors).Run();
    }
  }
  return errors->size() == before;
}

}  // namespace postern::rules

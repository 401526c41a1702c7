// From the model to the compiled form.
#include <algorithm>
#include <bit>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>

#include "dataplane/rules/compiled.h"
#include "dataplane/rules/pairing.h"

namespace postern::rules {

namespace {

template <typename... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
// clang before 17 doesn't deduce an aggregate's arguments.
template <typename... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

// The rule looks at addresses or ports, of the packet or its connection, or may do so.
bool ReadsTuple(const Rule& rule, const IpPart& ip) {
  using Field = ConntrackMatch::Field;
  constexpr uint16_t kTuple = Field::kOrigSrc | Field::kOrigDst | Field::kReplSrc |
                              Field::kReplDst | Field::kOrigSrcPort | Field::kOrigDstPort |
                              Field::kReplSrcPort | Field::kReplDstPort;
  const auto ports = [](const auto& m) { return !m.source.IsAll() || !m.destination.IsAll(); };
  if (ip.source_mask != AddressWords{} || ip.destination_mask != AddressWords{} ||
      ip.Has(IpPart::kInvertSource) || ip.Has(IpPart::kInvertDestination)) {
    return true;
  }
  return std::any_of(rule.matches.begin(), rule.matches.end(), [&](const Match& match) {
    return std::visit(
        Overloaded{[&](const TcpMatch& m) { return ports(m); },
                   [&](const UdpMatch& m) { return ports(m); },
                   [](const ConntrackMatch& m) { return (m.fields & kTuple) != 0; },
                   [](const CommentMatch&) { return false; },
                   [](const StateMatch&) { return false; }, [](const MarkMatch&) { return false; },
                   [](const IcmpMatch&) { return false; }, [](const auto&) { return true; }},
        match);
  });
}

// Indexes by the chain of the model; null: the chain needs none.
using ChainIndexes = std::unordered_map<const Chain*, std::shared_ptr<const ChainIndex>>;

class Compiler {
 public:
  // `unchanged`: the indexes that are known already.
  Compiler(RuleSet::Compiled* out, SharedState* shared, const ChainIndexes& unchanged)
      : out_(*out), shared_(*shared), unchanged_(unchanged) {}

  void Run() {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      FindRings(out_.model.family(family));
      for (int t = 0; t < net::kTableCount; ++t) Number(family, static_cast<net::Table>(t));
    }
    out_.rules.resize(out_.places.size());
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      for (int t = 0; t < net::kTableCount; ++t) Fill(family, static_cast<net::Table>(t));
    }
  }

 private:
  // Gives ids to a table's rules and policies.
  void Number(Family family, net::Table table) {
    const TableModel& model = out_.model.family(family).table(table);
    auto& ranges = out_.chains[FamilyIndex(family)][static_cast<size_t>(table)];
    for (size_t c = 0; c < model.chains.size(); ++c) {
      const Chain& chain = model.chains[c];
      RulePlace place{family, table, static_cast<uint16_t>(c), 0};
      const auto first = static_cast<uint32_t>(out_.places.size());
      for (size_t r = 0; r < chain.rules.size(); ++r) {
        place.number = static_cast<uint32_t>(r + 1);
        out_.places.push_back(place);
      }
      const auto last = static_cast<uint32_t>(out_.places.size());
      ranges.push_back({first, last, last, nullptr});
      if (!chain.builtin) continue;
      place.number = 0;
      out_.places.push_back(place);
      AddBase(family, table, chain, static_cast<uint32_t>(c), last);
    }
  }

  void AddBase(Family family, net::Table table, const Chain& chain, uint32_t number,
               RuleId policy) {
    for (const net::Hook hook : BuiltinChains(table)) {
      if (net::ToString(hook) != chain.name) continue;
      out_.base[FamilyIndex(family)][static_cast<size_t>(table)][static_cast<size_t>(hook)] = {
          true, number, policy, chain.policy};
    }
  }

  void Fill(Family family, net::Table table) {
    TableModel& model = out_.model.family(family).table(table);
    auto& ranges = out_.chains[FamilyIndex(family)][static_cast<size_t>(table)];
    for (size_t c = 0; c < model.chains.size(); ++c) {
      by_name_.try_emplace(model.chains[c].name, static_cast<uint32_t>(c));
    }
    for (size_t c = 0; c < model.chains.size(); ++c) {
      std::vector<Rule>& rules = model.chains[c].rules;
      for (size_t r = 0; r < rules.size(); ++r) {
        CompiledRule& compiled = out_.rules[ranges[c].first + r];
        FillRule(family, rules[r], &compiled);
        if (ReadsTuple(rules[r], compiled.ip)) {
          ranges[c].first_of_tuple =
              std::min(ranges[c].first_of_tuple, static_cast<uint32_t>(ranges[c].first + r));
        }
      }
      ranges[c].index = IndexOf(family, table, model.chains[c], ranges[c]);
    }
    by_name_.clear();
  }

  std::shared_ptr<const ChainIndex> IndexOf(Family family, net::Table table, const Chain& chain,
                                            const ChainRange& range) const {
    if (chain.rules.size() < out_.options.index_from) return nullptr;
    const auto same = unchanged_.find(&chain);
    if (same != unchanged_.end()) return same->second;
    std::vector<RuleBounds> bounds;
    bounds.reserve(chain.rules.size());
    for (size_t r = 0; r < chain.rules.size(); ++r) {
      bounds.push_back(
          BoundsOf(chain.rules[r], out_.rules[range.first + r].ip, table != net::Table::kRaw));
    }
    return ChainIndex::Build(bounds, family, out_.options.hash_seed);
  }

  void FillRule(Family family, Rule& rule, CompiledRule* out) {
    out->ip = CompileIpPart(rule.ip, out_.options.port_names);
    out->first_match = static_cast<uint32_t>(out_.matches.size());
    rule.states.resize(rule.matches.size());
    for (size_t m = 0; m < rule.matches.size(); ++m) {
      AddMatch(family, rule.matches[m], &rule.states[m]);
    }
    out->match_count = static_cast<uint32_t>(out_.matches.size() - out->first_match);
    out->target = TargetOf(rule.target);
  }

  // Asked for the state alone, it is -m state.
  void AddConntrack(const ConntrackMatch& match) {
    if (match.fields == ConntrackMatch::kState &&
        (match.state & (kCtStateSnat | kCtStateDnat)) == 0) {
      out_.matches.emplace_back(
          StateMatch{match.state, (match.inverted & ConntrackMatch::kState) != 0});
    } else {
      out_.matches.emplace_back(CompiledConntrack{&match});
    }
  }

  void AddMatch(Family family, const Match& match, std::shared_ptr<void>* state) {
    auto& matches = out_.matches;
    std::visit(
        Overloaded{
            [](const CommentMatch&) {},
            [&](const TcpMatch& m) { matches.emplace_back(m); },
            [&](const UdpMatch& m) { matches.emplace_back(m); },
            [&](const StateMatch& m) { matches.emplace_back(m); },
            [&](const MarkMatch& m) { matches.emplace_back(m); },
            [&](const IcmpMatch& m) {
              const bool any = family == Family::kIpv4 && m.type == 0xff;
              matches.emplace_back(CompiledIcmp{m.type, m.first_code, m.last_code, m.invert, any});
            },
            [&](const MultiportMatch& m) { matches.emplace_back(CompiledMultiport{&m}); },
            [&](const ConntrackMatch& m) { AddConntrack(m); },
            [&](const LimitMatch& m) {
              if (*state == nullptr) *state = std::make_shared<LimitState>(m);
              matches.emplace_back(CompiledLimit{static_cast<LimitState*>(state->get())});
            },
            [&](const RecentMatch& m) {
              // Found by name, not carried over: the list belongs to every rule that names it.
              *state = shared_.recent->Get(m.name, m.mask, rings_[m.name]);
              matches.emplace_back(CompiledRecent{&m, static_cast<RecentTable*>(state->get())});
            },
            [&](const ConnlimitMatch& m) {
              if (*state == nullptr) {
                *state = std::make_shared<ConnlimitState>(out_.options.connlimit_keys,
                                                          out_.options.hash_seed);
              }
              out_.connlimits.push_back(static_cast<ConnlimitState*>(state->get()));
              matches.emplace_back(CompiledConnlimit{&m, out_.connlimits.back()});
            },
        },
        match);
  }

  CompiledTarget TargetOf(const Target& target) const {
    using enum TargetKind;
    CompiledTarget out;
    const auto nat = [&out](TargetKind kind, const NatRange& range) {
      out.kind = kind;
      out.nat = &range;
    };
    std::visit(Overloaded{
                   [&](const NoTarget&) { out.kind = kNone; },
                   [&](const AcceptTarget&) { out.kind = kAccept; },
                   [&](const DropTarget&) { out.kind = kDrop; },
                   [&](const ReturnTarget&) { out.kind = kReturn; },
                   [&](const JumpTarget& t) {
                     const auto chain = by_name_.find(t.chain);
                     // Validate refuses a missing chain; should one get here, it drops.
                     out.kind = chain == by_name_.end() ? kDrop : t.is_goto ? kGoto : kJump;
                     if (chain != by_name_.end()) out.chain = chain->second;
                   },
                   [&](const RejectTarget& t) {
                     out.kind = kReject;
                     out.reject = t.with;
                   },
                   [&](const LogTarget& t) {
                     out.kind = kLog;
                     out.log = &t;
                   },
                   [&](const MarkTarget& t) {
                     out.kind = kMark;
                     out.mark = {t.value, t.mask};
                   },
                   [&](const SnatTarget& t) { nat(kSnat, t.range); },
                   [&](const DnatTarget& t) { nat(kDnat, t.range); },
                   [&](const MasqueradeTarget& t) { nat(kMasquerade, t.range); },
                   [&](const RedirectTarget& t) { nat(kRedirect, t.range); },
                   [&](const NotrackTarget&) { out.kind = kNotrack; },
               },
               target);
    return out;
  }

  // The largest hitcount that any rule asks of a list decides how many stamps it keeps.
  void FindRings(const FamilyModel& model) {
    for (const TableModel& table : model.tables) {
      for (const Chain& chain : table.chains) {
        for (const Rule& rule : chain.rules) {
          for (const Match& match : rule.matches) {
            const auto* recent = std::get_if<RecentMatch>(&match);
            if (recent == nullptr) continue;
            uint32_t& ring = rings_[recent->name];
            ring = std::max({ring, RecentTable::kMinRing, std::bit_ceil(recent->hitcount)});
          }
        }
      }
    }
  }

  RuleSet::Compiled& out_;
  SharedState& shared_;
  const ChainIndexes& unchanged_;
  std::map<std::string, uint32_t, std::less<>> rings_;    // by recent's list
  std::map<std::string, uint32_t, std::less<>> by_name_;  // chains of the table being filled
};

bool IsIdentity(const std::vector<uint32_t>& pairs, size_t previous) {
  if (pairs.size() != previous) return false;
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (pairs[i] != i) return false;
  }
  return true;
}

// What an incoming model carries may belong to other rules by now; what counts is `previous`.
// Returns the indexes of the chains that are still the same.
ChainIndexes CarryOver(const RuleSet::Compiled* previous, RuleSet::Compiled* next) {
  ChainIndexes unchanged;
  const bool same_options = previous != nullptr &&
                            previous->options.port_names == next->options.port_names &&
                            previous->options.hash_seed == next->options.hash_seed &&
                            previous->options.index_from == next->options.index_from;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (int t = 0; t < net::kTableCount; ++t) {
      const TableModel* before =
          previous == nullptr ? nullptr : &previous->model.family(family).tables[t];
      for (Chain& chain : next->model.family(family).tables[t].chains) {
        for (Rule& rule : chain.rules) rule.states.clear();
        const Chain* same = before == nullptr ? nullptr : before->Find(chain.name);
        if (same == nullptr) continue;
        const std::vector<uint32_t> pairs = PairRules(same->rules, chain.rules);
        for (size_t r = 0; r < pairs.size(); ++r) {
          if (pairs[r] != kUnpaired) chain.rules[r].states = same->rules[pairs[r]].states;
        }
        if (!same_options || !IsIdentity(pairs, same->rules.size())) continue;
        const auto number = static_cast<size_t>(same - before->chains.data());
        unchanged[&chain] = previous->Chains(family, static_cast<net::Table>(t))[number].index;
      }
    }
  }
  return unchanged;
}

}  // namespace

SharedState::SharedState() : recent(std::make_unique<RecentTables>()) {}
SharedState::~SharedState() = default;

std::shared_ptr<const RuleSet> RuleSet::Compile(const Model& model, const Options& options,
                                                SharedState* shared, const RuleSet* previous) {
  std::shared_ptr<RuleSet> rules(new RuleSet());
  Compiled& compiled = *rules->compiled_;
  compiled.model = model;
  compiled.options = options;
  if (shared == nullptr) {
    compiled.own_state = std::make_unique<SharedState>();
    shared = compiled.own_state.get();
  }
  const ChainIndexes unchanged =
      CarryOver(previous == nullptr ? nullptr : previous->compiled_.get(), &compiled);
  Compiler(&compiled, shared, unchanged).Run();
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    compiled.tuple_classes[FamilyIndex(family)] = TupleClasses::Build(model.family(family));
  }
  return rules;
}

}  // namespace postern::rules

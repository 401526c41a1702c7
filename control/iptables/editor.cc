#include "control/iptables/editor.h"

#include <algorithm>

#include "control/iptables/printer.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::Chain;
using rules::Rule;

constexpr char kNoChain[] = "No chain/target/match by that name";
constexpr char kBadRule[] = "Bad rule (does a matching rule exist in that chain?)";

const rules::JumpTarget* JumpOf(const Rule& rule) {
  return std::get_if<rules::JumpTarget>(&rule.target);
}

std::optional<net::Hook> HookOf(const Chain& chain) {
  if (!chain.builtin) return std::nullopt;
  for (int i = 0; i < net::kHookCount; ++i) {
    const auto hook = static_cast<net::Hook>(i);
    if (net::ToString(hook) == chain.name) return hook;
  }
  return std::nullopt;
}

// The rules as they are kept.
std::vector<Rule> Prepared(const ParsedCommand& command, net::Family family,
                           const rules::Origin& origin) {
  std::vector<Rule> rules = command.rules;
  for (Rule& rule : rules) {
    std::erase_if(rule.matches, [family](const rules::Match& match) {
      return !MatchOwner(match, family).IsKept(match);
    });
    for (rules::Match& match : rule.matches) MatchOwner(match, family).Normalize(&match);
    rule.origin = origin;
  }
  return rules;
}

}  // namespace

net::Table TableByName(std::string_view name) {
  for (int i = 0; i < net::kTableCount; ++i) {
    const auto table = static_cast<net::Table>(i);
    if (net::ToString(table) == name) return table;
  }
  throw Problem{Exit::kVersion, fmt::format("table '{}' does not exist", name), Form::kTitled};
}

void Editor::Touch(net::Table table) {
  model_->present[static_cast<size_t>(table)] = true;
  changed_ = true;
}

Chain& Editor::MustFind(net::Table table, const ParsedCommand& command, const char* sentence) {
  Chain* chain = Table(table).Find(*command.chain);
  if (chain == nullptr) Refuse(sentence);
  return *chain;
}

void Editor::Apply(const ParsedCommand& command, const rules::Origin& origin) {
  if (command.verbs == 0) return;
  const net::Table table = TableByName(command.table);
  const uint32_t verbs = command.verbs;
  if ((verbs & (kAppend | kInsert)) != 0) Append(table, command, origin);
  if ((verbs & kReplace) != 0) Replace(table, command, origin);
  if ((verbs & kDelete) != 0) DeleteRules(table, command);
  if ((verbs & kDeleteNumber) != 0) DeleteNumber(table, command);
  if ((verbs & kCheck) != 0) Check(table, command);
  if ((verbs & kFlush) != 0) Flush(table, command);
  if ((verbs & kNewChain) != 0) NewChain(table, command);
  if ((verbs & kDeleteChain) != 0) DeleteChains(table, command);
  if ((verbs & kRenameChain) != 0) RenameChain(table, command);
  if ((verbs & kSetPolicy) != 0) SetPolicy(table, *command.chain, command.policy);
  if ((verbs & kList) != 0) ListTable(table, command);
  if ((verbs & kListRules) != 0) ListTableRules(table, command);
  if ((verbs & (kZero | kZeroNumber)) != 0) Zero(table, command);
}

// What the kernel would refuse here.
void Editor::CheckRule(net::Table table, const Chain& chain, const Rule& rule) const {
  const net::Family family = model_->family;
  const RulePlace place{table, HookOf(chain), rule.ip.protocol, rule.ip.invert_protocol};
  for (const rules::AddressMatch& address : {rule.ip.source, rule.ip.destination}) {
    if (address.invert && address.mask.IsZero()) RefuseRule("`! ADDRESS/0' would never match");
  }
  for (const rules::Match& match : rule.matches) {
    MatchOwner(match, family).CheckPlace(place, match);
  }
  if (const TargetExtension* owner = TargetOwner(rule.target)) {
    owner->CheckPlace(place, rule.target);
  }
  const rules::JumpTarget* jump = JumpOf(rule);
  if (jump == nullptr) return;
  const Chain* to = model_->table(table).Find(jump->chain);
  if (to == nullptr) Fail("Chain '{}' does not exist", jump->chain);
  if (to->builtin) RefuseRule(fmt::format("No rule can jump to built-in chain {}", jump->chain));
}

void Editor::PrintRule(const Rule& rule) {
  ListFormat format;
  format.one_line = format.numeric = format.verbose = true;
  AppendListRule(model_->family, format, 0, rule, out_);
}

void Editor::Append(net::Table table, const ParsedCommand& command, const rules::Origin& origin) {
  Chain& chain = MustFind(table, command, kNoChain);
  const bool insert = (command.verbs & kInsert) != 0;
  const auto index = static_cast<size_t>(std::max(command.number, 1)) - 1;
  if (insert && index > chain.rules.size()) Refuse("Index of insertion too big");
  for (Rule& rule : Prepared(command, model_->family, origin)) {
    CheckRule(table, chain, rule);
    if (command.verbose != 0) PrintRule(rule);
    const auto at =
        insert ? chain.rules.begin() + static_cast<std::ptrdiff_t>(index) : chain.rules.end();
    chain.rules.insert(at, std::move(rule));
  }
  Touch(table);
}

void Editor::Replace(net::Table table, const ParsedCommand& command, const rules::Origin& origin) {
  Chain& chain = MustFind(table, command, kNoChain);
  const auto index = static_cast<size_t>(command.number) - 1;
  if (index >= chain.rules.size()) Refuse("Index of replacement too big");
  Rule rule = std::move(Prepared(command, model_->family, origin).front());
  CheckRule(table, chain, rule);
  if (command.verbose != 0) PrintRule(rule);
  chain.rules[index] = std::move(rule);
  Touch(table);
}

void Editor::DeleteRules(net::Table table, const ParsedCommand& command) {
  Chain& chain = MustFind(table, command, kBadRule);
  for (const Rule& rule : Prepared(command, model_->family, {})) {
    const auto found = std::find_if(chain.rules.begin(), chain.rules.end(),
                                    [&](const Rule& other) { return other.SameAs(rule); });
    if (found == chain.rules.end()) Refuse(kBadRule);
    if (command.verbose != 0) PrintRule(*found);
    chain.rules.erase(found);
  }
  Touch(table);
}

void Editor::DeleteNumber(net::Table table, const ParsedCommand& command) {
  Chain& chain = MustFind(table, command, kNoChain);
  const auto index = static_cast<size_t>(command.number) - 1;
  if (index >= chain.rules.size()) Refuse("Index of deletion too big");
  chain.rules.erase(chain.rules.begin() + static_cast<std::ptrdiff_t>(index));
  Touch(table);
}

void Editor::Check(net::Table table, const ParsedCommand& command) {
  const Chain& chain = MustFind(table, command, kBadRule);
  for (const Rule& rule : Prepared(command, model_->family, {})) {
    const bool found = std::any_of(chain.rules.begin(), chain.rules.end(),
                                   [&](const Rule& other) { return other.SameAs(rule); });
    if (!found) Refuse(kBadRule);
    if (command.verbose != 0) PrintRule(rule);
  }
}

void Editor::Flush(net::Table table, const ParsedCommand& command) {
  if (command.chain) {
    MustFind(table, command, kNoChain).rules.clear();
    if (command.verbose != 0) *out_ += fmt::format("Flushing chain `{}'\n", *command.chain);
    Touch(table);
    return;
  }
  for (const Chain* chain : SortedChains(Table(table))) {
    if (command.verbose != 0) *out_ += fmt::format("Flushing chain `{}'\n", chain->name);
  }
  for (Chain& chain : Table(table).chains) {
    changed_ = changed_ || !chain.rules.empty();
    chain.rules.clear();
  }
}

void Editor::Zero(net::Table table, const ParsedCommand& command) {
  const auto zero_chain = [](Chain* chain) {
    chain->policy_counters = {};
    for (Rule& rule : chain->rules) rule.counters = {};
  };
  changed_ = true;
  if ((command.verbs & kZeroNumber) != 0) {
    Chain& chain = MustFind(table, command, kBadRule);
    const auto index = static_cast<size_t>(command.number) - 1;
    // The original is silent where there is no such rule.
    if (index < chain.rules.size()) chain.rules[index].counters = {};
    return;
  }
  if (command.chain) {
    zero_chain(&MustFind(table, command, kNoChain));
    if (command.verbose != 0) *out_ += fmt::format("Zeroing chain `{}'\n", *command.chain);
    return;
  }
  for (const Chain* chain : SortedChains(Table(table))) {
    if (command.verbose != 0) *out_ += fmt::format("Zeroing chain `{}'\n", chain->name);
  }
  for (Chain& chain : Table(table).chains) zero_chain(&chain);
}

void Editor::NewChain(net::Table table, const ParsedCommand& command) {
  if (Table(table).Find(*command.chain) != nullptr) Refuse("Chain already exists");
  Chain chain;
  chain.name = *command.chain;
  Table(table).chains.push_back(std::move(chain));
  Touch(table);
}

void Editor::DeleteChains(net::Table table, const ParsedCommand& command) {
  rules::TableModel& model = Table(table);
  const auto check = [&](const Chain& chain) {
    if (!chain.rules.empty()) RefuseRule(fmt::format("Chain '{}' is not empty", chain.name));
    if (CountReferences(model, chain.name) != 0) {
      RefuseRule(fmt::format("Can't delete chain '{}' with references left", chain.name));
    }
  };
  if (command.chain) {
    Chain& chain = MustFind(table, command, kNoChain);
    if (chain.builtin) {
      // The original takes the hook away, which an empty chain with policy ACCEPT can't show.
      if (!chain.rules.empty() || chain.policy != net::Verdict::kAccept) {
        Refuse("Directory not empty");
      }
      return;
    }
    if (command.verbose != 0) *out_ += fmt::format("Deleting chain `{}'\n", chain.name);
    check(chain);
    model.chains.erase(model.chains.begin() + (&chain - model.chains.data()));
    Touch(table);
    return;
  }
  for (const Chain* chain : SortedChains(model)) {
    if (chain->builtin) continue;
    if (command.verbose != 0) *out_ += fmt::format("Deleting chain `{}'\n", chain->name);
    check(*chain);
  }
  changed_ = std::erase_if(model.chains, [](const Chain& chain) { return !chain.builtin; }) != 0 ||
             changed_;
}

void Editor::RenameChain(net::Table table, const ParsedCommand& command) {
  if (Table(table).Find(command.new_name) != nullptr) Refuse("File exists");
  Chain& chain = MustFind(table, command, kNoChain);
  if (chain.builtin) RefuseRule(fmt::format("Chain '{}' is built in", chain.name));
  for (Chain& other : Table(table).chains) {
    for (Rule& rule : other.rules) {
      auto* jump = std::get_if<rules::JumpTarget>(&rule.target);
      if (jump != nullptr && jump->chain == chain.name) jump->chain = command.new_name;
    }
  }
  chain.name = command.new_name;
  Touch(table);
}

void Editor::SetPolicy(net::Table table, const std::string& name, const std::string& policy) {
  Chain* chain = Table(table).Find(name);
  if (chain == nullptr || !chain->builtin) Refuse("Bad built-in chain name");
  if (policy != "ACCEPT" && policy != "DROP") Refuse("Bad policy name");
  chain->policy = policy == "ACCEPT" ? net::Verdict::kAccept : net::Verdict::kDrop;
  Touch(table);
}

void Editor::StartTable(net::Table table, int verbose) {
  if (verbose != 0) {
    ParsedCommand flush;
    flush.verbose = verbose;
    Flush(table, flush);
    for (const Chain* chain : SortedChains(Table(table))) {
      if (!chain->builtin) *out_ += fmt::format("Deleting chain `{}'\n", chain->name);
    }
  }
  const rules::FamilyModel empty = rules::EmptyModel(model_->family);
  Table(table) = empty.table(table);
  model_->present[static_cast<size_t>(table)] = false;
  changed_ = true;
}

void Editor::RestoreChain(net::Table table, const std::string& name) {
  Chain* chain = Table(table).Find(name);
  if (chain != nullptr) {
    chain->rules.clear();
  } else {
    Chain added;
    added.name = name;
    Table(table).chains.push_back(std::move(added));
  }
  Touch(table);
}

void Editor::ListTable(net::Table table, const ParsedCommand& command) {
  ListFormat format;
  format.numeric = command.numeric;
  format.verbose = command.verbose != 0;
  format.exact = command.exact;
  format.line_numbers = command.line_numbers;
  const rules::TableModel& model = Table(table);
  std::vector<const Chain*> chains = SortedChains(model);
  if (command.chain) chains = {&MustFind(table, command, kNoChain)};
  bool first = true;
  for (const Chain* chain : chains) {
    if (command.number == 0) {
      if (!first) *out_ += '\n';
      AppendListHeader(format, *chain, CountReferences(model, chain->name), out_);
    }
    first = false;
    for (size_t i = 0; i < chain->rules.size(); ++i) {
      if (command.number != 0 && static_cast<size_t>(command.number) != i + 1) continue;
      AppendListRule(model_->family, format, i + 1, chain->rules[i], out_);
    }
  }
}

void Editor::ListTableRules(net::Table table, const ParsedCommand& command) {
  const bool counters = command.verbose != 0;
  std::vector<const Chain*> chains = SortedChains(Table(table));
  if (command.chain) chains = {&MustFind(table, command, kNoChain)};
  if (command.number == 0) {
    for (const Chain* chain : chains) {
      *out_ += chain->builtin ? fmt::format("-P {} {}", chain->name, PolicyName(chain->policy))
                              : fmt::format("-N {}", chain->name);
      if (chain->builtin && counters) {
        *out_ +=
            fmt::format(" -c {} {}", chain->policy_counters.packets, chain->policy_counters.bytes);
      }
      *out_ += '\n';
    }
  }
  for (const Chain* chain : chains) {
    for (size_t i = 0; i < chain->rules.size(); ++i) {
      if (command.number != 0 && static_cast<size_t>(command.number) != i + 1) continue;
      *out_ += "-A " + chain->name;
      AppendRuleText(model_->family, chain->rules[i], counters, out_);
      *out_ += '\n';
    }
  }
}

}  // namespace postern::control::iptables

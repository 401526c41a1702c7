#include "dataplane/rules/rule_set.h"

#include "dataplane/rules/compiled.h"
#include "dataplane/rules/walk_steps.h"
#include "dataplane/rules/worker_rules.h"

namespace postern::rules {

namespace {

// The matches of a rule in order, up to the first that says no.
Answer Evaluate(const RuleSet::Compiled& compiled, const CompiledRule& rule, const PacketKey& key,
                const WalkContext& context) {
  uint16_t* depends = &context.path->depends;
  if (!Matches(rule.ip, key, depends)) return Answer::kNo;
  const CompiledMatch* match = compiled.matches.data() + rule.first_match;
  for (const CompiledMatch* end = match + rule.match_count; match != end; ++match) {
    const Answer answer = std::visit(
        [&context, depends](const auto& m) { return Matches(m, context, depends); }, *match);
    if (answer != Answer::kYes) return answer;
  }
  return Answer::kYes;
}

void Count(RuleId id, const WalkContext& context) {
  PathBuilder& path = *context.path;
  if (path.size < PathBuilder::kMaxRules) {
    path.rules[path.size++] = id;
    return;
  }
  path.overflow = true;
  if (context.worker != nullptr) {
    context.worker->CountRule(id, 1, context.packet->ip.l3_length);
  }
}

WalkResult Decide(net::Verdict verdict, net::DropReason reason, RuleId id) {
  WalkResult result;
  result.verdict = verdict;
  result.reason = verdict == net::Verdict::kAccept ? net::DropReason::kNone : reason;
  result.decided_by = id;
  return result;
}

// The walk has passed the rules of `chain` before `end`, by looking at them or by an index.
void NoteTuple(const ChainRange& chain, RuleId end, PathBuilder* path) {
  if (chain.first_of_tuple < end) path->depends |= kDependsTuple;
}

// A target that ends the walk.
WalkResult Finish(const CompiledTarget& target, RuleId id, uint16_t* depends) {
  WalkResult result;
  switch (target.kind) {
    case TargetKind::kAccept:
      return Decide(net::Verdict::kAccept, net::DropReason::kNone, id);
    case TargetKind::kReject:
      *depends |= kDependsSideEffect;
      result = Decide(net::Verdict::kReject, net::DropReason::kRuleReject, id);
      result.reject = target.reject;
      return result;
    case TargetKind::kSnat:
    case TargetKind::kDnat:
    case TargetKind::kMasquerade:
    case TargetKind::kRedirect:
      result = Decide(net::Verdict::kAccept, net::DropReason::kNone, id);
      result.nat = target.nat;
      result.redirect = target.kind == TargetKind::kRedirect;
      result.nat_destination = target.kind == TargetKind::kDnat || result.redirect;
      result.masquerade = target.kind == TargetKind::kMasquerade;
      return result;
    default:
      return Decide(net::Verdict::kDrop, net::DropReason::kRuleDrop, id);
  }
}

// A target that lets the packet go on to the next rule.
void Apply(const CompiledTarget& target, const WalkContext& context) {
  uint16_t& depends = context.path->depends;
  net::Packet& packet = *context.packet;
  switch (target.kind) {
    case TargetKind::kLog:
      depends |= kDependsSideEffect;
      if (context.log != nullptr) {
        context.log->Log(*target.log, packet, context.hook, context.in, context.out, context.now);
      }
      return;
    case TargetKind::kMark:
      depends |= kDependsSideEffect;
      packet.mark = (packet.mark & ~target.mark.mask) ^ target.mark.value;
      return;
    case TargetKind::kNotrack:
      depends |= kDependsSideEffect;
      if (context.ct->connection == nullptr) context.ct->info = ctrack::CtInfo::kUntracked;
      return;
    default:
      return;
  }
}

}  // namespace

RuleSet::RuleSet() : compiled_(std::make_unique<Compiled>()) {}
RuleSet::~RuleSet() = default;

WalkResult RuleSet::Walk(net::Table table, const WalkContext& context) const {
  const Compiled& compiled = *compiled_;
  const Family family = context.packet->ip.family;
  const BaseChain& base = compiled.Base(family, table, context.hook);
  if (!base.exists || !HasTable(family, table)) {
    return Decide(net::Verdict::kAccept, net::DropReason::kNone, kNoRule);
  }
  const std::vector<ChainRange>& chains = compiled.Chains(family, table);
  if (chains[base.chain].first == chains[base.chain].last) {
    Count(base.policy, context);
    return Decide(base.verdict, net::DropReason::kPolicyDrop, base.policy);
  }
  const PacketKey key(context);
  WalkSteps steps(key, context);
  WalkSteps::Place stack[kMaxJumpDepth];
  size_t depth = 0;
  bool returns = false;
  steps.Enter(chains[base.chain]);
  for (;;) {
    if (returns || !steps.Advance()) {
      if (!returns) NoteTuple(*steps.place().chain, steps.place().chain->last, context.path);
      if (depth == 0) break;
      steps.ReturnTo(stack[--depth]);
      returns = false;
      continue;
    }
    const RuleId id = steps.id();
    NoteTuple(*steps.place().chain, id + 1, context.path);
    const CompiledRule& rule = compiled.rules[id];
    const Answer answer = Evaluate(compiled, rule, key, context);
    if (answer == Answer::kNo) continue;
    if (answer == Answer::kHotdrop) {
      return Decide(net::Verdict::kDrop, net::DropReason::kMatchHotdrop, id);
    }
    Count(id, context);
    const CompiledTarget& target = rule.target;
    switch (target.kind) {
      case TargetKind::kNone:
      case TargetKind::kLog:
      case TargetKind::kMark:
      case TargetKind::kNotrack:
        Apply(target, context);
        break;
      case TargetKind::kReturn:
        returns = true;
        break;
      case TargetKind::kJump:
        // Validate refuses deeper nesting; the bound keeps a wrong model from the stack's end.
        if (depth == kMaxJumpDepth) {
          return Decide(net::Verdict::kDrop, net::DropReason::kRuleDrop, id);
        }
        stack[depth++] = steps.place();
        [[fallthrough]];
      case TargetKind::kGoto:
        // The chain that a goto leaves is not returned to, but its caller is.
        steps.Enter(chains[target.chain]);
        break;
      default:
        return Finish(target, id, &context.path->depends);
    }
  }
  Count(base.policy, context);
  return Decide(base.verdict, net::DropReason::kPolicyDrop, base.policy);
}

bool RuleSet::HasRules(Family family, net::Table table, net::Hook hook) const {
  const BaseChain& base = compiled_->Base(family, table, hook);
  if (!base.exists) return false;
  const ChainRange& range = compiled_->Chains(family, table)[base.chain];
  return range.first != range.last;
}

RuleId RuleSet::PolicyId(Family family, net::Table table, net::Hook hook) const {
  return compiled_->Base(family, table, hook).policy;
}

bool RuleSet::HasTable(Family family, net::Table table) const {
  return compiled_->model.family(family).present[static_cast<size_t>(table)];
}

const TupleClasses& RuleSet::tuple_classes(Family family) const {
  return compiled_->tuple_classes[FamilyIndex(family)];
}

uint32_t RuleSet::generation() const { return compiled_->options.generation; }

uint32_t RuleSet::rule_count() const { return static_cast<uint32_t>(compiled_->places.size()); }

RulePlace RuleSet::Place(RuleId id) const { return compiled_->places[id]; }

RuleId RuleSet::IdOf(const RulePlace& place) const {
  const std::vector<ChainRange>& chains = compiled_->Chains(place.family, place.table);
  if (place.chain >= chains.size()) return kNoRule;
  const ChainRange& range = chains[place.chain];
  if (place.number > range.last - range.first) return kNoRule;
  if (place.number != 0) return range.first + place.number - 1;
  const Chain& chain = model().family(place.family).table(place.table).chains[place.chain];
  return chain.builtin ? range.last : kNoRule;
}

const Model& RuleSet::model() const { return compiled_->model; }

}  // namespace postern::rules

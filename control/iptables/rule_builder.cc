#include "control/iptables/rule_builder.h"

#include <algorithm>

#include "control/iptables/extension_help.h"
#include "control/iptables/merge.h"
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

constexpr size_t kMaxName = 28;  // of extensions and chains

void CheckTargetName(const std::string& name) {
  if (name.empty()) Fail("Invalid target name (too short)");
  if (name.size() > kMaxName) Fail("Invalid target name `{}' ({} chars max)", name, kMaxName);
  if (std::any_of(name.begin(), name.end(), IsSpace)) Fail("Invalid target name `{}'", name);
}

// Errors name an option by the first of its spellings.
const OptionSpec& NamedOption(const Extension& extension, size_t index) {
  const auto options = extension.options();
  const OptionSpec& spec = options[index];
  if (spec.type == OptionType::kPlain || spec.type == OptionType::kPlainNone) return spec;
  return *std::find_if(options.begin(), options.end(),
                       [&](const OptionSpec& other) { return other.id == spec.id; });
}

bool NeedsArgument(OptionType type) {
  return type != OptionType::kNone && type != OptionType::kPlainNone;
}

}  // namespace

void CheckChainName(const std::string& name, Family family) {
  if (name.size() > kMaxName) {
    Fail("chain name `{}' too long (must be under {} chars)", name, kMaxName + 1);
  }
  if (name.starts_with('-') || name.starts_with('!')) {
    Fail("chain name not allowed to start with `{}'", name.front());
  }
  if (IsTargetName(name, family)) Fail("chain name may not clash with target name");
  // Names are saved without quotes.
  if (std::any_of(name.begin(), name.end(), [](char c) { return IsSpace(c) || c == '"'; })) {
    Fail("Invalid chain name `{}'", name);
  }
}

void RuleBuilder::SetProtocol(const std::string& text, uint8_t number, bool invert) {
  protocol_ = text;
  context_.protocol = number;
  context_.invert_protocol = invert;
}

void RuleBuilder::AddOptions(const Extension& extension) {
  if (std::find(known_.begin(), known_.end(), &extension) != known_.end()) return;
  const int base = kFirstValue * static_cast<int>(known_.size() + 1);
  known_.push_back(&extension);
  std::vector<LongOption> options;
  for (const OptionSpec& spec : extension.options()) {
    options.push_back({spec.name,
                       NeedsArgument(spec.type) ? HasArgument::kRequired : HasArgument::kNo,
                       base + static_cast<int>(options.size())});
  }
  scanner_->AddLongOptions(options);
}

void RuleBuilder::AddMatch(const std::string& name) {
  if (name.size() > kMaxName) Fail("Invalid match name \"{}\" ({} chars max)", name, kMaxName);
  const MatchExtension* extension = FindMatch(name, context_.family);
  if (extension == nullptr) {
    if (IsForeignMatch(name, context_.family)) Fail("match '{}' isn't supported", name);
    Fail("Couldn't load match `{}':No such file or directory\n", name);
  }
  matches_.push_back({extension, extension->Init(context_.family), 0});
  AddOptions(*extension);
}

void RuleBuilder::Jump(const std::string& name) {
  CheckTargetName(name);
  target_name_ = name;
  if (name == "ACCEPT") {
    target_ = rules::AcceptTarget{};
  } else if (name == "DROP") {
    target_ = rules::DropTarget{};
  } else if (name == "RETURN") {
    target_ = rules::ReturnTarget{};
  } else if (const TargetExtension* extension = FindTarget(name, context_.family)) {
    target_extension_ = extension;
    target_ = extension->Init(context_.family);
    AddOptions(*extension);
  } else if (IsForeignTarget(name, context_.family)) {
    Fail("target '{}' isn't supported", name);
  } else {
    target_ = rules::JumpTarget{name, false};
  }
}

void RuleBuilder::Goto(const std::string& name) {
  CheckTargetName(name);
  target_name_ = name;
  target_ = rules::JumpTarget{name, true};
}

RuleBuilder::Instance* RuleBuilder::LatestInstance(const Extension* extension) {
  for (size_t i = matches_.size(); i > 0; --i) {
    if (matches_[i - 1].extension == extension) return &matches_[i - 1];
  }
  return nullptr;
}

// `-p tcp --dport 22` means `-p tcp -m tcp --dport 22`.
bool RuleBuilder::LoadProtocolMatch(bool numeric) {
  if (protocol_.empty() || protocol_loaded_) return false;
  protocol_loaded_ = true;
  std::string name = protocol_;
  if (ParseNumber(protocol_, 0, 255)) name = ProtocolName(context_.protocol, !numeric);
  if (name.empty()) return false;
  if (FindMatch(name, context_.family) == nullptr) {
    if (IsForeignMatch(name, context_.family)) Fail("match '{}' isn't supported", name);
    return false;
  }
  AddMatch(name);
  return true;
}

bool RuleBuilder::Option(int value, bool invert, bool numeric) {
  if (value >= kFirstValue) {
    const Extension* extension = known_[static_cast<size_t>(value / kFirstValue - 1)];
    OptionCall call;
    call.option = &NamedOption(*extension, static_cast<size_t>(value % kFirstValue));
    call.extension = extension->name();
    if (const std::string* argument = scanner_->argument()) call.argument = *argument;
    call.invert = invert;
    call.rule = &context_;
    call.words = scanner_;
    if (extension == target_extension_) {
      call.given = target_given_;
      PrepareCall(&call);
      target_extension_->Parse(call, &target_);
      target_given_ |= Bit(call.option->id);
      return false;
    }
    Instance* instance = LatestInstance(extension);
    call.given = instance->given;
    PrepareCall(&call);
    instance->extension->Parse(call, &instance->match);
    instance->given |= Bit(call.option->id);
    return false;
  }
  if (LoadProtocolMatch(numeric)) {
    scanner_->StepBack();
    return true;
  }
  if (value == OptionScanner::kMissing) {
    Fail("option \"{}\" requires an argument", scanner_->LastWord());
  }
  Fail("unknown option \"{}\"", scanner_->LastWord());
}

void RuleBuilder::CheckOptions() const {
  for (const Instance& instance : matches_) {
    instance.extension->Check(instance.given);
    CheckTable(*instance.extension, instance.given);
  }
  if (target_extension_ != nullptr) {
    target_extension_->Check(target_given_);
    CheckTable(*target_extension_, target_given_);
  }
}

std::string RuleBuilder::Help() {
  if (matches_.empty()) LoadProtocolMatch(true);
  std::string text;
  if (target_extension_ != nullptr) {
    text += TargetHelp(target_extension_->name(), context_.family);
  }
  for (const Instance& instance : matches_) {
    text += MatchHelp(instance.extension->name(), context_.family);
  }
  return text;
}

void RuleBuilder::Finish(rules::Rule* rule) const {
  rule->matches.clear();
  for (const Instance& instance : matches_) rule->matches.push_back(instance.match);
  MergePortMatches(&rule->matches);
  rule->target = target_;
}

}  // namespace postern::control::iptables

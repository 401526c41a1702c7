// -m recent: lists of addresses seen lately.
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::RecentMatch;
using Operation = RecentMatch::Operation;

enum : uint8_t {
  kSet,
  kRcheck,
  kUpdate,
  kSeconds,
  kHitcount,
  kRemove,
  kRttl,
  kName,
  kRsource,
  kRdest,
  kReap,
  kMask,
};
constexpr uint32_t kAnyOperation = Bit(kSet) | Bit(kRcheck) | Bit(kUpdate) | Bit(kRemove);
constexpr OptionSpec kOptions[] = {
    {"set", kSet, OptionType::kNone, OptionSpec::kInvert, 0, 0, kAnyOperation},
    {"rcheck", kRcheck, OptionType::kNone, OptionSpec::kInvert, 0, 0, kAnyOperation},
    {"update", kUpdate, OptionType::kNone, OptionSpec::kInvert, 0, 0, kAnyOperation},
    {"remove", kRemove, OptionType::kNone, OptionSpec::kInvert, 0, 0, kAnyOperation},
    {"seconds", kSeconds, OptionType::kUint32, 0, 1},
    {"reap", kReap, OptionType::kNone, 0, 0, 0, 0, Bit(kSeconds)},
    {"hitcount", kHitcount, OptionType::kUint32},
    {"rttl", kRttl, OptionType::kNone, 0, 0, 0, Bit(kSet) | Bit(kRemove)},
    {"name", kName, OptionType::kString},
    {"rsource", kRsource, OptionType::kNone},
    {"rdest", kRdest, OptionType::kNone},
    {"mask", kMask, OptionType::kHost},
};
constexpr size_t kMaxName = 199;
constexpr uint32_t kMaxHits = 65536;  // XT_RECENT_MAX_NSTAMPS of Linux 6.x

struct OperationName {
  std::string_view option, label;
};
constexpr OperationName kOperationNames[] = {
    {"set", "SET"}, {"rcheck", "CHECK"}, {"update", "UPDATE"}, {"remove", "REMOVE"}};

class RecentExtension : public MatchOf<RecentMatch> {
 public:
  RecentExtension() : MatchOf("recent") {}
  std::span<const OptionSpec> options() const override { return kOptions; }
  void Check(uint32_t given) const override {
    if ((given & kAnyOperation) == 0) {
      Fail("recent: you must specify one of `--set', `--rcheck' `--update' or `--remove'");
    }
  }

  // As xt_recent's check of a new rule.
  void CheckPlace(const RulePlace&, const rules::Match& match) const override {
    const auto& recent = std::get<RecentMatch>(match);
    const bool asks =
        recent.operation == Operation::kCheck || recent.operation == Operation::kUpdate;
    if (!asks && (recent.ttl || recent.reap || recent.seconds != 0 || recent.hitcount != 0)) {
      RefuseRule("recent: --seconds, --hitcount, --rttl and --reap go with --rcheck and --update");
    }
    if (recent.hitcount >= kMaxHits) {
      RefuseRule(fmt::format("recent: hitcount ({}) is larger than allowed maximum ({})",
                             recent.hitcount, kMaxHits - 1));
    }
    // Names are saved without quotes.
    if (recent.name.empty() || recent.name.find_first_of("/\" \t\n\v\f\r") != std::string::npos) {
      RefuseRule(fmt::format("recent: '{}' can't be a list's name", recent.name));
    }
  }

 protected:
  // Of an IPv6 address too, whatever the rule's family: both share a list. --mask 255.255.255.255
  // leaves four bytes of it.
  RecentMatch InitStruct(Family /*family*/) const override {
    RecentMatch match;
    match.mask = AllOnes(Family::kIpv6);
    return match;
  }

  void ParseStruct(const OptionCall& call, RecentMatch* match) const override {
    switch (call.option->id) {
      case kSet:
        return SetOperation(Operation::kSet, call.invert, match);
      case kRcheck:
        return SetOperation(Operation::kCheck, call.invert, match);
      case kUpdate:
        return SetOperation(Operation::kUpdate, call.invert, match);
      case kRemove:
        return SetOperation(Operation::kRemove, call.invert, match);
      case kSeconds:
        match->seconds = static_cast<uint32_t>(call.number);
        return;
      case kHitcount:
        match->hitcount = static_cast<uint32_t>(call.number);
        return;
      case kRttl:
        match->ttl = true;
        return;
      case kName:
        match->name = call.argument.substr(0, kMaxName);
        return;
      case kRsource:
        match->destination = false;
        return;
      case kRdest:
        match->destination = true;
        return;
      case kReap:
        match->reap = true;
        return;
      default:
        match->mask = call.address;
    }
  }

  void SaveStruct(const PrintContext& context, const RecentMatch& match,
                  std::string* out) const override {
    if (match.invert) *out += " !";
    *out += fmt::format(" --{}", kOperationNames[static_cast<size_t>(match.operation)].option);
    if (match.seconds != 0) *out += fmt::format(" --seconds {}", Signed(match.seconds));
    if (match.reap) *out += " --reap";
    if (match.hitcount != 0) *out += fmt::format(" --hitcount {}", Signed(match.hitcount));
    if (match.ttl) *out += " --rttl";
    *out += fmt::format(" --name {} --mask {} {}", match.name,
                        net::ToString(context.family, match.mask),
                        match.destination ? "--rdest" : "--rsource");
  }

  void ListStruct(const PrintContext& context, const RecentMatch& match,
                  std::string* out) const override {
    if (match.invert) *out += " !";
    *out += fmt::format(" recent: {}", kOperationNames[static_cast<size_t>(match.operation)].label);
    if (match.seconds != 0) *out += fmt::format(" seconds: {}", Signed(match.seconds));
    if (match.reap) *out += " reap";
    if (match.hitcount != 0) *out += fmt::format(" hit_count: {}", Signed(match.hitcount));
    if (match.ttl) *out += " TTL-Match";
    *out += fmt::format(" name: {} side: {} mask: {}", match.name,
                        match.destination ? "dest" : "source",
                        net::ToString(context.family, match.mask));
  }

 private:
  // The original prints these unsigned numbers as signed ones.
  static int32_t Signed(uint32_t value) { return static_cast<int32_t>(value); }
  static void SetOperation(Operation operation, bool invert, RecentMatch* match) {
    match->operation = operation;
    match->invert = match->invert || invert;
  }
};

}  // namespace

const MatchExtension& RecentMatchExtension() {
  static const RecentExtension kExtension;
  return kExtension;
}

}  // namespace postern::control::iptables

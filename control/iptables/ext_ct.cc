// -j CT --notrack and -j NOTRACK.
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::NotrackTarget;

enum : uint8_t { kNotrack, kHelper, kTimeout, kCtEvents, kExpEvents, kZone, kZoneOrig, kZoneReply };
constexpr OptionSpec kOptions[] = {
    {"notrack", kNotrack, OptionType::kNone},
    {"helper", kHelper},
    {"timeout", kTimeout},
    {"ctevents", kCtEvents},
    {"expevents", kExpEvents},
    {"zone-orig", kZoneOrig},
    {"zone-reply", kZoneReply},
    {"zone", kZone},
};

void RequireRaw(net::Table table, std::string_view name) {
  if (table != net::Table::kRaw) {
    RefuseRule(fmt::format("{} is only valid in the raw table", name));
  }
}

class CtExtension : public TargetOf<NotrackTarget> {
 public:
  CtExtension() : TargetOf("CT") {}
  std::span<const OptionSpec> options() const override { return kOptions; }
  bool Owns(const rules::Target& target) const override {
    const auto* notrack = std::get_if<NotrackTarget>(&target);
    return notrack != nullptr && !notrack->spelled_notrack;
  }
  void Check(uint32_t given) const override {
    if ((given & Bit(kNotrack)) == 0) Fail("target 'CT' is supported with --notrack only");
  }
  void CheckPlace(const RulePlace& place, const rules::Target&) const override {
    RequireRaw(place.table, name());
  }

 protected:
  void ParseStruct(const OptionCall& call, NotrackTarget*) const override {
    if (call.option->id != kNotrack) {
      Fail("target 'CT': option '--{}' isn't supported", call.option->name);
    }
  }
  void SaveStruct(const PrintContext&, const NotrackTarget&, std::string* out) const override {
    *out += " --notrack";
  }
  void ListStruct(const PrintContext&, const NotrackTarget&, std::string* out) const override {
    *out += " CT notrack";
  }
};

class NotrackExtension : public TargetOf<NotrackTarget> {
 public:
  NotrackExtension() : TargetOf("NOTRACK") {}
  std::string_view list_name() const override { return "CT"; }
  bool Owns(const rules::Target& target) const override {
    const auto* notrack = std::get_if<NotrackTarget>(&target);
    return notrack != nullptr && notrack->spelled_notrack;
  }
  void CheckPlace(const RulePlace& place, const rules::Target&) const override {
    RequireRaw(place.table, name());
  }

 protected:
  NotrackTarget InitStruct(Family) const override { return {true}; }
  void ListStruct(const PrintContext&, const NotrackTarget&, std::string* out) const override {
    *out += " NOTRACK";
  }
};

}  // namespace

const TargetExtension& CtTargetExtension() {
  static const CtExtension kExtension;
  return kExtension;
}

const TargetExtension& NotrackTargetExtension() {
  static const NotrackExtension kExtension;
  return kExtension;
}

}  // namespace postern::control::iptables

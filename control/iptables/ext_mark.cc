// -m mark and -j MARK.
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::MarkMatch;
using rules::MarkTarget;

constexpr OptionSpec kMatchOptions[] = {
    {"mark", 0, OptionType::kMarkMask, OptionSpec::kInvert | OptionSpec::kMandatory},
};

void AppendMark(uint32_t mark, uint32_t mask, std::string* out) {
  *out +=
      mask == 0xffffffff ? fmt::format(" 0x{:x}", mark) : fmt::format(" 0x{:x}/0x{:x}", mark, mask);
}

class MarkMatchExt : public MatchOf<MarkMatch> {
 public:
  MarkMatchExt() : MatchOf("mark") {}
  std::span<const OptionSpec> options() const override { return kMatchOptions; }

 protected:
  void ParseStruct(const OptionCall& call, MarkMatch* match) const override {
    match->mark = static_cast<uint32_t>(call.number);
    match->mask = static_cast<uint32_t>(call.second);
    match->invert = call.invert;
  }
  void SaveStruct(const PrintContext&, const MarkMatch& match, std::string* out) const override {
    *out += match.invert ? " ! --mark" : " --mark";
    AppendMark(match.mark, match.mask, out);
  }
  void ListStruct(const PrintContext&, const MarkMatch& match, std::string* out) const override {
    *out += match.invert ? " mark match !" : " mark match";
    AppendMark(match.mark, match.mask, out);
  }
};

enum : uint8_t { kSetMark, kAndMark, kOrMark, kXorMark, kSetXmark };
constexpr uint32_t kAny =
    Bit(kSetMark) | Bit(kAndMark) | Bit(kOrMark) | Bit(kXorMark) | Bit(kSetXmark);
constexpr OptionSpec kTargetOptions[] = {
    {"set-xmark", kSetXmark, OptionType::kMarkMask, 0, 0, 0, kAny},
    {"set-mark", kSetMark, OptionType::kMarkMask, 0, 0, 0, kAny},
    {"and-mark", kAndMark, OptionType::kUint32, 0, 0, 0, kAny},
    {"or-mark", kOrMark, OptionType::kUint32, 0, 0, 0, kAny},
    {"xor-mark", kXorMark, OptionType::kUint32, 0, 0, 0, kAny},
};

class MarkTargetExt : public TargetOf<MarkTarget> {
 public:
  MarkTargetExt() : TargetOf("MARK") {}
  std::span<const OptionSpec> options() const override { return kTargetOptions; }
  void Check(uint32_t given) const override {
    if (given == 0) {
      Fail("MARK: One of the --set-xmark, --{{and,or,xor,set}}-mark options is required");
    }
  }

 protected:
  MarkTarget InitStruct(Family) const override { return {0, 0}; }

  void ParseStruct(const OptionCall& call, MarkTarget* target) const override {
    const auto number = static_cast<uint32_t>(call.number);
    const auto mask = static_cast<uint32_t>(call.second);
    switch (call.option->id) {
      case kSetXmark:
        *target = {number, mask};
        return;
      case kSetMark:
        *target = {number, number | mask};
        return;
      case kAndMark:
        *target = {0, ~number};
        return;
      case kOrMark:
        *target = {number, number};
        return;
      default:
        *target = {number, 0};
    }
  }
  void SaveStruct(const PrintContext&, const MarkTarget& target, std::string* out) const override {
    *out += fmt::format(" --set-xmark 0x{:x}/0x{:x}", target.value, target.mask);
  }
  void ListStruct(const PrintContext&, const MarkTarget& target, std::string* out) const override {
    if (target.value == 0) {
      *out += fmt::format(" MARK and 0x{:x}", ~target.mask);
    } else if (target.value == target.mask) {
      *out += fmt::format(" MARK or 0x{:x}", target.value);
    } else if (target.mask == 0) {
      *out += fmt::format(" MARK xor 0x{:x}", target.value);
    } else if (target.mask == 0xffffffff) {
      *out += fmt::format(" MARK set 0x{:x}", target.value);
    } else {
      *out += fmt::format(" MARK xset 0x{:x}/0x{:x}", target.value, target.mask);
    }
  }
};

}  // namespace

const MatchExtension& MarkMatchExtension() {
  static const MarkMatchExt kExtension;
  return kExtension;
}

const TargetExtension& MarkTargetExtension() {
  static const MarkTargetExt kExtension;
  return kExtension;
}

}  // namespace postern::control::iptables

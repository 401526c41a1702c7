// -m connlimit: how many connections an address or network may have at once.
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::ConnlimitMatch;

enum : uint8_t { kSaddr, kDaddr, kAbove, kUpto, kMask };
constexpr OptionSpec kOptions[] = {
    {"connlimit-upto", kUpto, OptionType::kUint32, OptionSpec::kInvert, 0, 0, Bit(kAbove)},
    {"connlimit-above", kAbove, OptionType::kUint32, OptionSpec::kInvert, 0, 0, Bit(kUpto)},
    {"connlimit-mask", kMask, OptionType::kPrefixMask},
    {"connlimit-saddr", kSaddr, OptionType::kNone, 0, 0, 0, Bit(kDaddr)},
    {"connlimit-daddr", kDaddr, OptionType::kNone, 0, 0, 0, Bit(kSaddr)},
};

class ConnlimitExtension : public MatchOf<ConnlimitMatch> {
 public:
  ConnlimitExtension() : MatchOf("connlimit") {}
  std::span<const OptionSpec> options() const override { return kOptions; }
  void Check(uint32_t given) const override {
    if ((given & (Bit(kAbove) | Bit(kUpto))) == 0) {
      Fail("You must specify \"--connlimit-above\" or \"--connlimit-upto\".");
    }
  }

 protected:
  ConnlimitMatch InitStruct(Family family) const override {
    ConnlimitMatch match;
    match.mask = AllOnes(family);
    match.mask_length = family == Family::kIpv4 ? 32 : 128;
    return match;
  }

  void ParseStruct(const OptionCall& call, ConnlimitMatch* match) const override {
    switch (call.option->id) {
      case kAbove:
        match->limit = static_cast<uint32_t>(call.number);
        match->invert = call.invert;
        return;
      case kUpto:
        match->limit = static_cast<uint32_t>(call.number);
        match->invert = !call.invert;
        return;
      case kMask:
        match->mask = call.mask;
        match->mask_length = static_cast<uint8_t>(call.prefix_length);
        return;
      default:
        match->destination = call.option->id == kDaddr;
    }
  }

  void SaveStruct(const PrintContext&, const ConnlimitMatch& match,
                  std::string* out) const override {
    *out += fmt::format(" --connlimit-{} {} --connlimit-mask {} --connlimit-{}",
                        match.invert ? "upto" : "above", match.limit, match.mask_length,
                        match.destination ? "daddr" : "saddr");
  }

  void ListStruct(const PrintContext&, const ConnlimitMatch& match,
                  std::string* out) const override {
    *out += fmt::format(" #conn {}/{} {} {}", match.destination ? "dst" : "src", match.mask_length,
                        match.invert ? "<=" : ">", match.limit);
  }
};

}  // namespace

const MatchExtension& ConnlimitMatchExtension() {
  static const ConnlimitExtension kExtension;
  return kExtension;
}

}  // namespace postern::control::iptables

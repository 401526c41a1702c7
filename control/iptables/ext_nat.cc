// -j SNAT, DNAT, MASQUERADE, REDIRECT.
#include <arpa/inet.h>

#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using net::Hook;
using net::NatRange;

enum : uint8_t { kToDestination, kToSource, kToPorts, kRandom, kRandomFully, kPersistent };
constexpr OptionSpec kSnatOptions[] = {
    {"to-source", kToSource, OptionType::kString, OptionSpec::kMandatory},
    {"random", kRandom, OptionType::kNone},
    {"random-fully", kRandomFully, OptionType::kNone},
    {"persistent", kPersistent, OptionType::kNone},
};
constexpr OptionSpec kDnatOptions[] = {
    {"to-destination", kToDestination, OptionType::kString, OptionSpec::kMandatory},
    {"random", kRandom, OptionType::kNone},
    {"persistent", kPersistent, OptionType::kNone},
};
constexpr OptionSpec kMasqueradeOptions[] = {
    {"to-ports", kToPorts, OptionType::kString},
    {"random", kRandom, OptionType::kNone},
    {"random-fully", kRandomFully, OptionType::kNone},
};
constexpr OptionSpec kRedirectOptions[] = {
    {"to-ports", kToPorts, OptionType::kString},
    {"random", kRandom, OptionType::kNone},
};

// What tells the four apart.
struct Style {
  std::string_view name;
  std::span<const OptionSpec> options;
  std::string_view save;  // before the range
  std::string_view list;
  bool skip_colon;  // of a range that is ports only
  uint8_t hooks;    // bits of net::Hook
  bool may_shift;   // "a:1-2/3"
};
constexpr uint8_t At(Hook hook) { return static_cast<uint8_t>(1U << static_cast<unsigned>(hook)); }
constexpr uint8_t kSourceHooks = At(Hook::kPostrouting) | At(Hook::kInput);
constexpr uint8_t kDestinationHooks = At(Hook::kPrerouting) | At(Hook::kOutput);
constexpr Style kSnat = {"SNAT", kSnatOptions, "--to-source ", "to:", false, kSourceHooks, false};
constexpr Style kDnat = {"DNAT", kDnatOptions, "--to-destination ", "to:", false, kDestinationHooks,
                         true};
constexpr Style kMasquerade = {"MASQUERADE", kMasqueradeOptions,     "--to-ports ", "masq ports: ",
                               true,         At(Hook::kPostrouting), false};
constexpr Style kRedirect = {"REDIRECT", kRedirectOptions,  "--to-ports ", "redir ports ",
                             true,       kDestinationHooks, false};

uint16_t PortOrService(const std::string& text, uint64_t min, std::string* rest) {
  if (const auto number = ParseNumber(text, min, 65535, rest)) {
    return static_cast<uint16_t>(*number);
  }
  const auto port = ServiceToPort(text, nullptr);
  if (!port) Fail("Port `{}' not valid", text);
  rest->clear();
  return *port;
}

// "port", "first-last", "first-last/base".
void ParseNatPorts(const std::string& text, const RuleContext& rule, NatRange* range) {
  constexpr uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kDccp = 33, kSctp = 132;
  const uint8_t protocol = rule.protocol;
  if (protocol != kTcp && protocol != kUdp && protocol != kSctp && protocol != kDccp &&
      protocol != kIcmp) {
    Fail("Need TCP, UDP, SCTP or DCCP with port specification");
  }
  range->has_ports = true;
  std::string rest;
  range->ports.first = PortOrService(text, 0, &rest);
  range->ports.last = range->ports.first;
  if (rest.empty()) return;
  if (rest.front() == ':') Fail("Invalid port:port syntax - use dash");
  if (rest.front() != '-') Fail("Garbage after port value: `{}'", rest);
  const std::string end = rest.substr(1);
  const auto last = ParseNumber(end, 0, 65535, &rest);
  if (!last) Fail("Port `{}' not valid", end);
  if (*last < range->ports.first) Fail("Port range `{}' funky", end);
  range->ports.last = static_cast<uint16_t>(*last);
  if (rest.empty()) return;
  if (rest.front() != '/') Fail("Garbage after port range: `{}'", rest);
  std::string after;
  range->base_port = PortOrService(rest.substr(1), 1, &after);
  range->has_base = true;
}

IpAddress ParseNatAddress(Family family, const std::string& text) {
  IpAddress address;
  if (inet_pton(static_cast<int>(family), text.c_str(), address.bytes.data()) != 1) {
    Fail("Bad IP address \"{}\"", text);
  }
  return address;
}

// "address[-address][:ports]", IPv6 with ports "[address[-address]]:ports".
void ParseNatTo(const std::string& text, const RuleContext& rule, NatRange* range) {
  std::string addresses = text;
  std::optional<std::string> ports;
  if (const size_t open = text.find('['); open != text.npos) {
    const size_t close = text.find(']', open);
    if (close == text.npos || rule.family == Family::kIpv4) Fail("Invalid address format");
    addresses = text.substr(open + 1, close - open - 1);
    if (const size_t colon = text.find(':', close); colon != text.npos) {
      ports = text.substr(colon + 1);
    }
  } else if (const size_t colon = text.find(':');
             colon != text.npos && text.find(':', colon + 1) == text.npos) {
    addresses = text.substr(0, colon);
    ports = text.substr(colon + 1);
  }
  if (ports) {
    ParseNatPorts(*ports, rule, range);
    if (addresses.empty()) return;
  }
  range->has_address = true;
  const size_t dash = addresses.find('-');
  range->first_address = ParseNatAddress(rule.family, addresses.substr(0, dash));
  range->last_address = dash == addresses.npos
                            ? range->first_address
                            : ParseNatAddress(rule.family, addresses.substr(dash + 1));
}

std::string RangeText(Family family, const NatRange& range) {
  std::string text;
  if (range.has_address) {
    text = net::ToString(family, range.first_address);
    if (range.last_address != range.first_address) {
      text += "-" + net::ToString(family, range.last_address);
    }
    if (family == Family::kIpv6 && range.has_ports) text = "[" + text + "]";
  }
  if (range.has_ports) {
    text += fmt::format(":{}", range.ports.first);
    if (range.ports.last != range.ports.first) text += fmt::format("-{}", range.ports.last);
    if (range.has_base) text += fmt::format("/{}", range.base_port);
  }
  return text;
}

template <typename T>
class NatExtension : public TargetOf<T> {
 public:
  explicit NatExtension(const Style& style) : TargetOf<T>(style.name), style_(style) {}
  std::span<const OptionSpec> options() const override { return style_.options; }

  void CheckPlace(const RulePlace& place, const rules::Target&) const override {
    if (place.table != net::Table::kNat) {
      RefuseRule(fmt::format("{} is only valid in the nat table", style_.name));
    }
    if (place.hook && (style_.hooks & At(*place.hook)) == 0) {
      RefuseRule(
          fmt::format("{} is not valid in chain {}", style_.name, net::ToString(*place.hook)));
    }
  }

 protected:
  void ParseStruct(const OptionCall& call, T* target) const override {
    NatRange* range = &target->range;
    switch (call.option->id) {
      case kToDestination:
      case kToSource:
        ParseNatTo(call.argument, *call.rule, range);
        break;
      case kToPorts:
        ParseNatPorts(call.argument, *call.rule, range);
        break;
      case kRandom:
        range->random = true;
        break;
      case kRandomFully:
        range->fully_random = true;
        break;
      default:
        range->persistent = true;
    }
    if (range->has_base && !style_.may_shift) {
      Fail("Shifted portmap ranges not supported with this kernel");
    }
  }
  void SaveStruct(const PrintContext& context, const T& target, std::string* out) const override {
    Print(context.family, target.range, style_.save, "--", out);
  }
  void ListStruct(const PrintContext& context, const T& target, std::string* out) const override {
    Print(context.family, target.range, style_.list, "", out);
  }

 private:
  void Print(Family family, const NatRange& range, std::string_view before,
             std::string_view flag_prefix, std::string* out) const {
    std::string text = RangeText(family, range);
    if (style_.skip_colon && text.starts_with(':')) text.erase(0, 1);
    if (!text.empty()) *out += fmt::format(" {}{}", before, text);
    if (range.random) *out += fmt::format(" {}random", flag_prefix);
    if (range.fully_random) *out += fmt::format(" {}random-fully", flag_prefix);
    if (range.persistent) *out += fmt::format(" {}persistent", flag_prefix);
  }

  const Style& style_;
};

}  // namespace

const TargetExtension& SnatTargetExtension() {
  static const NatExtension<rules::SnatTarget> kExtension(kSnat);
  return kExtension;
}

const TargetExtension& DnatTargetExtension() {
  static const NatExtension<rules::DnatTarget> kExtension(kDnat);
  return kExtension;
}

const TargetExtension& MasqueradeTargetExtension() {
  static const NatExtension<rules::MasqueradeTarget> kExtension(kMasquerade);
  return kExtension;
}

const TargetExtension& RedirectTargetExtension() {
  static const NatExtension<rules::RedirectTarget> kExtension(kRedirect);
  return kExtension;
}

}  // namespace postern::control::iptables

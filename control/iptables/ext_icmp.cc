// -m icmp, -m icmp6: message types, by number or name.
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::IcmpMatch;

// Types and codes are IANA's; the names are those that the original understands and prints (the
// first of several for one number).
struct IcmpName {
  std::string_view name;
  uint8_t type;
  uint8_t first_code = 0;
  uint8_t last_code = 0xff;
};
constexpr IcmpName kIcmpNames[] = {
    {"any", 0xff},
    {"echo-reply", 0},
    {"pong", 0},
    {"destination-unreachable", 3},
    {"network-unreachable", 3, 0, 0},
    {"host-unreachable", 3, 1, 1},
    {"protocol-unreachable", 3, 2, 2},
    {"port-unreachable", 3, 3, 3},
    {"fragmentation-needed", 3, 4, 4},
    {"source-route-failed", 3, 5, 5},
    {"network-unknown", 3, 6, 6},
    {"host-unknown", 3, 7, 7},
    {"network-prohibited", 3, 9, 9},
    {"host-prohibited", 3, 10, 10},
    {"TOS-network-unreachable", 3, 11, 11},
    {"TOS-host-unreachable", 3, 12, 12},
    {"communication-prohibited", 3, 13, 13},
    {"host-precedence-violation", 3, 14, 14},
    {"precedence-cutoff", 3, 15, 15},
    {"source-quench", 4},
    {"redirect", 5},
    {"network-redirect", 5, 0, 0},
    {"host-redirect", 5, 1, 1},
    {"TOS-network-redirect", 5, 2, 2},
    {"TOS-host-redirect", 5, 3, 3},
    {"echo-request", 8},
    {"ping", 8},
    {"router-advertisement", 9},
    {"router-solicitation", 10},
    {"time-exceeded", 11},
    {"ttl-exceeded", 11},
    {"ttl-zero-during-transit", 11, 0, 0},
    {"ttl-zero-during-reassembly", 11, 1, 1},
    {"parameter-problem", 12},
    {"ip-header-bad", 12, 0, 0},
    {"required-option-missing", 12, 1, 1},
    {"timestamp-request", 13},
    {"timestamp-reply", 14},
    {"address-mask-request", 17},
    {"address-mask-reply", 18},
};
constexpr IcmpName kIcmp6Names[] = {
    {"destination-unreachable", 1},
    {"no-route", 1, 0, 0},
    {"communication-prohibited", 1, 1, 1},
    {"beyond-scope", 1, 2, 2},
    {"address-unreachable", 1, 3, 3},
    {"port-unreachable", 1, 4, 4},
    {"failed-policy", 1, 5, 5},
    {"reject-route", 1, 6, 6},
    {"packet-too-big", 2},
    {"time-exceeded", 3},
    {"ttl-exceeded", 3},
    {"ttl-zero-during-transit", 3, 0, 0},
    {"ttl-zero-during-reassembly", 3, 1, 1},
    {"parameter-problem", 4},
    {"bad-header", 4, 0, 0},
    {"unknown-header-type", 4, 1, 1},
    {"unknown-option", 4, 2, 2},
    {"echo-request", 128},
    {"ping", 128},
    {"echo-reply", 129},
    {"pong", 129},
    {"router-solicitation", 133},
    {"router-advertisement", 134},
    {"neighbour-solicitation", 135},
    {"neighbor-solicitation", 135},
    {"neighbour-advertisement", 136},
    {"neighbor-advertisement", 136},
    {"redirect", 137},
};

struct Dialect {
  std::string_view extension;
  std::string_view option;
  std::string_view title;  // in errors
  std::string_view label;  // in -L
  std::span<const IcmpName> names;
  Family family;
};
constexpr Dialect kIcmp = {"icmp", "icmp-type", "ICMP", "icmp", kIcmpNames, Family::kIpv4};
constexpr Dialect kIcmp6 = {"icmp6",     "icmpv6-type", "ICMPv6",
                            "ipv6-icmp", kIcmp6Names,   Family::kIpv6};

constexpr OptionSpec kIcmpOptions[] = {
    {"icmp-type", 0, OptionType::kString, OptionSpec::kInvert | OptionSpec::kMandatory}};
constexpr OptionSpec kIcmp6Options[] = {
    {"icmpv6-type", 0, OptionType::kString, OptionSpec::kInvert | OptionSpec::kMandatory}};

struct ByteRange {
  uint8_t first, last;
};
std::optional<ByteRange> ParseByteRange(std::string* text) {
  const auto first = ParseNumber(*text, 0, 255, text);
  if (!first) return std::nullopt;
  auto last = first;
  if (text->starts_with(':')) last = ParseNumber(text->substr(1), 0, 255, text);
  if (!last) return std::nullopt;
  return ByteRange{static_cast<uint8_t>(*first), static_cast<uint8_t>(*last)};
}

void ParseNumbers(const Dialect& dialect, const std::string& argument, IcmpMatch* icmp) {
  std::string rest = argument;
  const auto types = ParseByteRange(&rest);
  if (!types) Fail("Unknown {} type `{}'", dialect.title, argument);
  icmp->type = types->first;
  icmp->first_code = 0;
  icmp->last_code = 0xff;
  if (rest.starts_with('/')) {
    rest.erase(0, 1);
    const auto codes = ParseByteRange(&rest);
    if (!codes) Fail("Unknown {} code `{}'", dialect.title, argument);
    icmp->first_code = codes->first;
    icmp->last_code = codes->last;
  }
  if (!rest.empty()) Fail("unknown character {}", rest.front());
  if (types->first != types->last) Fail("{} type range not supported", dialect.title);
}

void ParseType(const Dialect& dialect, const std::string& argument, IcmpMatch* icmp) {
  const IcmpName* found = nullptr;
  for (const IcmpName& name : dialect.names) {
    if (!StartsIgnoringCase(name.name, argument)) continue;
    if (found != nullptr) {
      Fail("Ambiguous {} type `{}': `{}' or `{}'?", dialect.title, argument, found->name,
           name.name);
    }
    found = &name;
  }
  if (found == nullptr) return ParseNumbers(dialect, argument, icmp);
  icmp->type = found->type;
  icmp->first_code = found->first_code;
  icmp->last_code = found->last_code;
}

class IcmpExtension : public MatchOf<IcmpMatch> {
 public:
  IcmpExtension(const Dialect& dialect, std::span<const OptionSpec> options)
      : MatchOf(dialect.extension), dialect_(dialect), options_(options) {}
  std::span<const OptionSpec> options() const override { return options_; }
  bool Knows(Family family) const override { return family == dialect_.family; }
  bool Owns(const rules::Match& match, Family family) const override {
    return family == dialect_.family && std::holds_alternative<IcmpMatch>(match);
  }

  void CheckPlace(const RulePlace& place, const rules::Match&) const override {
    const uint8_t protocol = dialect_.family == Family::kIpv4 ? 1 : 58;
    if (place.protocol != protocol || place.invert_protocol) {
      RefuseRule(fmt::format("match '{}' needs `-p {}'", dialect_.extension, dialect_.label));
    }
  }

 protected:
  IcmpMatch InitStruct(Family family) const override {
    IcmpMatch match;
    if (family == Family::kIpv6) match.type = 0;
    return match;
  }

  void ParseStruct(const OptionCall& call, IcmpMatch* icmp) const override {
    ParseType(dialect_, call.argument, icmp);
    icmp->invert = call.invert;
  }

  void SaveStruct(const PrintContext& context, const IcmpMatch& icmp,
                  std::string* out) const override {
    if (icmp.invert) *out += " !";
    *out += fmt::format(" --{} ", dialect_.option);
    const bool all_codes = icmp.first_code == 0 && icmp.last_code == 0xff;
    if (icmp.type == 0xff && all_codes && context.family == Family::kIpv4) {
      *out += "any";
      return;
    }
    *out += std::to_string(icmp.type);
    if (all_codes) return;
    *out += fmt::format("/{}", icmp.first_code);
    // The original forgets the end of the range, and with it what the rule says.
    if (icmp.last_code != icmp.first_code) *out += fmt::format(":{}", icmp.last_code);
  }

  void ListStruct(const PrintContext& context, const IcmpMatch& icmp,
                  std::string* out) const override {
    *out += fmt::format(" {}", dialect_.label);
    if (!context.numeric) {
      for (const IcmpName& name : dialect_.names) {
        if (name.type != icmp.type || name.first_code != icmp.first_code ||
            name.last_code != icmp.last_code) {
          continue;
        }
        *out += fmt::format(" {}{}", icmp.invert ? "!" : "", name.name);
        return;
      }
    }
    if (icmp.invert) *out += " !";
    *out += fmt::format("type {}", icmp.type);
    if (icmp.first_code == icmp.last_code) {
      *out += fmt::format(" code {}", icmp.first_code);
    } else if (icmp.first_code != 0 || icmp.last_code != 0xff) {
      *out += fmt::format(" codes {}-{}", icmp.first_code, icmp.last_code);
    }
  }

 private:
  const Dialect& dialect_;
  std::span<const OptionSpec> options_;
};

}  // namespace

const MatchExtension& IcmpMatchExtension() {
  static const IcmpExtension kExtension(kIcmp, kIcmpOptions);
  return kExtension;
}

const MatchExtension& Icmp6MatchExtension() {
  static const IcmpExtension kExtension(kIcmp6, kIcmp6Options);
  return kExtension;
}

}  // namespace postern::control::iptables

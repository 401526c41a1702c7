// -m multiport: up to 15 ports, a range counts as two.
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::MultiportMatch;
using Which = MultiportMatch::Which;

enum : uint8_t { kSource, kDestination, kEither };
constexpr uint32_t kAny = Bit(kSource) | Bit(kDestination) | Bit(kEither);
constexpr OptionSpec Spec(const char* name, uint8_t id) {
  return {name, id, OptionType::kString, OptionSpec::kInvert, 0, 0, kAny};
}
constexpr OptionSpec kOptions[] = {
    Spec("source-ports", kSource), Spec("sports", kSource), Spec("destination-ports", kDestination),
    Spec("dports", kDestination),  Spec("ports", kEither),
};
constexpr size_t kMaxSlots = 15;

const char* PortProtocol(uint8_t protocol) {
  switch (protocol) {
    case 6:
      return "tcp";
    case 17:
      return "udp";
    case 33:
      return "dccp";
    case 132:
      return "sctp";
    case 136:
      return "udplite";
    default:
      return nullptr;
  }
}

const char* RequireProtocol(const RuleContext& rule) {
  const char* protocol = rule.invert_protocol ? nullptr : PortProtocol(rule.protocol);
  if (protocol != nullptr) return protocol;
  if (!rule.invert_protocol && rule.protocol == 0) {
    Fail("multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'");
  }
  Fail("multiport only works with TCP, UDP, UDPLITE, SCTP and DCCP");
}

void ParsePorts(const std::string& text, const char* protocol, MultiportMatch* match) {
  size_t slots = 0;
  size_t start = 0;
  while (true) {
    if (slots >= kMaxSlots) Fail("too many ports specified");
    const size_t comma = text.find(',', start);
    const std::string part = text.substr(start, comma == text.npos ? comma : comma - start);
    const size_t colon = part.find(':');
    if (colon == part.npos) {
      const uint16_t port = ParsePort(part, protocol);
      match->ports.push_back({port, port});
      match->is_range.push_back(false);
      slots += 1;
    } else {
      if (slots == kMaxSlots - 1) Fail("too many ports specified");
      const PortRange range{ParsePort(part.substr(0, colon), protocol),
                            ParsePort(part.substr(colon + 1), protocol)};
      if (range.first >= range.last) Fail("invalid portrange specified");
      match->ports.push_back(range);
      match->is_range.push_back(true);
      slots += 2;
    }
    if (comma == text.npos) return;
    start = comma + 1;
  }
}

std::string PortsText(const MultiportMatch& match, const char* protocol, bool numeric) {
  std::string text;
  for (size_t i = 0; i < match.ports.size(); ++i) {
    if (i != 0) text += ',';
    text += PortName(match.ports[i].first, protocol, numeric);
    if (match.is_range[i]) text += ":" + PortName(match.ports[i].last, protocol, numeric);
  }
  return text;
}

const char* Name(Which which) {
  switch (which) {
    case Which::kSource:
      return "sports";
    case Which::kDestination:
      return "dports";
    case Which::kEither:
      return "ports";
  }
  return "";
}

class MultiportExtension : public MatchOf<MultiportMatch> {
 public:
  MultiportExtension() : MatchOf("multiport") {}
  std::span<const OptionSpec> options() const override { return kOptions; }
  void Check(uint32_t given) const override {
    if (given == 0) Fail("multiport expection an option");
  }

 protected:
  void ParseStruct(const OptionCall& call, MultiportMatch* match) const override {
    const char* protocol = RequireProtocol(*call.rule);
    match->ports.clear();
    match->is_range.clear();
    ParsePorts(call.argument, protocol, match);
    match->which = call.option->id == kSource        ? Which::kSource
                   : call.option->id == kDestination ? Which::kDestination
                                                     : Which::kEither;
    match->invert = call.invert;
  }

  void SaveStruct(const PrintContext&, const MultiportMatch& match,
                  std::string* out) const override {
    if (match.invert) *out += " !";
    *out += fmt::format(" --{} {}", Name(match.which), PortsText(match, nullptr, true));
  }

  void ListStruct(const PrintContext& context, const MultiportMatch& match,
                  std::string* out) const override {
    *out += fmt::format(" multiport {} {}{}", Name(match.which), match.invert ? " !" : "",
                        PortsText(match, PortProtocol(context.protocol), context.numeric));
  }
};

}  // namespace

const MatchExtension& MultiportMatchExtension() {
  static const MultiportExtension kExtension;
  return kExtension;
}

}  // namespace postern::control::iptables

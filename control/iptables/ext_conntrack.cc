// -m conntrack and -m state.
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::AddressMatch;
using rules::ConntrackMatch;
using rules::StateMatch;

enum : uint8_t {
  kCtState,
  kCtProto,
  kCtOrigSrc,
  kCtOrigDst,
  kCtReplSrc,
  kCtReplDst,
  kCtOrigSrcPort,
  kCtOrigDstPort,
  kCtReplSrcPort,
  kCtReplDstPort,
  kCtStatus,
  kCtExpire,
  kCtDir,
};
constexpr OptionSpec kOptions[] = {
    {"ctstate", kCtState, OptionType::kString, OptionSpec::kInvert},
    {"ctproto", kCtProto, OptionType::kProtocol, OptionSpec::kInvert},
    {"ctorigsrc", kCtOrigSrc, OptionType::kHostMask, OptionSpec::kInvert},
    {"ctorigdst", kCtOrigDst, OptionType::kHostMask, OptionSpec::kInvert},
    {"ctreplsrc", kCtReplSrc, OptionType::kHostMask, OptionSpec::kInvert},
    {"ctrepldst", kCtReplDst, OptionType::kHostMask, OptionSpec::kInvert},
    {"ctstatus", kCtStatus, OptionType::kString, OptionSpec::kInvert},
    {"ctexpire", kCtExpire, OptionType::kUint32Range, OptionSpec::kInvert},
    {"ctorigsrcport", kCtOrigSrcPort, OptionType::kPortRange, OptionSpec::kInvert},
    {"ctorigdstport", kCtOrigDstPort, OptionType::kPortRange, OptionSpec::kInvert},
    {"ctreplsrcport", kCtReplSrcPort, OptionType::kPortRange, OptionSpec::kInvert},
    {"ctrepldstport", kCtReplDstPort, OptionType::kPortRange, OptionSpec::kInvert},
    {"ctdir", kCtDir, OptionType::kString},
};
constexpr OptionSpec kStateOptions[] = {
    {"state", 0, OptionType::kString, OptionSpec::kInvert | OptionSpec::kMandatory},
};

struct BitName {
  std::string_view name;
  uint16_t bit;
};
// In the order of printing.
constexpr BitName kStates[] = {
    {"INVALID", rules::kCtStateInvalid},     {"NEW", rules::kCtStateNew},
    {"RELATED", rules::kCtStateRelated},     {"ESTABLISHED", rules::kCtStateEstablished},
    {"UNTRACKED", rules::kCtStateUntracked}, {"SNAT", rules::kCtStateSnat},
    {"DNAT", rules::kCtStateDnat},
};
constexpr std::span<const BitName> kPlainStates = std::span(kStates).first(5);
// The kernel's IPS_EXPECTED, IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED.
constexpr BitName kStatuses[] = {
    {"NONE", 0}, {"EXPECTED", 1}, {"SEEN_REPLY", 2}, {"ASSURED", 4}, {"CONFIRMED", 8}};

// Beginnings of names are enough. Where `rest` isn't a list of them: false.
bool ParseBits(std::span<const BitName> names, std::string_view* rest, uint16_t* bits) {
  while (true) {
    const size_t comma = rest->find(',');
    const std::string_view word = rest->substr(0, comma);
    if (word.empty()) return false;
    const BitName* found = nullptr;
    for (const BitName& name : names) {
      if (StartsIgnoringCase(name.name, word)) {
        found = &name;
        break;
      }
    }
    if (found == nullptr) return false;
    *bits |= found->bit;
    if (comma == rest->npos) return true;
    rest->remove_prefix(comma + 1);
  }
}

void AppendBits(std::span<const BitName> names, uint16_t bits, std::string* out) {
  char separator = ' ';
  for (const BitName& name : names) {
    if ((bits & name.bit) == 0) continue;
    out->push_back(separator);
    *out += name.name;
    separator = ',';
  }
}

struct AddressField {
  uint8_t option;
  ConntrackMatch::Field field;
  AddressMatch ConntrackMatch::*member;
  std::string_view name;
};
constexpr AddressField kAddressFields[] = {
    {kCtOrigSrc, ConntrackMatch::kOrigSrc, &ConntrackMatch::orig_src, "ctorigsrc"},
    {kCtOrigDst, ConntrackMatch::kOrigDst, &ConntrackMatch::orig_dst, "ctorigdst"},
    {kCtReplSrc, ConntrackMatch::kReplSrc, &ConntrackMatch::repl_src, "ctreplsrc"},
    {kCtReplDst, ConntrackMatch::kReplDst, &ConntrackMatch::repl_dst, "ctrepldst"},
};
struct PortField {
  uint8_t option;
  ConntrackMatch::Field field;
  PortRange ConntrackMatch::*member;
  std::string_view name;
};
constexpr PortField kPortFields[] = {
    {kCtOrigSrcPort, ConntrackMatch::kOrigSrcPort, &ConntrackMatch::orig_src_port, "ctorigsrcport"},
    {kCtOrigDstPort, ConntrackMatch::kOrigDstPort, &ConntrackMatch::orig_dst_port, "ctorigdstport"},
    {kCtReplSrcPort, ConntrackMatch::kReplSrcPort, &ConntrackMatch::repl_src_port, "ctreplsrcport"},
    {kCtReplDstPort, ConntrackMatch::kReplDstPort, &ConntrackMatch::repl_dst_port, "ctrepldstport"},
};

void Give(ConntrackMatch* match, ConntrackMatch::Field field, bool invert) {
  match->fields |= field;
  if (invert) match->inverted |= field;
}

void ParseDirection(const std::string& text, ConntrackMatch* match) {
  match->fields |= ConntrackMatch::kDirection;
  if (EqualsIgnoringCase(text, "ORIGINAL")) {
    match->direction_reply = false;
  } else if (EqualsIgnoringCase(text, "REPLY")) {
    match->direction_reply = true;
  } else {
    Fail("conntrack: Bad value for \"--ctdir\" option: \"{}\"", text);
  }
}

class ConntrackExtension : public MatchOf<ConntrackMatch> {
 public:
  ConntrackExtension() : MatchOf("conntrack") {}
  std::span<const OptionSpec> options() const override { return kOptions; }
  void Check(uint32_t given) const override {
    if (given == 0) Fail("conntrack: At least one option is required");
  }

 protected:
  void ParseStruct(const OptionCall& call, ConntrackMatch* match) const override {
    std::string_view rest = call.argument;
    switch (call.option->id) {
      case kCtState:
        if (!ParseBits(kStates, &rest, &match->state)) Fail("Bad ctstate \"{}\"", rest);
        return Give(match, ConntrackMatch::kState, call.invert);
      case kCtProto:
        match->protocol = static_cast<uint8_t>(call.number);
        return Give(match, ConntrackMatch::kProto, call.invert);
      case kCtStatus:
        if (!ParseBits(kStatuses, &rest, &match->status)) Fail("Bad ctstatus \"{}\"", rest);
        return Give(match, ConntrackMatch::kStatus, call.invert);
      case kCtExpire:
        match->expires_min = static_cast<uint32_t>(call.number);
        match->expires_max = static_cast<uint32_t>(call.second);
        return Give(match, ConntrackMatch::kExpires, call.invert);
      case kCtDir:
        return ParseDirection(call.argument, match);
      default:
        ParseTuplePart(call, match);
    }
  }

  void SaveStruct(const PrintContext& context, const ConntrackMatch& match,
                  std::string* out) const override {
    Dump(context.family, true, " --", match, out);
  }
  void ListStruct(const PrintContext& context, const ConntrackMatch& match,
                  std::string* out) const override {
    Dump(context.family, context.numeric, " ", match, out);
  }

 private:
  static void ParseTuplePart(const OptionCall& call, ConntrackMatch* match) {
    for (const AddressField& field : kAddressFields) {
      if (field.option != call.option->id) continue;
      match->*field.member = {call.address, call.mask, false};
      Give(match, field.field, call.invert);
    }
    for (const PortField& field : kPortFields) {
      if (field.option != call.option->id) continue;
      match->*field.member = call.ports;
      Give(match, field.field, call.invert);
    }
  }

  // One of the fields that were given: " ! --name".
  static bool Start(const ConntrackMatch& match, ConntrackMatch::Field field,
                    std::string_view prefix, std::string_view name, std::string* out) {
    if ((match.fields & field) == 0) return false;
    if ((match.inverted & field) != 0) *out += " !";
    out->append(prefix).append(name);
    return true;
  }

  static void Dump(Family family, bool numeric, std::string_view prefix,
                   const ConntrackMatch& match, std::string* out) {
    if (Start(match, ConntrackMatch::kState, prefix, "ctstate", out)) {
      AppendBits(kStates, match.state, out);
    }
    if (Start(match, ConntrackMatch::kProto, prefix, "ctproto", out)) {
      *out += fmt::format(" {}", match.protocol);
    }
    for (const AddressField& field : kAddressFields) {
      if (!Start(match, field.field, prefix, field.name, out)) continue;
      const AddressMatch& address = match.*field.member;
      *out += !numeric && address.address.IsZero()
                  ? " anywhere"
                  : " " + ListedAddress(family, address.address, address.mask, numeric);
    }
    for (const PortField& field : kPortFields) {
      if (!Start(match, field.field, prefix, field.name, out)) continue;
      const PortRange& ports = match.*field.member;
      *out += fmt::format(" {}", ports.first);
      if (ports.last != 0 && ports.last != ports.first) *out += fmt::format(":{}", ports.last);
    }
    DumpRest(prefix, match, out);
  }

  static void DumpRest(std::string_view prefix, const ConntrackMatch& match, std::string* out) {
    if (Start(match, ConntrackMatch::kStatus, prefix, "ctstatus", out)) {
      AppendBits(kStatuses, match.status, out);
      if (match.status == 0) *out += " NONE";
    }
    if (Start(match, ConntrackMatch::kExpires, prefix, "ctexpire", out)) {
      *out += fmt::format(" {}", match.expires_min);
      if (match.expires_max != match.expires_min) *out += fmt::format(":{}", match.expires_max);
    }
    if (Start(match, ConntrackMatch::kDirection, prefix, "ctdir", out)) {
      *out += match.direction_reply ? " REPLY" : " ORIGINAL";
    }
  }
};

class StateExtension : public MatchOf<StateMatch> {
 public:
  StateExtension() : MatchOf("state") {}
  std::span<const OptionSpec> options() const override { return kStateOptions; }

 protected:
  void ParseStruct(const OptionCall& call, StateMatch* match) const override {
    std::string_view rest = call.argument;
    if (!ParseBits(kPlainStates, &rest, &match->state)) {
      if (rest.empty()) {
        Fail("\"--state\" requires a list of states with no spaces, e.g. ESTABLISHED,RELATED");
      }
      Fail("Bad state \"{}\"", rest);
    }
    match->invert = call.invert;
  }
  void SaveStruct(const PrintContext&, const StateMatch& match, std::string* out) const override {
    *out += match.invert ? " ! --state" : " --state";
    AppendBits(kStates, match.state, out);
  }
  void ListStruct(const PrintContext&, const StateMatch& match, std::string* out) const override {
    *out += match.invert ? " ! state" : " state";
    AppendBits(kStates, match.state, out);
  }
};

}  // namespace

const MatchExtension& ConntrackMatchExtension() {
  static const ConntrackExtension kExtension;
  return kExtension;
}

const MatchExtension& StateMatchExtension() {
  static const StateExtension kExtension;
  return kExtension;
}

}  // namespace postern::control::iptables

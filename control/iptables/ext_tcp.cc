// -m tcp: ports, flags, one TCP option.
#include "control/iptables/ports.h"
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::TcpMatch;

enum : uint8_t { kSourcePort, kDestinationPort, kFlags, kOption };
constexpr OptionSpec kOptions[] = {
    {"source-port", kSourcePort, OptionType::kPlain},
    {"sport", kSourcePort, OptionType::kPlain},
    {"destination-port", kDestinationPort, OptionType::kPlain},
    {"dport", kDestinationPort, OptionType::kPlain},
    {"syn", kFlags, OptionType::kPlainNone},
    {"tcp-flags", kFlags, OptionType::kPlain},
    {"tcp-option", kOption, OptionType::kPlain},
};

struct FlagName {
  std::string_view name;
  uint8_t flag;
};
constexpr FlagName kFlagNames[] = {{"FIN", 0x01}, {"SYN", 0x02}, {"RST", 0x04}, {"PSH", 0x08},
                                   {"ACK", 0x10}, {"URG", 0x20}, {"ALL", 0x3f}, {"NONE", 0}};

uint8_t ParseFlags(const std::string& text) {
  uint8_t flags = 0;
  size_t start = 0;
  while (start < text.size()) {
    const size_t comma = std::min(text.find(',', start), text.size());
    const std::string word = text.substr(start, comma - start);
    start = comma + 1;
    if (word.empty()) continue;
    const FlagName* found = nullptr;
    for (const FlagName& name : kFlagNames) {
      if (EqualsIgnoringCase(name.name, word)) {
        found = &name;
        break;
      }
    }
    if (found == nullptr) Fail("Unknown TCP flag `{}'", word);
    flags |= found->flag;
  }
  return flags;
}

std::string FlagsText(uint8_t flags) {
  std::string text;
  for (const FlagName& name : kFlagNames) {
    if (name.name == "ALL") break;
    if ((flags & name.flag) == 0) continue;
    if (!text.empty()) text += ',';
    text += name.name;
  }
  return text.empty() ? "NONE" : text;
}

class TcpExtension : public MatchOf<TcpMatch> {
 public:
  TcpExtension() : MatchOf("tcp") {}
  std::span<const OptionSpec> options() const override { return kOptions; }

  bool IsKept(const rules::Match& match) const override {
    const auto& tcp = std::get<TcpMatch>(match);
    if (tcp.option != 0 || tcp.invert_option || tcp == TcpMatch{}) return true;
    return tcp.flag_mask != 0 || !tcp.source.IsAll() || !tcp.destination.IsAll();
  }

  void Normalize(rules::Match* match) const override {
    auto& tcp = std::get<TcpMatch>(*match);
    // With a TCP option the original hands over the struct as it is.
    if (tcp.option != 0 || tcp.invert_option) return;
    NormalizePorts(&tcp.source, &tcp.invert_source);
    NormalizePorts(&tcp.destination, &tcp.invert_destination);
  }

  void CheckPlace(const RulePlace& place, const rules::Match& match) const override {
    constexpr uint8_t kTcp = 6;
    if (place.protocol == kTcp) return;
    // Without options the original leaves the refusal to the kernel.
    if (std::get<TcpMatch>(match) == TcpMatch{}) RefuseRule("match 'tcp' needs `-p tcp'");
    Fail("TCP match requires '-p tcp'");
  }

 protected:
  void ParseStruct(const OptionCall& call, TcpMatch* tcp) const override {
    const bool again = (call.given & Bit(call.option->id)) != 0;
    switch (call.option->id) {
      case kSourcePort:
        if (again) Fail("Only one `--source-port' allowed");
        tcp->source = ParsePlainPorts(call.argument, "tcp");
        tcp->invert_source = call.invert;
        return;
      case kDestinationPort:
        if (again) Fail("Only one `--destination-port' allowed");
        tcp->destination = ParsePlainPorts(call.argument, "tcp");
        tcp->invert_destination = call.invert;
        return;
      case kFlags:
        if (again) Fail("Only one of `--syn' or `--tcp-flags'  allowed");
        ParseFlagOption(call, tcp);
        return;
      default:
        if (again) Fail("Only one `--tcp-option' allowed");
        const auto number = ParseNumber(call.argument, 1, 255);
        if (!number) Fail("Bad TCP option \"{}\"", call.argument);
        tcp->option = static_cast<uint8_t>(*number);
        tcp->invert_option = call.invert;
    }
  }

  void SaveStruct(const PrintContext&, const TcpMatch& tcp, std::string* out) const override {
    SavePorts("sport", tcp.source, tcp.invert_source, out);
    SavePorts("dport", tcp.destination, tcp.invert_destination, out);
    if (tcp.option != 0 || tcp.invert_option) {
      if (tcp.invert_option) *out += " !";
      *out += fmt::format(" --tcp-option {}", tcp.option);
    }
    if (tcp.flag_mask != 0 || tcp.invert_flags) {
      if (tcp.invert_flags) *out += " !";
      *out += " --tcp-flags " + FlagsText(tcp.flag_mask) + " " + FlagsText(tcp.flag_compare);
    }
  }

  void ListStruct(const PrintContext& context, const TcpMatch& tcp,
                  std::string* out) const override {
    *out += " tcp";
    ListPorts("spt", tcp.source, tcp.invert_source, "tcp", context.numeric, out);
    ListPorts("dpt", tcp.destination, tcp.invert_destination, "tcp", context.numeric, out);
    if (tcp.option != 0 || tcp.invert_option) {
      *out += fmt::format(" option={}{}", tcp.invert_option ? "!" : "", tcp.option);
    }
    if (tcp.flag_mask == 0 && !tcp.invert_flags) return;
    *out += tcp.invert_flags ? " flags:!" : " flags:";
    *out += context.numeric ? fmt::format("0x{:02X}/0x{:02X}", tcp.flag_mask, tcp.flag_compare)
                            : FlagsText(tcp.flag_mask) + "/" + FlagsText(tcp.flag_compare);
  }

 private:
  static void ParseFlagOption(const OptionCall& call, TcpMatch* tcp) {
    tcp->invert_flags = call.invert;
    if (std::string_view(call.option->name) == "syn") {
      tcp->flag_mask = ParseFlags("SYN,RST,ACK,FIN");
      tcp->flag_compare = ParseFlags("SYN");
      return;
    }
    if (!call.words->HasFreeWord()) Fail("--tcp-flags requires two args.");
    tcp->flag_mask = ParseFlags(call.argument);
    tcp->flag_compare = ParseFlags(call.words->TakeWord());
  }
};

}  // namespace

const MatchExtension& TcpMatchExtension() {
  static const TcpExtension kExtension;
  return kExtension;
}

}  // namespace postern::control::iptables

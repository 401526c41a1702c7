// -m udp: ports.
#include "control/iptables/ports.h"
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::UdpMatch;

enum : uint8_t { kSourcePort, kDestinationPort };
constexpr OptionSpec kOptions[] = {
    {"source-port", kSourcePort, OptionType::kPortRange, OptionSpec::kInvert},
    {"sport", kSourcePort, OptionType::kPortRange, OptionSpec::kInvert},
    {"destination-port", kDestinationPort, OptionType::kPortRange, OptionSpec::kInvert},
    {"dport", kDestinationPort, OptionType::kPortRange, OptionSpec::kInvert},
};

class UdpExtension : public MatchOf<UdpMatch> {
 public:
  UdpExtension() : MatchOf("udp") {}
  std::span<const OptionSpec> options() const override { return kOptions; }

  bool IsKept(const rules::Match& match) const override {
    const auto& udp = std::get<UdpMatch>(match);
    return udp == UdpMatch{} || !udp.source.IsAll() || !udp.destination.IsAll();
  }

  void Normalize(rules::Match* match) const override {
    auto& udp = std::get<UdpMatch>(*match);
    NormalizePorts(&udp.source, &udp.invert_source);
    NormalizePorts(&udp.destination, &udp.invert_destination);
  }

  void CheckPlace(const RulePlace& place, const rules::Match& match) const override {
    constexpr uint8_t kUdp = 17;
    if (place.protocol == kUdp) return;
    // Without options the original leaves the refusal to the kernel.
    if (std::get<UdpMatch>(match) == UdpMatch{}) RefuseRule("match 'udp' needs `-p udp'");
    Fail("UDP match requires '-p udp'");
  }

 protected:
  void ParseStruct(const OptionCall& call, UdpMatch* udp) const override {
    if (call.option->id == kSourcePort) {
      udp->source = call.ports;
      udp->invert_source = call.invert;
    } else {
      udp->destination = call.ports;
      udp->invert_destination = call.invert;
    }
  }

  void SaveStruct(const PrintContext&, const UdpMatch& udp, std::string* out) const override {
    SavePorts("sport", udp.source, udp.invert_source, out);
    SavePorts("dport", udp.destination, udp.invert_destination, out);
  }

  void ListStruct(const PrintContext& context, const UdpMatch& udp,
                  std::string* out) const override {
    *out += " udp";
    ListPorts("spt", udp.source, udp.invert_source, "udp", context.numeric, out);
    ListPorts("dpt", udp.destination, udp.invert_destination, "udp", context.numeric, out);
  }
};

}  // namespace

const MatchExtension& UdpMatchExtension() {
  static const UdpExtension kExtension;
  return kExtension;
}

}  // namespace postern::control::iptables

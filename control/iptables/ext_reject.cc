// -j REJECT, for each family with its own answers.
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::RejectTarget;
using rules::RejectWith;

struct RejectName {
  RejectWith with;
  std::string_view name;
  std::string_view alias;
};
// Beginnings are enough; the first that fits wins.
constexpr RejectName kNames[] = {
    {RejectWith::kIcmpNetUnreachable, "icmp-net-unreachable", "net-unreach"},
    {RejectWith::kIcmpHostUnreachable, "icmp-host-unreachable", "host-unreach"},
    {RejectWith::kIcmpProtoUnreachable, "icmp-proto-unreachable", "proto-unreach"},
    {RejectWith::kIcmpPortUnreachable, "icmp-port-unreachable", "port-unreach"},
    {RejectWith::kIcmpNetProhibited, "icmp-net-prohibited", "net-prohib"},
    {RejectWith::kIcmpHostProhibited, "icmp-host-prohibited", "host-prohib"},
    {RejectWith::kTcpReset, "tcp-reset", "tcp-rst"},
    {RejectWith::kIcmpAdminProhibited, "icmp-admin-prohibited", "admin-prohib"},
};
constexpr RejectName kNames6[] = {
    {RejectWith::kIcmp6NoRoute, "icmp6-no-route", "no-route"},
    {RejectWith::kIcmp6AdmProhibited, "icmp6-adm-prohibited", "adm-prohibited"},
    {RejectWith::kIcmp6AddrUnreachable, "icmp6-addr-unreachable", "addr-unreach"},
    {RejectWith::kIcmp6PortUnreachable, "icmp6-port-unreachable", "port-unreach"},
    {RejectWith::kTcpReset, "tcp-reset", "tcp-reset"},
    {RejectWith::kIcmp6PolicyFail, "icmp6-policy-fail", "policy-fail"},
    {RejectWith::kIcmp6RejectRoute, "icmp6-reject-route", "reject-route"},
};
constexpr OptionSpec kOptions[] = {{"reject-with", 0, OptionType::kString}};

std::string_view Name(RejectWith with) {
  for (const std::span<const RejectName> names :
       {std::span<const RejectName>(kNames), std::span<const RejectName>(kNames6)}) {
    for (const RejectName& name : names) {
      if (name.with == with) return name.name;
    }
  }
  return "";
}

class RejectExtension : public TargetOf<RejectTarget> {
 public:
  explicit RejectExtension(Family family) : TargetOf("REJECT"), family_(family) {}
  std::span<const OptionSpec> options() const override { return kOptions; }
  bool Knows(Family family) const override { return family == family_; }
  void CheckPlace(const RulePlace& place, const rules::Target& target) const override {
    constexpr uint8_t kTcp = 6;
    if (place.table != net::Table::kFilter) {
      RefuseRule("REJECT is only valid in the filter table");
    }
    if (std::get<RejectTarget>(target).with == RejectWith::kTcpReset &&
        (place.protocol != kTcp || place.invert_protocol)) {
      RefuseRule("REJECT --reject-with tcp-reset needs `-p tcp'");
    }
  }

 protected:
  RejectTarget InitStruct(Family family) const override {
    return {family == Family::kIpv4 ? RejectWith::kIcmpPortUnreachable
                                    : RejectWith::kIcmp6PortUnreachable};
  }
  void ParseStruct(const OptionCall& call, RejectTarget* target) const override {
    const std::span<const RejectName> names =
        family_ == Family::kIpv4 ? std::span<const RejectName>(kNames) : kNames6;
    for (const RejectName& name : names) {
      if (StartsIgnoringCase(name.name, call.argument) ||
          StartsIgnoringCase(name.alias, call.argument)) {
        target->with = name.with;
        return;
      }
    }
    Fail("unknown reject type \"{}\"", call.argument);
  }
  void SaveStruct(const PrintContext&, const RejectTarget& target,
                  std::string* out) const override {
    *out += fmt::format(" --reject-with {}", Name(target.with));
  }
  void ListStruct(const PrintContext&, const RejectTarget& target,
                  std::string* out) const override {
    *out += fmt::format(" reject-with {}", Name(target.with));
  }

 private:
  const Family family_;
};

}  // namespace

const TargetExtension& RejectTargetExtension() {
  static const RejectExtension kExtension(Family::kIpv4);
  return kExtension;
}

const TargetExtension& Reject6TargetExtension() {
  static const RejectExtension kExtension(Family::kIpv6);
  return kExtension;
}

}  // namespace postern::control::iptables

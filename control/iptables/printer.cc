#include "control/iptables/printer.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "control/iptables/registry.h"
#include "control/iptables/values.h"

namespace postern::control::iptables {
namespace {

using rules::Rule;

std::string TargetName(const rules::Target& target) {
  if (const TargetExtension* owner = TargetOwner(target)) return std::string(owner->name());
  if (const auto* jump = std::get_if<rules::JumpTarget>(&target)) return jump->chain;
  if (std::holds_alternative<rules::AcceptTarget>(target)) return "ACCEPT";
  if (std::holds_alternative<rules::DropTarget>(target)) return "DROP";
  if (std::holds_alternative<rules::ReturnTarget>(target)) return "RETURN";
  return "";
}

bool IsGoto(const rules::Target& target) {
  const auto* jump = std::get_if<rules::JumpTarget>(&target);
  return jump != nullptr && jump->is_goto;
}

void SaveAddress(Family family, char letter, const rules::AddressMatch& match, std::string* out) {
  if (match.mask.IsZero() && !match.invert && match.address.IsZero()) return;
  *out += fmt::format("{} -{} {}{}", match.invert ? " !" : "", letter,
                      net::ToString(family, match.address), SavedMask(family, match.mask));
}

void SaveInterface(char letter, const rules::InterfaceMatch& match, std::string* out) {
  if (match.name.empty()) return;
  *out += fmt::format("{} -{} {}", match.invert ? " !" : "", letter, match.name);
}

std::string ListAddress(Family family, const ListFormat& format, const rules::AddressMatch& match) {
  // IPv4 goes by the mask, IPv6 by the address.
  const bool any = family == Family::kIpv4 ? match.mask.IsZero() : match.address.IsZero();
  if (any && !format.numeric) return "anywhere";
  return ListedAddress(family, match.address, match.mask, format.numeric);
}

std::string Number(uint64_t number, const ListFormat& format, bool columns) {
  if (format.exact) return columns ? fmt::format("{:8} ", number) : fmt::format("{} ", number);
  constexpr uint64_t kMaxPlain = 99999;
  if (number <= kMaxPlain) {
    return columns ? fmt::format("{:5} ", number) : fmt::format("{} ", number);
  }
  constexpr uint64_t kMaxScaled = 9999;
  char unit = 'T';
  for (const char candidate : {'K', 'M', 'G', 'T'}) {
    number = (number + 500) / 1000;
    unit = candidate;
    if (number <= kMaxScaled) break;
  }
  return columns ? fmt::format("{:4}{} ", number, unit) : fmt::format("{}{} ", number, unit);
}

std::string InterfaceText(const rules::InterfaceMatch& match, const ListFormat& format) {
  return (match.invert ? "!" : "") +
         (match.name.empty() ? (format.numeric ? "*" : "any") : match.name);
}

void AppendProtocol(const ListFormat& format, const rules::IpMatch& ip, std::string* out) {
  *out += ip.invert_protocol ? '!' : ' ';
  const std::string name = ProtocolName(ip.protocol, !format.numeric);
  const bool number = (format.numeric && !format.one_line) || name.empty();
  const std::string text = number ? std::to_string(ip.protocol) : name;
  *out += format.one_line ? text + " " : fmt::format("{:<4} ", text);
}

void AppendInterfacesAndAddresses(Family family, const ListFormat& format, const rules::IpMatch& ip,
                                  std::string* out) {
  const auto in = InterfaceText(ip.in, format);
  const auto other = InterfaceText(ip.out, format);
  const auto source = ListAddress(family, format, ip.source);
  const auto destination = ListAddress(family, format, ip.destination);
  const char source_sign = ip.source.invert ? '!' : ' ';
  const char destination_sign = ip.destination.invert ? '!' : ' ';
  if (format.one_line) {
    *out += fmt::format("in {} out {} {}{} {}-> {}  ", in, other, source_sign, source,
                        destination_sign, destination);
    return;
  }
  if (format.verbose) *out += fmt::format(" {:<6} {:<6} ", in, other);
  *out += fmt::format("{}{:<19} {}{:<19} ", source_sign, source, destination_sign, destination);
}

}  // namespace

void AppendRuleText(Family family, const Rule& rule, bool counters, std::string* out) {
  const rules::IpMatch& ip = rule.ip;
  SaveAddress(family, 's', ip.source, out);
  SaveAddress(family, 'd', ip.destination, out);
  SaveInterface('i', ip.in, out);
  SaveInterface('o', ip.out, out);
  if (ip.protocol != 0) {
    const std::string name = ProtocolName(ip.protocol, true);
    *out += fmt::format("{} -p {}", ip.invert_protocol ? " !" : "",
                        name.empty() ? std::to_string(ip.protocol) : name);
  }
  if (ip.fragment) *out += ip.invert_fragment ? " ! -f" : " -f";
  const PrintContext context{family, ip.protocol, true};
  for (const rules::Match& match : rule.matches) {
    const MatchExtension& owner = MatchOwner(match, family);
    out->append(" -m ").append(owner.name());
    owner.Save(context, match, out);
  }
  if (counters) *out += fmt::format(" -c {} {}", rule.counters.packets, rule.counters.bytes);
  const std::string target = TargetName(rule.target);
  if (target.empty()) return;
  out->append(IsGoto(rule.target) ? " -g " : " -j ").append(target);
  if (const TargetExtension* owner = TargetOwner(rule.target)) {
    owner->Save(context, rule.target, out);
  }
}

void AppendListHeader(const ListFormat& format, const rules::Chain& chain, size_t references,
                      std::string* out) {
  *out += "Chain " + chain.name;
  if (chain.builtin) {
    *out += fmt::format(" (policy {}", PolicyName(chain.policy));
    if (format.verbose) {
      *out +=
          fmt::format(" {}packets, {}bytes", Number(chain.policy_counters.packets, format, false),
                      Number(chain.policy_counters.bytes, format, false));
    }
    *out += ")\n";
  } else {
    *out += fmt::format(" ({} references)\n", references);
  }
  if (format.line_numbers) *out += "num  ";
  if (format.verbose) *out += format.exact ? "    pkts      bytes " : " pkts bytes ";
  *out += "target     prot opt";
  if (format.verbose) *out += " in     out    ";
  *out += fmt::format(" {:<19}  {:<19} \n", "source", "destination");
}

void AppendListRule(Family family, const ListFormat& format, size_t number, const Rule& rule,
                    std::string* out) {
  if (format.line_numbers) *out += fmt::format("{:<4} ", number);
  if (format.verbose && !format.one_line) {
    *out += Number(rule.counters.packets, format, true);
    *out += Number(rule.counters.bytes, format, true);
  }
  std::string target = TargetName(rule.target);
  if (const TargetExtension* owner = TargetOwner(rule.target)) target = owner->list_name();
  *out += format.one_line ? target + " " : fmt::format("{:<9} ", target);
  AppendProtocol(format, rule.ip, out);
  if (format.one_line) *out += "opt ";
  if (family == Family::kIpv6) {
    *out += "-- ";
  } else {
    *out += rule.ip.fragment && rule.ip.invert_fragment ? '!' : '-';
    *out += rule.ip.fragment ? "f " : "- ";
  }
  AppendInterfacesAndAddresses(family, format, rule.ip, out);
  if (IsGoto(rule.target)) *out += "[goto] ";
  const PrintContext context{family, rule.ip.protocol, format.numeric};
  for (const rules::Match& match : rule.matches) {
    MatchOwner(match, family).List(context, match, out);
  }
  if (const TargetExtension* owner = TargetOwner(rule.target)) {
    owner->List(context, rule.target, out);
  }
  *out += '\n';
}

std::vector<const rules::Chain*> SortedChains(const rules::TableModel& table) {
  std::vector<const rules::Chain*> chains;
  chains.reserve(table.chains.size());
  for (const rules::Chain& chain : table.chains) chains.push_back(&chain);
  const auto user = std::stable_partition(chains.begin(), chains.end(),
                                          [](const rules::Chain* chain) { return chain->builtin; });
  std::sort(user, chains.end(),
            [](const rules::Chain* a, const rules::Chain* b) { return a->name < b->name; });
  return chains;
}

const char* PolicyName(net::Verdict policy) {
  return policy == net::Verdict::kAccept ? "ACCEPT" : "DROP";
}

size_t CountReferences(const rules::TableModel& table, std::string_view chain) {
  size_t count = 0;
  for (const rules::Chain& other : table.chains) {
    for (const Rule& rule : other.rules) {
      const auto* jump = std::get_if<rules::JumpTarget>(&rule.target);
      if (jump != nullptr && jump->chain == chain) ++count;
    }
  }
  return count;
}

}  // namespace postern::control::iptables

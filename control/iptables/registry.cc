#include "control/iptables/registry.h"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace postern::control::iptables {
namespace {

const std::array kMatches = {
    &TcpMatchExtension,   &UdpMatchExtension,       &IcmpMatchExtension,
    &Icmp6MatchExtension, &MultiportMatchExtension, &ConntrackMatchExtension,
    &StateMatchExtension, &CommentMatchExtension,   &MarkMatchExtension,
    &LimitMatchExtension, &RecentMatchExtension,    &ConnlimitMatchExtension,
};

const std::array kTargets = {
    &RejectTargetExtension,     &Reject6TargetExtension,  &LogTargetExtension,
    &MarkTargetExtension,       &SnatTargetExtension,     &DnatTargetExtension,
    &MasqueradeTargetExtension, &RedirectTargetExtension, &CtTargetExtension,
    &NotrackTargetExtension,
};

enum class In : uint8_t { kBoth, kIpv4, kIpv6 };
struct ForeignName {
  std::string_view name;
  In in = In::kBoth;
};

// What iptables 1.8.9 has beside ours.
constexpr ForeignName kForeignMatches[] = {
    {"addrtype"},
    {"ah"},
    {"bpf"},
    {"cgroup"},
    {"cluster"},
    {"connbytes"},
    {"connlabel"},
    {"connmark"},
    {"cpu"},
    {"dccp"},
    {"devgroup"},
    {"dscp"},
    {"dst", In::kIpv6},
    {"ecn"},
    {"esp"},
    {"eui64", In::kIpv6},
    {"frag", In::kIpv6},
    {"hashlimit"},
    {"hbh", In::kIpv6},
    {"helper"},
    {"hl", In::kIpv6},
    {"ipcomp"},
    {"iprange"},
    {"ipv6header", In::kIpv6},
    {"ipvs"},
    {"length"},
    {"mac"},
    {"mh", In::kIpv6},
    {"nfacct"},
    {"osf"},
    {"owner"},
    {"physdev"},
    {"pkttype"},
    {"policy"},
    {"quota"},
    {"rateest"},
    {"realm", In::kIpv4},
    {"rpfilter"},
    {"rt", In::kIpv6},
    {"sctp"},
    {"set"},
    {"socket"},
    {"srh", In::kIpv6},
    {"standard"},
    {"statistic"},
    {"string"},
    {"tcpmss"},
    {"time"},
    {"tos"},
    {"ttl", In::kIpv4},
    {"u32"},
};
constexpr ForeignName kForeignTargets[] = {
    {"AUDIT"},
    {"CHECKSUM"},
    {"CLASSIFY"},
    {"CLUSTERIP", In::kIpv4},
    {"CONNMARK"},
    {"CONNSECMARK"},
    {"DNPT", In::kIpv6},
    {"DSCP"},
    {"ECN", In::kIpv4},
    {"HL", In::kIpv6},
    {"HMARK"},
    {"IDLETIMER"},
    {"LED"},
    {"NETMAP"},
    {"NFLOG"},
    {"NFQUEUE"},
    {"QUEUE"},
    {"RATEEST"},
    {"SECMARK"},
    {"SET"},
    {"SNPT", In::kIpv6},
    {"SYNPROXY"},
    {"TCPMSS"},
    {"TCPOPTSTRIP"},
    {"TEE"},
    {"TOS"},
    {"TPROXY"},
    {"TRACE"},
    {"TTL", In::kIpv4},
    {"ULOG", In::kIpv4},
};

template <typename List>
bool Contains(const List& list, std::string_view name, Family family) {
  return std::any_of(std::begin(list), std::end(list), [&](const ForeignName& foreign) {
    return foreign.name == name &&
           (foreign.in == In::kBoth || (foreign.in == In::kIpv4) == (family == Family::kIpv4));
  });
}

}  // namespace

const MatchExtension* FindMatch(std::string_view name, Family family) {
  // The three spellings mean one extension.
  if (name == "icmpv6" || name == "ipv6-icmp") name = "icmp6";
  for (const auto& extension : kMatches) {
    if (extension().name() == name && extension().Knows(family)) return &extension();
  }
  return nullptr;
}

const TargetExtension* FindTarget(std::string_view name, Family family) {
  for (const auto& extension : kTargets) {
    if (extension().name() == name && extension().Knows(family)) return &extension();
  }
  return nullptr;
}

const MatchExtension& MatchOwner(const rules::Match& match, Family family) {
  for (const auto& extension : kMatches) {
    if (extension().Owns(match, family)) return extension();
  }
  std::abort();  // every alternative has its extension: a test goes through them
}

const TargetExtension* TargetOwner(const rules::Target& target) {
  for (const auto& extension : kTargets) {
    if (extension().Owns(target)) return &extension();
  }
  return nullptr;
}

bool IsForeignMatch(std::string_view name, Family family) {
  return Contains(kForeignMatches, name, family);
}

bool IsForeignTarget(std::string_view name, Family family) {
  return Contains(kForeignTargets, name, family);
}

bool IsTargetName(std::string_view name, Family family) {
  return name == "ACCEPT" || name == "DROP" || name == "RETURN" || name.empty() ||
         FindTarget(name, family) != nullptr || IsForeignTarget(name, family);
}

}  // namespace postern::control::iptables

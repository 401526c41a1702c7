#include "control/iptables/extension_help.h"

#include <fmt/format.h>

#include <span>

namespace postern::control::iptables {
namespace {

enum class In : uint8_t { kBoth, kIpv4, kIpv6 };
struct HelpEntry {
  std::string_view name;
  std::string_view text;
  In in = In::kBoth;
};

constexpr HelpEntry kMatches[] = {
    {"tcp",
     R"([!] --source-port, --sport PORT[:PORT]       from these ports, numbers or services
[!] --destination-port, --dport PORT[:PORT]  to these ports
[!] --tcp-flags MASK SET                     of the flags in MASK, those in SET are set and no
                                             others: SYN ACK FIN RST URG PSH ALL NONE, with commas
[!] --syn                                    --tcp-flags FIN,SYN,RST,ACK SYN
[!] --tcp-option NUMBER                      the header has this option
)"},
    {"udp",
     R"([!] --source-port, --sport PORT[:PORT]       from these ports, numbers or services
[!] --destination-port, --dport PORT[:PORT]  to these ports
)"},
    {"icmp",
     R"([!] --icmp-type NAME | TYPE[/CODE] | any
                       echo-request, echo-reply, time-exceeded, redirect, source-quench,
                       parameter-problem, destination-unreachable, network-, host-, protocol- and
                       port-unreachable, fragmentation-needed, and so on
)"},
    {"icmp6",
     R"([!] --icmpv6-type NAME | TYPE[/CODE]
                       echo-request, echo-reply, packet-too-big, time-exceeded,
                       parameter-problem, destination-unreachable, no-route, address-unreachable,
                       port-unreachable, neighbour-solicitation, router-advertisement, and so on
)"},
    {"multiport",
     R"(At most fifteen ports, of which a range takes two: PORT[,PORT:PORT]...
[!] --source-ports, --sports PORTS       from one of them
[!] --destination-ports, --dports PORTS  to one of them
[!] --ports PORTS                        from or to one of them
)"},
    {"conntrack",
     R"([!] --ctstate STATE[,STATE]...       INVALID NEW ESTABLISHED RELATED UNTRACKED SNAT DNAT
[!] --ctproto PROTOCOL               of the connection
[!] --ctorigsrc, --ctorigdst ADDRESS[/MASK]
[!] --ctreplsrc, --ctrepldst ADDRESS[/MASK]
                                     source and destination, of the original direction and of
                                     the reply
[!] --ctorigsrcport, --ctorigdstport PORT[:PORT]
[!] --ctreplsrcport, --ctrepldstport PORT[:PORT]
                                     the same for ports
[!] --ctstatus STATUS[,STATUS]...    NONE EXPECTED SEEN_REPLY ASSURED CONFIRMED
[!] --ctexpire SECONDS[:SECONDS]     that the connection has left
    --ctdir ORIGINAL | REPLY         the packet's direction
)"},
    {"state",
     R"([!] --state STATE[,STATE]...  INVALID NEW ESTABLISHED RELATED UNTRACKED
)"},
    {"comment",
     R"(--comment TEXT  at most 255 characters; always matches
)"},
    {"mark",
     R"([!] --mark VALUE[/MASK]  the packet's mark, under the mask
)"},
    {"limit",
     R"(--limit NUMBER[/second | /minute | /hour | /day]  how often it matches, on average (3/hour)
--limit-burst NUMBER                              how often at once (5)
)"},
    {"recent",
     R"([!] --set            put the address into the list; matches
[!] --rcheck         the address is in the list
[!] --update         the same, and is seen now
[!] --remove         the same, and is taken out
    --seconds TIME   with --rcheck, --update: seen within so many seconds
    --reap           with --seconds: forget what is older
    --hitcount HITS  with --rcheck, --update: seen at least so often
    --rttl           with --rcheck, --update: with the same TTL
    --name NAME      of the list (DEFAULT)
    --rsource        the packet's source (this is the default)
    --rdest          its destination
    --mask MASK      for the address
)"},
    {"connlimit",
     R"(--connlimit-upto NUMBER     at most so many connections are there
--connlimit-above NUMBER    there are more
--connlimit-mask LENGTH     addresses with this prefix in common count together (the whole address)
--connlimit-saddr           by the source (this is the default)
--connlimit-daddr           by the destination
)"},
};

constexpr HelpEntry kTargets[] = {
    {"REJECT",
     R"(--reject-with TYPE  what the sender is answered:
                    icmp-net-unreachable, icmp-host-unreachable, icmp-proto-unreachable,
                    icmp-port-unreachable (this is the default), icmp-net-prohibited,
                    icmp-host-prohibited, icmp-admin-prohibited; with `-p tcp' tcp-reset too
)",
     In::kIpv4},
    {"REJECT",
     R"(--reject-with TYPE  what the sender is answered:
                    icmp6-no-route, icmp6-adm-prohibited, icmp6-addr-unreachable,
                    icmp6-port-unreachable (this is the default), icmp6-policy-fail,
                    icmp6-reject-route; with `-p tcp' tcp-reset too
)",
     In::kIpv6},
    {"LOG",
     R"(--log-level LEVEL   number, or emerg alert crit error warning notice info debug (warning)
--log-prefix TEXT   at the beginning of the line, at most 29 characters
--log-tcp-sequence  with the TCP sequence numbers
--log-tcp-options   with the TCP header's options
--log-ip-options    with the IP header's options
--log-uid           with the user of the local socket
--log-macdecode     with the Ethernet header in fields
)"},
    {"MARK",
     R"(--set-xmark VALUE[/MASK]  clear the bits in MASK, then XOR with VALUE
--set-mark VALUE[/MASK]   clear the bits in MASK, then OR with VALUE
--and-mark BITS           AND
--or-mark BITS            OR
--xor-mark BITS           XOR
)"},
    {"SNAT",
     R"(--to-source [ADDRESS[-ADDRESS]][:PORT[-PORT]]  the new source
--random        choose the port at random
--random-fully  the same, in another way
--persistent    the same address for all connections of a client
)"},
    {"DNAT",
     R"(--to-destination [ADDRESS[-ADDRESS]][:PORT[-PORT][/PORT]]  the new destination
--random        choose the port at random
--persistent    the same address for all connections of a client
)"},
    {"MASQUERADE",
     R"(The new source is the address of the port that the packet leaves through.
--to-ports PORT[-PORT]  its port; with `-p'
--random                choose the port at random
--random-fully          the same, in another way
)"},
    {"REDIRECT",
     R"(The new destination is the appliance itself.
--to-ports PORT[-PORT]  its port; with `-p'
--random                choose the port at random
)"},
    {"CT",
     R"(--notrack  the packet belongs to no connection
)"},
    {"NOTRACK", ""},
};

std::string Help(std::span<const HelpEntry> entries, std::string_view kind, std::string_view name,
                 net::Family family) {
  std::string text = fmt::format("\n{} {} options:\n", name, kind);
  const In other = family == net::Family::kIpv4 ? In::kIpv6 : In::kIpv4;
  for (const HelpEntry& entry : entries) {
    if (entry.name == name && entry.in != other) text += entry.text;
  }
  return text;
}

}  // namespace

std::string MatchHelp(std::string_view name, net::Family family) {
  return Help(kMatches, "match", name, family);
}

std::string TargetHelp(std::string_view name, net::Family family) {
  return Help(kTargets, "target", name, family);
}

}  // namespace postern::control::iptables

#include "perf/rule_texts.h"

#include <fmt/format.h>

namespace postern::perf {
namespace {

constexpr char kBefore[] = R"(*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lan0 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -i lan0 -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset
)";
constexpr char kAfter[] =
    R"(-A FORWARD -d 198.18.0.10/32 -i wan0 -p udp -m udp --dport 8080 -j ACCEPT
-A FORWARD -d 198.18.0.10/32 -i wan0 -p tcp -m tcp --dport 8080 -j ACCEPT
-A FORWARD -i lan0 -o wan0 -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -i lan0 -p icmp -j ACCEPT
COMMIT
)";
constexpr unsigned kUsual = 10;

constexpr char kBefore6[] = R"(*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lan0 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -i lan0 -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset
)";
constexpr char kAfter6[] =
    R"(-A FORWARD -d 2001:db8::a/128 -i wan0 -p udp -m udp --dport 8080 -j ACCEPT
-A FORWARD -d 2001:db8::a/128 -i wan0 -p tcp -m tcp --dport 8080 -j ACCEPT
-A FORWARD -i lan0 -o wan0 -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -i lan0 -p ipv6-icmp -j ACCEPT
COMMIT
)";

constexpr char kNatHead[] = R"(*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
)";
constexpr char kMasquerade[] = "-A POSTROUTING -o wan0 -j MASQUERADE\nCOMMIT\n";
constexpr char kDnat[] =
    R"(-A PREROUTING -i wan0 -p udp -m udp --dport 8080 -j DNAT --to-destination 198.18.0.10:8080
-A PREROUTING -i wan0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 198.18.0.10:8080
COMMIT
)";

}  // namespace

std::string EdgeRules(unsigned rules, Nat nat, unsigned variant) {
  std::string text;
  if (nat != Nat::kNone) {
    text += kNatHead;
    text += nat == Nat::kMasquerade ? kMasquerade : kDnat;
  }
  text += kBefore;
  for (unsigned i = kUsual; i < rules; ++i) {
    const char* protocol = i % 2 == 0 ? "tcp" : "udp";
    text += fmt::format("-A FORWARD -d 192.0.2.{}/32 -p {} -m {} --dport {} -j DROP\n", i % 256,
                        protocol, protocol, 1 + (i + variant) % 65000);
  }
  return text + kAfter;
}

std::string EdgeRules6(unsigned rules, Nat nat) {
  std::string text;
  if (nat == Nat::kMasquerade) text += std::string(kNatHead) + kMasquerade;
  text += kBefore6;
  for (unsigned i = kUsual; i < rules; ++i) {
    const char* protocol = i % 2 == 0 ? "tcp" : "udp";
    text += fmt::format("-A FORWARD -d 2001:db8:2::{:x}/128 -p {} -m {} --dport {} -j DROP\n",
                        i % 256, protocol, protocol, 1 + i % 65000);
  }
  return text + kAfter6;
}

}  // namespace postern::perf

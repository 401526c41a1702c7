// One rule a row: as typed, and as -save and -L -n must show it, or the sentence that refuses it.
// The rows were taken from iptables 1.8.9; tests/differential/iptables.py compares them again.
#include <gtest/gtest.h>

#include "control/iptables/command.h"
#include "tests/control/iptables/fake_firewall.h"

namespace postern::control::iptables {
namespace {

struct Row {
  const char* program;
  const char* typed;
  const char* saved;
};

class RuleText : public testing::TestWithParam<Row> {};

TEST_P(RuleText, IsSavedAs) {
  const Row& row = GetParam();
  FakeFirewall firewall;
  const Answer answer = Type(&firewall, row.program, row.typed);
  ASSERT_EQ(answer.status, 0) << answer.error;
  const net::Family family =
      std::string(row.program) == "iptables" ? net::Family::kIpv4 : net::Family::kIpv6;
  const std::string saved = SavedRules(firewall, family);
  EXPECT_EQ(saved, std::string(row.saved) + "\n");

  // What was saved reads back as the same rules.
  FakeFirewall second;
  std::vector<std::string> errors;
  const std::string text = PrintSave(firewall.model.family(family), {}, false);
  ASSERT_TRUE(ParseRestore(text, "rules", {}, &second.model.family(family), &errors))
      << testing::PrintToString(errors);
  EXPECT_EQ(SavedRules(second, family), saved);
}

constexpr char k4[] = "iptables";
constexpr char k6[] = "ip6tables";

INSTANTIATE_TEST_SUITE_P(
    Base, RuleText,
    testing::Values(
        Row{k4, "-A INPUT", "-A INPUT"},
        Row{k4, "-A INPUT -s 10.0.0.1/24 -j ACCEPT", "-A INPUT -s 10.0.0.0/24 -j ACCEPT"},
        Row{k4, "-A INPUT -s 10.0.0.1/255.0.255.0", "-A INPUT -s 10.0.0.0/255.0.255.0"},
        Row{k4, "-A INPUT -s 10/8", "-A INPUT -s 10.0.0.0/8"},
        Row{k4, "-A INPUT -s any/0", "-A INPUT"},
        Row{k4, "-A INPUT ! -s 192.0.2.1", "-A INPUT ! -s 192.0.2.1/32"},
        Row{k4, "-A INPUT -s 192.0.2.1,192.0.2.2 -d 198.51.100.1",
            "-A INPUT -s 192.0.2.1/32 -d 198.51.100.1/32\n"
            "-A INPUT -s 192.0.2.2/32 -d 198.51.100.1/32"},
        Row{k4, "-I INPUT -s 192.0.2.1,192.0.2.2",
            "-A INPUT -s 192.0.2.2/32\n-A INPUT -s 192.0.2.1/32"},
        Row{k4, "-A FORWARD -i lan+ ! -o wan0 -p 6 -f", "-A FORWARD -i lan+ ! -o wan0 -p tcp -f"},
        Row{k4, "-A INPUT -i +", "-A INPUT"}, Row{k4, "-A INPUT -p 200", "-A INPUT -p 200"},
        Row{k4, "-A INPUT -p all", "-A INPUT"},
        Row{k4, "--app INPUT --prot tcp --desti 192.0.2.1 --destination-p 7",
            "-A INPUT -d 192.0.2.1/32 -p tcp -m tcp --dport 7"},
        Row{k6, "-A INPUT -s 2001:db8::1/64 -j DROP", "-A INPUT -s 2001:db8::/64 -j DROP"},
        Row{k6, "-A INPUT ! -d ::1", "-A INPUT ! -d ::1/128"},
        Row{k6, "-A INPUT -s 2001:db8::1/ffff:0:ffff::", "-A INPUT -s 2001::/ffff:0:ffff::"}));

INSTANTIATE_TEST_SUITE_P(
    Protocols, RuleText,
    testing::Values(
        Row{k4, "-A INPUT -p tcp --dport 22", "-A INPUT -p tcp -m tcp --dport 22"},
        Row{k4, "-A INPUT -p tcp ! --dport :22 --sport 1000:",
            "-A INPUT -p tcp -m tcp --sport 1000:65535 --dport 23:65535"},
        Row{k4, "-A INPUT -p udp ! --sport :1023 ! --dport 1024:",
            "-A INPUT -p udp -m udp --sport 1024:65535 ! --dport 1024:65535"},
        Row{k4, "-A INPUT -p tcp ! --sport 0 ! --dport 0:65534",
            "-A INPUT -p tcp -m tcp ! --sport 0 --dport 65535"},
        Row{k4, "-A INPUT -p tcp ! --dport :22 --tcp-option 7",
            "-A INPUT -p tcp -m tcp ! --dport 0:22 --tcp-option 7"},
        Row{k4, "-A INPUT -p tcp ! --dport 0:65535", "-A INPUT -p tcp"},
        Row{k4, "-A INPUT -p tcp ! --syn",
            "-A INPUT -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"},
        Row{k4, "-A INPUT -p tcp --tcp-flags ALL NONE",
            "-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE"},
        Row{k4, "-A INPUT -p tcp ! --tcp-option 7 --dport http",
            "-A INPUT -p tcp -m tcp --dport 80 ! --tcp-option 7"},
        Row{k4, "-A INPUT -p tcp -m tcp --dport 1 -m mark --mark 1 -m tcp ! --sport 2 --syn",
            "-A INPUT -p tcp -m tcp ! --sport 2 --dport 1 --tcp-flags FIN,SYN,RST,ACK SYN "
            "-m mark --mark 0x1"},
        Row{k4, "-A INPUT -p tcp -m tcp --dport 1:5 -m tcp --dport 3:9",
            "-A INPUT -p tcp -m tcp --dport 1:5 -m tcp --dport 3:9"},
        Row{k4, "-A INPUT -p tcp -m tcp -m tcp --dport 80",
            "-A INPUT -p tcp -m tcp -m tcp --dport 80"},
        Row{k4, "-A INPUT -p tcp -m tcp --tcp-option 5 -m tcp --dport 80",
            "-A INPUT -p tcp -m tcp --tcp-option 5 -m tcp --dport 80"},
        Row{k4, "-A INPUT -p udp -m udp --sport 5 -m udp --dport 6",
            "-A INPUT -p udp -m udp --sport 5 --dport 6"},
        Row{k4, "-A INPUT -p udp -m udp", "-A INPUT -p udp -m udp"},
        Row{k4, "-A INPUT -p udp --sport 65536", "-A INPUT -p udp -m udp --sport 0"},
        Row{k4, "-A INPUT -p icmp --icmp-type ping", "-A INPUT -p icmp -m icmp --icmp-type 8"},
        Row{k4, "-A INPUT -p icmp ! --icmp-type 3/1", "-A INPUT -p icmp -m icmp ! --icmp-type 3/1"},
        Row{k4, "-A INPUT -p icmp --icmp-type any", "-A INPUT -p icmp -m icmp --icmp-type any"},
        Row{k6, "-A INPUT -p icmpv6 --icmpv6-type echo-request",
            "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128"},
        Row{k4, "-A INPUT -p tcp -m multiport ! --dports 1,http,3:4",
            "-A INPUT -p tcp -m multiport ! --dports 1,80,3:4"}));

INSTANTIATE_TEST_SUITE_P(
    Matches, RuleText,
    testing::Values(
        Row{k4, "-A INPUT -m conntrack --ctstate est,rel",
            "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED"},
        Row{k4, "-A INPUT -m state ! --state NEW,RELATED",
            "-A INPUT -m state ! --state NEW,RELATED"},
        Row{k4,
            "-A INPUT -m conntrack ! --ctproto tcp --ctorigsrc 10.0.0.0/8 ! --ctrepldst 192.0.2.1 "
            "--ctorigdstport 1:2 --ctstatus ASSURED --ctexpire 60: --ctdir reply",
            "-A INPUT -m conntrack ! --ctproto 6 --ctorigsrc 10.0.0.0/8 ! --ctrepldst 192.0.2.1 "
            "--ctorigdstport 1:2 --ctstatus ASSURED --ctexpire 60:4294967295 --ctdir REPLY"},
        Row{k4, "-A INPUT -m comment --comment plain", "-A INPUT -m comment --comment plain"},
        Row{k4, "-A INPUT -m mark ! --mark 1/0xff", "-A INPUT -m mark ! --mark 0x1/0xff"},
        Row{k4, "-A INPUT -m limit", "-A INPUT -m limit --limit 3/hour"},
        Row{k4, "-A INPUT -m limit --limit 5/minute --limit-burst 7",
            "-A INPUT -m limit --limit 5/min --limit-burst 7"},
        Row{k4, "-A INPUT -m limit --limit 1/s --limit-burst 0", "-A INPUT -m limit --limit 1/sec"},
        Row{k4, "-A INPUT -m recent ! --update --seconds 60 --reap --hitcount 4 --rttl --name x",
            "-A INPUT -m recent ! --update --seconds 60 --reap --hitcount 4 --rttl --name x "
            "--mask 255.255.255.255 --rsource"},
        Row{k6, "-A INPUT -m recent --set --rdest",
            "-A INPUT -m recent --set --name DEFAULT --mask "
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff --rdest"},
        Row{k4, "-A INPUT -m connlimit ! --connlimit-upto 20 --connlimit-mask 255.255.0.0",
            "-A INPUT -m connlimit --connlimit-above 20 --connlimit-mask 16 --connlimit-saddr"}));

INSTANTIATE_TEST_SUITE_P(
    Targets, RuleText,
    testing::Values(
        Row{k4, "-A INPUT -j REJECT", "-A INPUT -j REJECT --reject-with icmp-port-unreachable"},
        Row{k4, "-A INPUT -p tcp -j REJECT --reject-with tcp-rst",
            "-A INPUT -p tcp -j REJECT --reject-with tcp-reset"},
        Row{k6, "-A INPUT -j REJECT --reject-with no-route",
            "-A INPUT -j REJECT --reject-with icmp6-no-route"},
        Row{k4, "-A INPUT -j LOG --log-level debug --log-uid --log-prefix x:",
            "-A INPUT -j LOG --log-prefix \"x:\" --log-level 7 --log-uid"},
        Row{k4, "-A INPUT -j MARK --set-mark 1/2", "-A INPUT -j MARK --set-xmark 0x1/0x3"},
        Row{k4, "-A INPUT -j MARK --and-mark 0xff", "-A INPUT -j MARK --set-xmark 0x0/0xffffff00"},
        Row{k4, "-t nat -A POSTROUTING -p tcp -j SNAT --to-source 192.0.2.1-192.0.2.9:1-2 --random",
            "-A POSTROUTING -p tcp -j SNAT --to-source 192.0.2.1-192.0.2.9:1-2 --random"},
        Row{k6, "-t nat -A PREROUTING -p tcp -j DNAT --to-destination [2001:db8::1]:80-90/1000",
            "-A PREROUTING -p tcp -j DNAT --to-destination [2001:db8::1]:80-90/1000"},
        Row{k4, "-t nat -A POSTROUTING -j MASQUERADE --random-fully",
            "-A POSTROUTING -j MASQUERADE --random-fully"},
        Row{k4, "-t nat -A OUTPUT -p udp -j REDIRECT --to-ports domain",
            "-A OUTPUT -p udp -j REDIRECT --to-ports 53"},
        Row{k4, "-t raw -A PREROUTING -j NOTRACK", "-A PREROUTING -j NOTRACK"},
        Row{k4, "-t raw -A PREROUTING -j CT --notrack", "-A PREROUTING -j CT --notrack"}));

struct Refusal {
  const char* program;
  const char* typed;
  int status;
  const char* sentence;  // what stands after the title, or the whole line
};

class RuleRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(RuleRefusal, Says) {
  const Refusal& row = GetParam();
  FakeFirewall firewall;
  const Answer answer = Type(&firewall, row.program, row.typed);
  EXPECT_EQ(answer.status, row.status);
  EXPECT_EQ(answer.error.substr(0, answer.error.find('\n')), row.sentence);
  EXPECT_EQ(firewall.applied, 0);
}

#define TITLE4 "iptables v1.8.9 (postern): "
#define TITLE6 "ip6tables v1.8.9 (postern): "
INSTANTIATE_TEST_SUITE_P(
    All, RuleRefusal,
    testing::Values(
        Refusal{k4, "-A INPUT -p tcp --dport nosuch", 2,
                TITLE4 "invalid port/service `nosuch' specified"},
        Refusal{k4, "-A INPUT -p udp --dport -1", 2,
                TITLE4 "Port \"-1\" does not resolve to anything."},
        Refusal{k4, "-A INPUT -p udp --dport 4294967295", 2,
                TITLE4 "Port \"4294967295\" does not resolve to anything."},
        Refusal{k4, "-A INPUT -p tcp --dport 10:5", 2, TITLE4 "invalid portrange (min > max)"},
        Refusal{k4, "-A INPUT -p tcp --dport", 2, TITLE4 "option \"--dport\" requires an argument"},
        Refusal{k4, "-A INPUT --dport 5", 2, TITLE4 "unknown option \"--dport\""},
        Refusal{k4, "-A INPUT -m tcp --dport 5", 2, TITLE4 "TCP match requires '-p tcp'"},
        Refusal{k4, "--protocol=tcp -A INPUT", 2,
                TITLE4 "unknown protocol \"--protocol=tcp\" specified"},
        Refusal{k4, "-A INPUT -p udp --dport 1:2:3", 2,
                TITLE4 "udp: Too many components for option \"--destination-port\" (max: 2)"},
        Refusal{k4, "-A INPUT -s 192.0.2.300", 2, TITLE4 "host/network `192.0.2.300' not found"},
        Refusal{k4, "-A INPUT -s 192.0.2.1/33", 2, TITLE4 "invalid mask `33' specified"},
        Refusal{k4, "-A INPUT ! -s 192.0.2.1,192.0.2.2", 2,
                TITLE4 "! not allowed with multiple source or destination IP addresses"},
        Refusal{k4, "-A OUTPUT -i lan0", 2, TITLE4 "Can't use -i with OUTPUT"},
        Refusal{k4, "-A INPUT foo", 2, "Bad argument `foo'"},
        Refusal{k4, "-A INPUT -s ! 192.0.2.1", 2, "Bad argument `192.0.2.1'"},
        Refusal{k4, "-A INPUT -D INPUT", 2, TITLE4 "Cannot use -D with -A"},
        Refusal{k4, "-A INPUT -j nowhere", 2, TITLE4 "Chain 'nowhere' does not exist"},
        Refusal{k4, "-A nowhere -j ACCEPT", 1, "iptables: No chain/target/match by that name."},
        Refusal{k4, "-A INPUT -m nosuch", 2,
                TITLE4 "Couldn't load match `nosuch':No such file or directory"},
        Refusal{k4, "-A INPUT -m hashlimit", 2, TITLE4 "match 'hashlimit' isn't supported"},
        Refusal{k4, "-A INPUT -j TPROXY", 2, TITLE4 "target 'TPROXY' isn't supported"},
        Refusal{k4, "-A INPUT -j LOG --log-level foo", 2, TITLE4 "log level \"foo\" unknown"},
        Refusal{k4, "-A INPUT -j MARK", 2,
                TITLE4 "MARK: One of the --set-xmark, --{and,or,xor,set}-mark options is required"},
        Refusal{k4, "-A INPUT -m conntrack --ctstate NEW,FOO", 2, TITLE4 "Bad ctstate \"FOO\""},
        Refusal{k4, "-A INPUT -m limit --limit 10001/sec", 2, TITLE4 "Rate too fast \"10001/sec\""},
        Refusal{k4, "-A INPUT -m recent --update --reap", 2,
                TITLE4 "recent: option \"--reap\" also requires \"--seconds\"."},
        Refusal{k4, "-A INPUT -m recent --update --hitcount 65536", 4,
                TITLE4 "recent: hitcount (65536) is larger than allowed maximum (65535)"},
        Refusal{k4, "-A INPUT -p tcp -m multiport --ports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16",
                2, TITLE4 "too many ports specified"},
        Refusal{k4, "-t nat -A PREROUTING -j MASQUERADE", 4,
                TITLE4 "MASQUERADE is not valid in chain PREROUTING"},
        Refusal{k4, "-t foo -L", 3, TITLE4 "table 'foo' does not exist"},
        Refusal{k4, "-N LOG", 2, TITLE4 "chain name may not clash with target name"},
        Refusal{k4, "-C INPUT -j ACCEPT", 1,
                "iptables: Bad rule (does a matching rule exist in that chain?)."},
        Refusal{k4, "-D INPUT 1", 1, "iptables: Index of deletion too big."},
        Refusal{k6, "-A INPUT -f", 2,
                TITLE6 "`-f' is not supported in IPv6, use -m frag instead"}));

}  // namespace
}  // namespace postern::control::iptables

// Help about extensions, and several matches of one name in a rule.
#include "control/iptables/extension_help.h"

#include <gtest/gtest.h>

#include "control/iptables/registry.h"
#include "tests/control/iptables/fake_firewall.h"

namespace postern::control::iptables {
namespace {

using net::Family;

void ExpectEveryOption(const Extension& extension, const std::string& help) {
  for (const OptionSpec& option : extension.options()) {
    EXPECT_NE(help.find("--" + std::string(option.name)), std::string::npos)
        << extension.name() << " --" << option.name;
  }
}

TEST(ExtensionHelp, NamesEveryOption) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (const char* name : {"tcp", "udp", "icmp", "icmp6", "multiport", "conntrack", "state",
                             "comment", "mark", "limit", "recent", "connlimit"}) {
      const MatchExtension* extension = FindMatch(name, family);
      if (extension != nullptr) ExpectEveryOption(*extension, MatchHelp(name, family));
    }
    for (const char* name : {"REJECT", "LOG", "MARK", "SNAT", "DNAT", "MASQUERADE", "REDIRECT"}) {
      ExpectEveryOption(*FindTarget(name, family), TargetHelp(name, family));
    }
  }
}

bool Mentions(const Answer& answer, const std::string& title) {
  return answer.output.find("\n" + title + " options:\n") != std::string::npos;
}

TEST(ExtensionHelp, FollowsTheExtensionsOfTheCommand) {
  FakeFirewall firewall;
  const Answer bare = Type(&firewall, "iptables", "-h");
  EXPECT_EQ(bare.status, 0);
  EXPECT_EQ(bare.output.find(" options:\n"), std::string::npos);
  EXPECT_TRUE(Mentions(Type(&firewall, "iptables", "-m recent -h"), "recent match"));
  EXPECT_TRUE(Mentions(Type(&firewall, "iptables", "-p tcp --help"), "tcp match"));
  EXPECT_TRUE(Mentions(Type(&firewall, "ip6tables", "-p icmpv6 -h"), "icmp6 match"));
  const Answer both = Type(&firewall, "ip6tables", "-m mark -j REJECT -h");
  EXPECT_TRUE(Mentions(both, "REJECT target"));
  EXPECT_TRUE(Mentions(both, "mark match"));
  EXPECT_LT(both.output.find("REJECT target"), both.output.find("mark match"));
  EXPECT_NE(both.output.find("icmp6-no-route"), std::string::npos);
  EXPECT_EQ(both.output.find("icmp-net-unreachable"), std::string::npos);
  EXPECT_EQ(Type(&firewall, "iptables", "-m nosuch -h").status, 2);
  EXPECT_EQ(firewall.applied, 0);
}

}  // namespace
}  // namespace postern::control::iptables

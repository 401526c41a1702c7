#include "control/iptables/command.h"

#include <gtest/gtest.h>

#include "tests/control/iptables/fake_firewall.h"

namespace postern::control::iptables {
namespace {

constexpr char kEnd[] = "Try `iptables -h' or 'iptables --help' for more information.\n";

TEST(Command, Lists) {
  FakeFirewall firewall;
  Type(&firewall, "iptables", "-N web");
  Type(&firewall, "iptables", "-A FORWARD -i lan0 -p tcp --dport 80 -c 123456 9999999 -j web");
  Type(&firewall, "iptables", "-A web -s 192.0.2.1 -j LOG --log-prefix x");
  EXPECT_EQ(
      Type(&firewall, "iptables", "-L -n -v --line-numbers").output,
      "Chain INPUT (policy ACCEPT 0 packets, 0 bytes)\n"
      "num   pkts bytes target     prot opt in     out     source               destination    "
      "     \n"
      "\n"
      "Chain FORWARD (policy ACCEPT 0 packets, 0 bytes)\n"
      "num   pkts bytes target     prot opt in     out     source               destination    "
      "     \n"
      "1     123K   10M web        6    --  lan0   *       0.0.0.0/0            0.0.0.0/0      "
      "      tcp dpt:80\n"
      "\n"
      "Chain OUTPUT (policy ACCEPT 0 packets, 0 bytes)\n"
      "num   pkts bytes target     prot opt in     out     source               destination    "
      "     \n"
      "\n"
      "Chain web (1 references)\n"
      "num   pkts bytes target     prot opt in     out     source               destination    "
      "     \n"
      "1        0     0 LOG        0    --  *      *       192.0.2.1            0.0.0.0/0      "
      "      LOG flags 0 level 4 prefix \"x\"\n");
  EXPECT_EQ(Type(&firewall, "iptables", "-L web").output,
            "Chain web (1 references)\n"
            "target     prot opt source               destination         \n"
            "LOG        all  --  192.0.2.1            anywhere             LOG level warn prefix "
            "\"x\"\n");
  EXPECT_EQ(Type(&firewall, "iptables", "-S -v").output,
            "-P INPUT ACCEPT -c 0 0\n-P FORWARD ACCEPT -c 0 0\n-P OUTPUT ACCEPT -c 0 0\n-N web\n"
            "-A FORWARD -i lan0 -p tcp -m tcp --dport 80 -c 123456 9999999 -j web\n"
            "-A web -s 192.0.2.1/32 -c 0 0 -j LOG --log-prefix x\n");
  EXPECT_EQ(Type(&firewall, "iptables", "-S web 1").output,
            "-A web -s 192.0.2.1/32 -j LOG --log-prefix x\n");
}

TEST(Command, Edits) {
  FakeFirewall firewall;
  const auto type = [&](const char* words) { return Type(&firewall, "iptables", words).status; };
  EXPECT_EQ(type("-A INPUT -j ACCEPT"), 0);
  EXPECT_EQ(type("-C INPUT -j ACCEPT"), 0);
  EXPECT_EQ(type("-I INPUT 2 -j DROP"), 0);
  EXPECT_EQ(type("-R INPUT 1 -s 192.0.2.1"), 0);
  EXPECT_EQ(type("-C INPUT -j ACCEPT"), 1);
  EXPECT_EQ(type("-I INPUT 4 -j DROP"), 1);
  EXPECT_EQ(SavedRules(firewall, net::Family::kIpv4),
            "-A INPUT -s 192.0.2.1/32\n-A INPUT -j DROP\n");
  EXPECT_EQ(type("-D INPUT -j DROP"), 0);
  EXPECT_EQ(type("-D INPUT 1"), 0);
  EXPECT_EQ(SavedRules(firewall, net::Family::kIpv4), "");
  EXPECT_EQ(type("-N a"), 0);
  EXPECT_EQ(type("-N a"), 1);
  EXPECT_EQ(type("-A INPUT -j a"), 0);
  EXPECT_EQ(type("-X a"), 4);
  EXPECT_EQ(type("-E a b"), 0);
  EXPECT_EQ(SavedRules(firewall, net::Family::kIpv4), "-A INPUT -j b\n");
  EXPECT_EQ(type("-F"), 0);
  EXPECT_EQ(type("-X"), 0);
  EXPECT_EQ(type("-P INPUT DROP"), 0);
  EXPECT_EQ(Type(&firewall, "iptables", "-S").output,
            "-P INPUT DROP\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n");
}

TEST(Command, ReadingChangesNothing) {
  FakeFirewall firewall;
  for (const char* words : {"-L", "-S", "-t nat -L -n", "-C INPUT -j ACCEPT", "-V", "-h"}) {
    Type(&firewall, "iptables", words);
  }
  Type(&firewall, "iptables-restore", "--test", "*filter\n-A INPUT\nCOMMIT\n");
  EXPECT_EQ(firewall.applied, 0);
  EXPECT_EQ(Type(&firewall, "iptables-save", "").output, "");
}

TEST(Command, CountersAreKeptByEditsAndResetByZeroAndRestore) {
  FakeFirewall firewall;
  Type(&firewall, "iptables", "-A INPUT -c 5 6");
  EXPECT_TRUE(firewall.kept_counters);
  Type(&firewall, "iptables", "-Z");
  EXPECT_FALSE(firewall.kept_counters);
  EXPECT_EQ(Type(&firewall, "iptables", "-S INPUT -v").output,
            "-P INPUT ACCEPT -c 0 0\n-A INPUT -c 0 0\n");
  Type(&firewall, "iptables-restore", "-n", "*filter\n-A INPUT\nCOMMIT\n");
  EXPECT_TRUE(firewall.kept_counters);
  Type(&firewall, "iptables-restore", "", "*filter\n-A INPUT\nCOMMIT\n");
  EXPECT_FALSE(firewall.kept_counters);
}

TEST(Command, VerbosePrintsTheRule) {
  FakeFirewall firewall;
  EXPECT_EQ(
      Type(&firewall, "iptables", "-v -A INPUT ! -s 192.0.2.1 -i lan0 -p tcp --dport 5 -j ACCEPT")
          .output,
      "ACCEPT  tcp opt -- in lan0 out * !192.0.2.1  -> 0.0.0.0/0   tcp dpt:5\n");
}

TEST(Command, RestoreSaysWhere) {
  FakeFirewall firewall;
  Answer answer = Type(&firewall, "iptables-restore", "", "*filter\n-A INPUT -w\nCOMMIT\n");
  EXPECT_EQ(answer.status, 2);
  EXPECT_EQ(answer.error,
            "iptables-restore v1.8.9 (postern): You cannot use `-w' from iptables-restore\n"
            "Error occurred at line: 2\n"
            "Try `iptables-restore -h' or 'iptables-restore --help' for more information.\n");
  answer = Type(&firewall, "iptables-restore", "", "*filter\n-A nowhere\nCOMMIT\n");
  EXPECT_EQ(answer.status, 1);
  EXPECT_EQ(answer.error, "iptables-restore: line 2 failed: No chain/target/match by that name.\n");
  answer = Type(&firewall, "iptables-restore", "", "hello\n");
  EXPECT_EQ(answer.error, "iptables-restore: line 1 failed\n");
  answer = Type(&firewall, "iptables-restore", "", "*filter\n");
  EXPECT_EQ(answer.status, 1);
  EXPECT_EQ(answer.error, "iptables-restore: COMMIT expected at line 2\n");
  EXPECT_EQ(firewall.applied, 0);
}

TEST(Command, TheEngineMayRefuse) {
  FakeFirewall firewall;
  firewall.refusal = "loop";
  const Answer answer = Type(&firewall, "iptables", "-A INPUT -j ACCEPT");
  EXPECT_EQ(answer.status, 4);
  EXPECT_EQ(answer.error, "iptables v1.8.9 (postern): loop\n");
}

TEST(Command, SavesTablesThatExist) {
  FakeFirewall firewall;
  Type(&firewall, "ip6tables", "-t nat -A POSTROUTING -j MASQUERADE");
  const std::string text = Type(&firewall, "ip6tables-save", "-c").output;
  EXPECT_TRUE(text.starts_with("# Generated by ip6tables-save v1.8.9 (postern) on ")) << text;
  EXPECT_NE(text.find("\n*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT "
                      "[0:0]\n:POSTROUTING ACCEPT [0:0]\n[0:0] -A POSTROUTING -j MASQUERADE\n"
                      "COMMIT\n# Completed on "),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("*filter"), std::string::npos);
  EXPECT_EQ(Type(&firewall, "ip6tables-save", "-t foo").error, "Table `foo' does not exist\n");
}

TEST(Command, Version) {
  FakeFirewall firewall;
  EXPECT_EQ(Type(&firewall, "iptables", "-V").output, "iptables v1.8.9 (postern)\n");
  EXPECT_EQ(Type(&firewall, "iptables", "").error,
            std::string("iptables v1.8.9 (postern): no command specified\n") + kEnd);
}

}  // namespace
}  // namespace postern::control::iptables

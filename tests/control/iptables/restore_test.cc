#include "control/iptables/restore.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/control/iptables/fake_firewall.h"

namespace postern::control::iptables {
namespace {

using Errors = std::vector<std::string>;

Errors ErrorsOf(const std::string& text) {
  rules::FamilyModel model = rules::EmptyModel(net::Family::kIpv4);
  Errors errors;
  const bool done = ParseRestore(text, "rules.v4", {}, &model, &errors);
  EXPECT_EQ(done, errors.empty());
  return errors;
}

TEST(Restore, ReadsWhatSaveWrites) {
  const std::string text =
      "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
      "[1:2] -A PREROUTING -j NOTRACK\nCOMMIT\n"
      "*filter\n:INPUT DROP [5:6]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
      ":alpha - [0:0]\n:beta - [0:0]\n"
      "[3:4] -A INPUT -m comment --comment \"a \\\"b\\\" \\\\c\" -g alpha\n"
      "[0:0] -A alpha -j beta\nCOMMIT\n";
  rules::FamilyModel model = rules::EmptyModel(net::Family::kIpv4);
  Errors errors;
  RestoreOptions options;
  options.counters = true;
  ASSERT_TRUE(ParseRestore(text, "f", options, &model, &errors)) << errors.front();
  SaveOptions save;
  save.counters = true;
  EXPECT_EQ(PrintSave(model, save, false), text);
  save.only_table = "raw";
  save.counters = false;
  EXPECT_EQ(PrintSave(model, save, false),
            "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -j NOTRACK\n"
            "COMMIT\n");
}

TEST(Restore, NamesFileAndLineOfEveryError) {
  EXPECT_EQ(ErrorsOf("*filter\n"
                     "-A INPUT -m hashlimit\n"
                     "-A INPUT -m nosuch\n"
                     "-A INPUT -j nowhere\n"
                     "-A INPUT -p tcp --dport x\n"
                     "COMMIT\n"
                     "hello\n"),
            (Errors{"rules.v4:2: match 'hashlimit' isn't supported",
                    "rules.v4:3: Couldn't load match `nosuch':No such file or directory",
                    "rules.v4:4: Chain 'nowhere' does not exist",
                    "rules.v4:5: invalid port/service `x' specified",
                    "rules.v4:7: not a table, chain or rule"}));
  EXPECT_EQ(ErrorsOf("*filter\n:INPUT ACCEPT [0:0]\n"),
            (Errors{"rules.v4:3: COMMIT expected at line 3"}));
  EXPECT_EQ(ErrorsOf("*filter\n:INPUT FOO\nCOMMIT\n"), (Errors{"rules.v4:2: Bad policy name"}));
  EXPECT_EQ(ErrorsOf("*foo\nCOMMIT\n"),
            (Errors{"rules.v4:1: iptables-restore: line 1 table name 'foo' invalid"}));
}

TEST(Restore, ZerosAreNotAnEmptyFile) {
  EXPECT_EQ(ErrorsOf(std::string(4096, '\0')), (Errors{"rules.v4:1: not a table, chain or rule"}));
  EXPECT_FALSE(ErrorsOf(std::string("*filter\n\0\nCOMMIT\n", 17)).empty());
}

TEST(Restore, LeavesTheModelAloneOnErrors) {
  FakeFirewall firewall;
  Type(&firewall, "iptables", "-A INPUT -s 192.0.2.1");
  const std::string before = SavedRules(firewall, net::Family::kIpv4);
  Errors errors;
  EXPECT_FALSE(ParseRestore("*filter\n-A INPUT -j ACCEPT\nCOMMIT\n*nat\n-A X\nCOMMIT\n", "f", {},
                            &firewall.model.ipv4, &errors));
  EXPECT_EQ(SavedRules(firewall, net::Family::kIpv4), before);
}

TEST(Restore, ReplacesNamedTablesOnly) {
  FakeFirewall firewall;
  Type(&firewall, "iptables", "-A INPUT -s 192.0.2.1");
  Type(&firewall, "iptables", "-t raw -A OUTPUT -j NOTRACK");
  Errors errors;
  ASSERT_TRUE(
      ParseRestore("*filter\n-A INPUT -j DROP\nCOMMIT\n", "f", {}, &firewall.model.ipv4, &errors));
  EXPECT_EQ(SavedRules(firewall, net::Family::kIpv4), "-A OUTPUT -j NOTRACK\n-A INPUT -j DROP\n");
  RestoreOptions options;
  options.noflush = true;
  ASSERT_TRUE(ParseRestore("*filter\n-I INPUT -s 192.0.2.9\nCOMMIT\n", "f", options,
                           &firewall.model.ipv4, &errors));
  EXPECT_EQ(SavedRules(firewall, net::Family::kIpv4),
            "-A OUTPUT -j NOTRACK\n-A INPUT -s 192.0.2.9/32\n-A INPUT -j DROP\n");
}

TEST(Restore, TakesEveryKindOfLine) {
  rules::FamilyModel model = rules::EmptyModel(net::Family::kIpv4);
  Errors errors;
  ASSERT_TRUE(
      ParseRestore("# comment\n\n*filter\n-N a\n-N b\n-N c\n-A a -j ACCEPT\n-A a -j DROP\n"
                   "-D a 1\n-R a 1 -j RETURN\n-I a -s 192.0.2.1\n-P INPUT DROP\n-A b\n"
                   "-F b\n-X b\n-E c d\n-6 -A a -s ::1\n-4 -A a -s 192.0.2.2\n-Z a\n"
                   "[7:8] -A d -m comment --comment \"\"\nCOMMIT\n",
                   "f", {}, &model, &errors))
      << errors.front();
  EXPECT_EQ(PrintSave(model, {}, false),
            "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
            ":a - [0:0]\n:d - [0:0]\n-A a -s 192.0.2.1/32\n-A a -j RETURN\n-A a -s 192.0.2.2/32\n"
            "-A d -m comment --comment \"\"\nCOMMIT\n");
}

TEST(Restore, TenThousandRules) {
  std::string text = "*filter\n:INPUT ACCEPT [0:0]\n";
  for (int i = 0; i < 10000; ++i) {
    text += "-A INPUT -s 10." + std::to_string(i / 250) + "." + std::to_string(i % 250) +
            ".0/24 -p tcp -m tcp --dport " + std::to_string(i + 1) +
            " -m conntrack --ctstate NEW -j ACCEPT\n";
  }
  text += "COMMIT\n";
  const auto start = std::chrono::steady_clock::now();
  rules::FamilyModel model = rules::EmptyModel(net::Family::kIpv4);
  Errors errors;
  ASSERT_TRUE(ParseRestore(text, "f", {}, &model, &errors));
  const auto parsed = std::chrono::steady_clock::now();
  const std::string saved = PrintSave(model, {}, false);
  const auto printed = std::chrono::steady_clock::now();
  EXPECT_EQ(model.table(net::Table::kFilter).Find("INPUT")->rules.size(), 10000U);
  const auto ms = [](auto duration) {
    return static_cast<int>(
        std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
  };
  RecordProperty("parse_ms", ms(parsed - start));
  RecordProperty("print_ms", ms(printed - parsed));
}

}  // namespace
}  // namespace postern::control::iptables

// Which files the tool opens for iptables-save and iptables-restore.
#include "control/iptables/tool_options.h"

#include <gtest/gtest.h>

#include "tests/control/iptables/fake_firewall.h"

namespace postern::control::iptables {
namespace {

struct Row {
  const char* program;
  std::vector<std::string> arguments;
  bool reads_input;
  std::string input;
  std::vector<std::string> outputs;
};

TEST(FilesOf, FollowsTheProgramsOptions) {
  const std::vector<Row> rows = {
      {"iptables-save", {}, false, "", {}},
      {"iptables-save", {"-f", "out"}, false, "", {"out"}},
      {"iptables-save", {"-cfout"}, false, "", {"out"}},
      {"ip6tables-save", {"-c", "--file", "-c", "-t", "nat"}, false, "", {"-c"}},
      {"ip6tables-save", {"--fi=out", "-f", "other"}, false, "", {"out", "other"}},
      {"iptables-save", {"-t", "-f", "out"}, false, "", {}},
      {"iptables-save", {"-V", "-f", "out"}, false, "", {}},
      {"iptables-save", {"-q", "-f", "out"}, false, "", {}},
      {"iptables-save", {"-f"}, false, "", {}},
      {"iptables-restore", {}, true, "", {}},
      {"iptables-restore", {"-c", "rules"}, true, "rules", {}},
      {"iptables-restore", {"rules", "-n"}, true, "rules", {}},
      {"iptables-restore", {"-nT", "nat", "rules"}, true, "rules", {}},
      {"iptables-restore", {"--tab", "nat", "-w", "5"}, true, "", {}},
      {"iptables-restore", {"-w", "5", "-W", "7", "rules"}, true, "rules", {}},
      {"ip6tables-restore", {"--", "-rules"}, true, "-rules", {}},
      {"iptables-restore", {"one", "two"}, false, "", {}},
      {"iptables-restore", {"rules", "-h"}, false, "", {}},
      {"iptables-restore", {"--version"}, false, "", {}},
      {"iptables-restore", {"-T"}, false, "", {}},
      {"iptables", {"-A", "INPUT", "-f"}, false, "", {}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(std::string(row.program) + testing::PrintToString(row.arguments));
    const CommandFiles files = FilesOf(row.program, row.arguments);
    EXPECT_EQ(files.reads_input, row.reads_input);
    EXPECT_EQ(files.input, row.input);
    EXPECT_EQ(files.outputs, row.outputs);
  }
}

// The names stay among the arguments, and the program itself opens nothing.
TEST(FilesOf, TheProgramTakesTheNames) {
  FakeFirewall firewall;
  EXPECT_EQ(
      Type(&firewall, "iptables-restore", "/nowhere/rules", "*filter\n-A INPUT -j DROP\nCOMMIT\n")
          .status,
      0);
  EXPECT_EQ(SavedRules(firewall, net::Family::kIpv4), "-A INPUT -j DROP\n");
  const Answer saved = Type(&firewall, "iptables-save", "-f /nowhere/rules");
  EXPECT_EQ(saved.status, 0);
  EXPECT_NE(saved.output.find("-A INPUT -j DROP\n"), std::string::npos);
  EXPECT_EQ(Type(&firewall, "iptables-restore", "one two").error,
            "Unknown arguments found on commandline\n");
}

}  // namespace
}  // namespace postern::control::iptables

// The engine on a fake data plane: counters over publications, reloads that are whole or nothing.
#include "control/engine.h"

#include <gtest/gtest.h>

#include "control/rule_files.h"
#include "control/save.h"
#include "tests/control/fake_dataplane.h"
#include "tests/control/folder.h"

namespace postern::control {
namespace {

using test::FakeDataplane;
using test::Folder;

constexpr char kConfig[] =
    "ports: ({ name = \"wan0\"; device = \"net_tap0\"; addresses = [ \"203.0.113.2/24\" ]; },\n"
    "        { name = \"lan0\"; device = \"net_tap1\"; addresses = [ \"192.168.1.1/24\" ]; });\n"
    "rules: { ipv4 = \"rules.v4\"; };\n";
constexpr char kRules[] =
    "*filter\n:INPUT DROP [7:700]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    "[1:100] -A FORWARD -s 192.0.2.1/32 -j ACCEPT\n"
    "[2:200] -A FORWARD -s 192.0.2.2/32 -j ACCEPT\n"
    "-A FORWARD -s 192.0.2.1/32 -j ACCEPT\n"
    "COMMIT\n";

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() : dataplane_(2) {
    folder_.Write("rules.v4", kRules);
    file_ = folder_.Write("edge.conf", kConfig);
    std::vector<std::string> errors;
    auto config = LoadConfig(file_, &errors);
    EXPECT_TRUE(config);
    auto model = LoadRules(*config, &errors);
    for (const std::string& error : errors) ADD_FAILURE() << error;
    Engine::Options options;
    options.warn = [this](const std::string& warning) { warnings_.push_back(warning); };
    options.conntrack_capacity = 1000000;
    engine_ = std::make_unique<Engine>(*config, &dataplane_, options);
    engine_->Start(*model);
  }

  // Counters of a rule of filter; number 0: the policy.
  rules::Counters Of(std::string_view chain, uint32_t number) {
    const rules::Model model = engine_->Rules();
    const rules::Chain* found = model.ipv4.table(net::Table::kFilter).Find(chain);
    return number == 0 ? found->policy_counters : found->rules.at(number - 1).counters;
  }

  Folder folder_;
  std::string file_;
  FakeDataplane dataplane_;
  std::vector<std::string> warnings_;
  std::unique_ptr<Engine> engine_;
};

using C = rules::Counters;

TEST_F(EngineTest, StartsWithTheCountersOfTheFile) {
  EXPECT_EQ(dataplane_.publications, 1);
  EXPECT_EQ(Of("INPUT", 0), (C{7, 700}));
  EXPECT_EQ(Of("FORWARD", 1), (C{1, 100}));
  EXPECT_EQ(Of("FORWARD", 3), (C{0, 0}));
}

TEST_F(EngineTest, SumsOverWorkers) {
  dataplane_.Count(0, "FORWARD", 1, 60);
  dataplane_.Count(1, "FORWARD", 1, 40);
  dataplane_.Count(1, "INPUT", 0, 50);
  EXPECT_EQ(Of("FORWARD", 1), (C{3, 200}));
  EXPECT_EQ(Of("INPUT", 0), (C{8, 750}));
}

TEST_F(EngineTest, ReloadKeepsTheCountersOfUnchangedRules) {
  dataplane_.Count(0, "FORWARD", 2, 60);
  dataplane_.Count(1, "FORWARD", 3, 40);
  // What workers count until they have adopted the new rules isn't lost.
  dataplane_.before_swap = [this](const pipeline::Snapshot& old) {
    dataplane_.Count(1, "FORWARD", 2, 1000, &old);
  };
  folder_.Write("rules.v4",
                "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"
                "-A FORWARD -s 192.0.2.9/32 -j DROP\n"
                "-A FORWARD -s 192.0.2.2/32 -j ACCEPT\n"
                "-A FORWARD -s 192.0.2.1/32 -j ACCEPT\n"
                "COMMIT\n");
  const net::Status status = engine_->Reload();
  ASSERT_TRUE(status) << status.error();
  EXPECT_EQ(Of("FORWARD", 1), (C{0, 0}));
  EXPECT_EQ(Of("FORWARD", 2), (C{4, 1260}));
  EXPECT_EQ(Of("FORWARD", 3), (C{1, 100}));  // the first of the two equal ones
  EXPECT_EQ(Of("INPUT", 0), (C{7, 700}));
  EXPECT_EQ(engine_->generation(), 2u);
  EXPECT_EQ(engine_->reloads().succeeded, 1u);
}

TEST_F(EngineTest, ApplyTakesTheGivenCounters) {
  dataplane_.Count(0, "FORWARD", 1, 60);
  rules::Model model = engine_->Rules();
  rules::Chain* forward = model.ipv4.table(net::Table::kFilter).Find("FORWARD");
  forward->rules[0].counters = {};
  ASSERT_TRUE(engine_->Apply(model, false));
  EXPECT_EQ(Of("FORWARD", 1), (C{0, 0}));
  EXPECT_EQ(Of("FORWARD", 2), (C{2, 200}));
}

// A restore of one table, or -Z of one chain, takes the rules, changes some and puts all back: what
// the others have counted meanwhile must not be lost.
TEST_F(EngineTest, PacketsOfTheTimeOfAChangeAreCounted) {
  rules::Model model = engine_->Rules();
  rules::Chain* forward = model.ipv4.table(net::Table::kFilter).Find("FORWARD");
  forward->rules[1].counters = {7, 700};
  const rules::Counters before = forward->rules[0].counters;
  dataplane_.Count(0, "FORWARD", 1, 60);
  dataplane_.Count(1, "FORWARD", 2, 60);
  ASSERT_TRUE(engine_->Apply(model, false));
  EXPECT_EQ(Of("FORWARD", 1), (C{before.packets + 1, before.bytes + 60}));
  EXPECT_EQ(Of("FORWARD", 2), (C{7, 700}));
}

TEST_F(EngineTest, ARefusedApplyChangesNothing) {
  rules::Model model = engine_->Rules();
  rules::Rule rule;
  rule.target = rules::JumpTarget{"NOWHERE", false};
  model.ipv4.table(net::Table::kFilter).Find("FORWARD")->rules.push_back(rule);
  EXPECT_FALSE(engine_->Apply(model, true));
  EXPECT_EQ(dataplane_.publications, 1);
  EXPECT_EQ(engine_->Rules().ipv4.table(net::Table::kFilter).Find("FORWARD")->rules.size(), 3u);
}

TEST_F(EngineTest, AFailedReloadLeavesWhatRuns) {
  folder_.Write("rules.v4", "*filter\n-A FORWARD -j NONSENSE\nCOMMIT\n");
  const net::Status status = engine_->Reload();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().find(folder_.path() + "/rules.v4:"), std::string::npos)
      << status.error();
  EXPECT_EQ(dataplane_.publications, 1);
  EXPECT_EQ(Of("FORWARD", 1), (C{1, 100}));
  EXPECT_EQ(engine_->reloads().failed, 1u);
  EXPECT_FALSE(engine_->reloads().last_ok);
}

TEST_F(EngineTest, PortsCantChangeInAReload) {
  std::string text = kConfig;
  text.replace(text.find("192.168.1.1/24"), 14, "192.168.9.1/24");
  folder_.Write("edge.conf", text);
  const net::Status status = engine_->Reload();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error(),
            file_ +
                ":2: port \"lan0\" can't change while posternd runs: it takes a restart of "
                "posternd");
  EXPECT_EQ(dataplane_.publications, 1);
}

TEST_F(EngineTest, SysctlsTakeEffectAndCountersStay) {
  dataplane_.Count(0, "FORWARD", 1, 60);
  Sysctls sysctls = engine_->sysctls();
  sysctls.forward_ipv4 = false;
  sysctls.conntrack.max = 5;
  ASSERT_TRUE(engine_->SetSysctls(sysctls));
  EXPECT_FALSE(dataplane_.current()->forward_ipv4);
  EXPECT_EQ(dataplane_.current()->conntrack.max, 5u);
  EXPECT_EQ(Of("FORWARD", 1), (C{2, 160}));
  dataplane_.Count(1, "FORWARD", 1, 40);
  EXPECT_EQ(Of("FORWARD", 1), (C{3, 200}));
  // They are the operator's until a reload, which brings the configuration's back.
  ASSERT_TRUE(engine_->Apply(engine_->Rules(), false));
  EXPECT_EQ(dataplane_.current()->conntrack.max, 5u);
  ASSERT_TRUE(engine_->Reload());
  EXPECT_EQ(dataplane_.current()->conntrack.max, 262144u);
}

TEST_F(EngineTest, NfConntrackMaxCantOutgrowTheReservedMemory) {
  Sysctls sysctls = engine_->sysctls();
  sysctls.conntrack.max = 1000001;
  EXPECT_FALSE(engine_->SetSysctls(sysctls));
  EXPECT_EQ(dataplane_.publications, 1);
  EXPECT_EQ(engine_->sysctls().conntrack.max, 262144u);
}

TEST_F(EngineTest, SaveWritesTheRulesBackWhole) {
  dataplane_.Count(0, "FORWARD", 1, 60);
  rules::Model model = engine_->Rules();
  model.ipv4.table(net::Table::kFilter).Find("FORWARD")->rules.pop_back();
  ASSERT_TRUE(engine_->Apply(model, true));
  std::string error;
  CommandIo io;
  io.arguments = {"-c"};
  io.error = [&](std::string_view text) { return error += text, true; };
  EXPECT_EQ(RunSave(io, engine_.get()), 0) << error;
  const std::string text = folder_.Read("rules.v4");
  EXPECT_NE(text.find("[2:160] -A FORWARD -s 192.0.2.1/32 -j ACCEPT\n"), std::string::npos) << text;
  EXPECT_EQ(std::filesystem::status(folder_.path() + "/rules.v4").permissions(),
            std::filesystem::perms(0640));
  ASSERT_TRUE(engine_->Reload());
  EXPECT_EQ(engine_->Rules().ipv4.table(net::Table::kFilter).Find("FORWARD")->rules.size(), 2u);
  // Nothing else is left in the folder.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 2);
}

TEST_F(EngineTest, WarnsOnceOfInterfacesThatNoPortHas) {
  folder_.Write("rules.v4",
                "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
                "-A FORWARD -i eth7 -j ACCEPT\n-A FORWARD -o eth7 -j ACCEPT\n"
                "-A FORWARD -i lan+ -o lo -j ACCEPT\nCOMMIT\n");
  ASSERT_TRUE(engine_->Reload());
  ASSERT_TRUE(engine_->Reload());
  EXPECT_EQ(warnings_, std::vector<std::string>{folder_.path() +
                                                "/rules.v4:5: no port is called 'eth7': the rule "
                                                "never matches"});
}

TEST(MakeRuleSetOptions, ReservesForAsManySourcesAsConnections) {
  Config config;
  Sysctls sysctls;
  SnapshotInputs inputs;
  inputs.config = &config;
  inputs.hash_seed = 77;
  config.sysctls.conntrack.max = 1000;
  EXPECT_EQ(MakeRuleSetOptions(inputs).connlimit_keys, 1000U) << "the configuration's";
  sysctls.conntrack.max = 3000;
  inputs.sysctls = &sysctls;
  EXPECT_EQ(MakeRuleSetOptions(inputs).connlimit_keys, 3000U) << "as set since";
  inputs.conntrack_capacity = 5000;
  EXPECT_EQ(MakeRuleSetOptions(inputs).connlimit_keys, 5000U) << "what may be set later";
  EXPECT_EQ(MakeRuleSetOptions(inputs).hash_seed, 77U);
}

}  // namespace
}  // namespace postern::control

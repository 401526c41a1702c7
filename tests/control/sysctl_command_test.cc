// `postern sysctl` beside sysctl(8): the same screens and sentences, as procps 4.0.2 gave them.
#include "control/sysctl_command.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdio>

#include "control/sysctl.h"
#include "tests/control/folder.h"

namespace postern::control {
namespace {

class FakeValues : public SysctlAccess {
 public:
  std::optional<std::map<std::string, Value>> Values() override {
    std::map<std::string, Value> values;
    for (const SysctlName& name : SysctlNames()) {
      values[SysctlPath(name.name)] = {std::to_string(name.read(sysctls_)), true};
    }
    values[std::string(kConntrackCount)] = {"17", false};
    return values;
  }
  SysctlOutcome Set(const std::string& path, const std::string& value) override {
    const bool good = SetSysctl(*FindSysctl(path), value, &sysctls_).ok();
    return {good ? 0 : EINVAL, "", ""};
  }

 private:
  Sysctls sysctls_;
};

// What a command line did.
struct Done {
  int status = 0;
  std::string out;
  std::string error;
};

Done Sysctl(const std::vector<std::string>& arguments, SysctlTree* tree) {
  Done done;
  const SysctlIo io{[&](std::string_view text) { done.out += text; },
                    [&](std::string_view text) { done.error += text; }};
  done.status = RunSysctl(arguments, tree, io);
  return done;
}

struct Row {
  std::vector<std::string> arguments;
  int status;
  const char* out;
  const char* error;
};

class SysctlCommandTest : public ::testing::TestWithParam<Row> {};

TEST_P(SysctlCommandTest, PrintsAsSysctlDoes) {
  const Row& row = GetParam();
  FakeValues values;
  PosternSysctlTree tree(&values);
  const Done done = Sysctl(row.arguments, &tree);
  EXPECT_EQ(done.status, row.status) << ::testing::PrintToString(row.arguments);
  EXPECT_EQ(done.out, row.out);
  EXPECT_EQ(done.error, row.error);
}

#define CT "net.netfilter.nf_conntrack_"
const Row kRows[] = {
    {{CT "max"}, 0, CT "max = 262144\n", ""},
    {{"net/netfilter/nf_conntrack_max"}, 0, CT "max = 262144\n", ""},
    {{"net.netfilter/nf_conntrack_max"},
     1,
     "",
     "sysctl: cannot stat /proc/sys/net/netfilter.nf_conntrack_max: No such file or directory\n"},
    {{"net..netfilter.nf_conntrack_acct"},
     0,
     "net..netfilter.nf_conntrack_acct = 0\n",
     "sysctl: separators should not be repeated: ..netfilter.nf_conntrack_acct\n"},
    {{"-n", CT "count"}, 0, "17\n", ""},
    {{"-b", CT "acct", CT "checksum"}, 0, "01", ""},
    {{"-N", CT "count"}, 0, CT "count\n", ""},
    {{"--names", CT "count"}, 0, CT "count\n", ""},
    {{"--val", CT "acct"}, 0, "0\n", ""},
    {{CT "tcp_loose=1"}, 0, CT "tcp_loose = 1\n", ""},
    {{"-w", CT "max=65536"}, 0, CT "max = 65536\n", ""},
    {{"-w", "net/netfilter/nf_conntrack_max = 65536 "}, 0, CT "max = 65536\n", ""},
    {{"-qw", CT "max=65536"}, 0, "", ""},
    {{"-n", CT "max=65536"}, 0, "65536\n", ""},
    {{"-bw", CT "max=65536"}, 0, "65536", ""},
    {{"-N", "-w", CT "acct=1"}, 0, "1\n", ""},
    {{"--dry-run", "-w", CT "acct=7"}, 0, CT "acct = 7\n", ""},
    {{CT "udp_timeout=0x10", CT "udp_timeout"},
     0,
     CT "udp_timeout = 0x10\n" CT "udp_timeout = 16\n",
     ""},
    {{CT "udp_timeout=12 13", CT "udp_timeout"},
     0,
     CT "udp_timeout = 12 13\n" CT "udp_timeout = 12\n",
     ""},
    {{CT "buckets=1000", CT "buckets"}, 0, CT "buckets = 1000\n" CT "buckets = 1024\n", ""},
    {{CT "tcp_loose=700"}, 1, "", "sysctl: setting key \"" CT "tcp_loose\": Invalid argument\n"},
    {{CT "udp_timeout=8589934"}, 0, CT "udp_timeout = 8589934\n", ""},
    {{CT "udp_timeout=8589935"},
     1,
     "",
     "sysctl: setting key \"" CT "udp_timeout\": Invalid argument\n"},
    {{CT "udp_timeout="}, 1, "", "sysctl: setting key \"" CT "udp_timeout\": Invalid argument\n"},
    {{CT "events=3"}, 1, "", "sysctl: setting key \"" CT "events\": Invalid argument\n"},
    {{CT "frag6_low_thresh=5000000"},
     1,
     "",
     "sysctl: setting key \"" CT "frag6_low_thresh\": Invalid argument\n"},
    {{CT "frag6_high_thresh=3000000"},
     1,
     "",
     "sysctl: setting key \"" CT "frag6_high_thresh\": Invalid argument\n"},
    {{CT "count=4"}, 0, "", "sysctl: setting key \"" CT "count\": Invalid argument\n"},
    {{"foo.bar"}, 1, "", "sysctl: cannot stat /proc/sys/foo/bar: No such file or directory\n"},
    {{"foo=1"}, 1, "", "sysctl: cannot stat /proc/sys/foo: No such file or directory\n"},
    {{"-e", "foo.bar"}, 0, "", ""},
    {{"-w", "foo"}, 1, "", "sysctl: command line(0): invalid syntax, continuing...\n"},
    {{"=3"}, 1, "", "sysctl: Path is not under /proc/sys/: /proc/sys/\n"},
    {{""}, -1, "", "sysctl: \"\" is an unknown key\n"},
    {{"-w", "--", "-" CT "acct=99"},
     1,
     "",
     "sysctl: setting key \"" CT "acct\": Invalid argument\n"},
    {{CT "udp*"},
     1,
     "",
     "sysctl: cannot stat /proc/sys/net/netfilter/nf_conntrack_udp*: No such file or directory\n"},
    {{"-q"}, 1, "", "sysctl: no variables specified\nTry `sysctl --help' for more information.\n"},
    {{"-Nq", CT "acct"},
     1,
     "",
     "sysctl: options -N and -q cannot coexist\nTry `sysctl --help' for more information.\n"},
    {{"-a", "-r", "nf_conntrack_udp"},
     0,
     CT "udp_timeout = 30\n" CT "udp_timeout_stream = 120\n",
     ""},
    {{"-ar", "tcp_timeout_(syn|cl)", "-N"},
     0,
     CT "tcp_timeout_close\n" CT "tcp_timeout_close_wait\n" CT "tcp_timeout_syn_recv\n" CT
        "tcp_timeout_syn_sent\n",
     ""},
    {{"-ar", "("}, 0, "", ""},
    {{"-N", "net/ipv4"},
     0,
     "net.ipv4.conf.all.forwarding\nnet.ipv4.conf.all.rp_filter\nnet.ipv4.icmp_ratelimit\n"
     "net.ipv4.ip_forward\nnet.ipv4.ipfrag_high_thresh\nnet.ipv4.ipfrag_time\n",
     ""},
    {{"-p", "/nowhere/sysctl.conf"},
     1,
     "",
     "sysctl: cannot open \"/nowhere/sysctl.conf\": No such file or directory\n"},
};
INSTANTIATE_TEST_SUITE_P(Rows, SysctlCommandTest, ::testing::ValuesIn(kRows));

constexpr std::string_view kFile = CT
    "acct=1\n# c\n;c\n\n-" CT "nope = 3\nbad line\n  net/netfilter/nf_conntrack_checksum = 0  \n" CT
    "nope=1\nkernel.panic = 10\n" CT "udp_* = 44\n" CT "udp_timeout_stream = 50\n-" CT
    "tcp_timeout_close\n" CT "tcp_timeout_clo* = 9\nx";

class SysctlFileTest : public ::testing::Test {
 protected:
  Done Load(std::vector<std::string> arguments) {
    for (std::string& argument : arguments) {
      const size_t at = argument.find("FILE");
      if (at != std::string::npos) argument.replace(at, 4, file_);
    }
    Done done = Sysctl(arguments, &tree_);
    for (size_t at; (at = done.error.find(file_)) != std::string::npos;) {
      done.error.replace(at, file_.size(), "FILE");
    }
    return done;
  }

  test::Folder folder_;
  const std::string file_ = folder_.Write("ct.conf", std::string(kFile));
  FakeValues values_;
  PosternSysctlTree tree_{&values_};
};

constexpr const char* kWritten = CT "acct = 1\n" CT "checksum = 0\n" CT "udp_timeout = 44\n" CT
                                    "udp_timeout_stream = 50\n" CT "tcp_timeout_close_wait = 9\n";
constexpr const char* kComplaints =
    "sysctl: FILE(6): invalid syntax, continuing...\n"
    "sysctl: cannot stat /proc/sys/net/netfilter/nf_conntrack_nope: No such file or directory\n"
    "sysctl: cannot stat /proc/sys/net/netfilter/nf_conntrack_nope: No such file or directory\n";

TEST_F(SysctlFileTest, AppliesPatternsExceptionsAndPlainNames) {
  for (const char* option : {"-p FILE", "-pFILE", "--load=FILE", "-f FILE"}) {
    const std::string text = option;
    const size_t blank = text.find(' ');
    std::vector<std::string> words = {text.substr(0, blank)};
    if (blank != std::string::npos) words.push_back(text.substr(blank + 1));
    const Done done = Load(words);
    EXPECT_EQ(done.status, 1) << option;
    EXPECT_EQ(done.out, kWritten) << option;
    EXPECT_EQ(done.error, kComplaints) << option;
  }
}

TEST_F(SysctlFileTest, IgnoresUnknownNamesWhereAsked) {
  const Done done = Load({"-e", "-p", "FILE"});
  EXPECT_EQ(done.status, 0);
  EXPECT_EQ(done.out, kWritten);
  EXPECT_EQ(done.error, "sysctl: FILE(6): invalid syntax, continuing...\n");
}

TEST_F(SysctlFileTest, TakesOnlyLinesThatMatch) {
  const Done done = Load({"-p", "FILE", "-r", "udp"});
  EXPECT_EQ(done.status, 0);
  EXPECT_EQ(done.out, CT "udp_timeout = 44\n" CT "udp_timeout_stream = 50\n");
}

// The link `sysctl`: Postern's names are Postern's, the rest is the machine's.
TEST_F(SysctlFileTest, LeavesOtherNamesToTheMachine) {
  HostSysctlTree host(folder_.path());
  SysctlUnion both(&tree_, &host);
  folder_.Write("panic", "0\n");
  EXPECT_EQ(Sysctl({"panic", CT "max"}, &both).out, "panic = 0\n" CT "max = 262144\n");
  EXPECT_EQ(Sysctl({"panic=10", CT "max=9"}, &both).status, 0);
  EXPECT_EQ(Sysctl({"-n", "panic", CT "max"}, &both).out, "10\n9\n");
  EXPECT_EQ(Sysctl({"panic.x"}, &both).error,
            "sysctl: cannot stat /proc/sys/panic/x: No such file or directory\n");
  const Done all = Sysctl({"-aN"}, &both);
  EXPECT_NE(all.out.find(CT "buckets\n"), std::string::npos);
  EXPECT_NE(all.out.find("\npanic\n"), std::string::npos);
}

}  // namespace
}  // namespace postern::control

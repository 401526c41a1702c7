// `postern sysctl` beside sysctl(8): the same screens and sentences.
#include "control/sysctl_command.h"

#include <gtest/gtest.h>

namespace postern::control {
namespace {

class Store : public SysctlStore {
 public:
  const Sysctls& Current() const override { return sysctls_; }
  uint64_t ConntrackCount() const override { return 17; }
  net::Status Change(const Sysctls& next) override {
    sysctls_ = next;
    return {};
  }

 private:
  Sysctls sysctls_;
};

struct Row {
  std::vector<std::string> arguments;
  const char* input;
  int status;
  const char* out;
  const char* error;
};

class SysctlCommandTest : public ::testing::TestWithParam<Row> {};

TEST_P(SysctlCommandTest, PrintsAsSysctlDoes) {
  const Row& row = GetParam();
  Store store;
  std::string out;
  std::string error;
  CommandIo io;
  io.arguments = row.arguments;
  io.standard_input = row.input;
  io.out = [&](std::string_view text) { return out += text, true; };
  io.error = [&](std::string_view text) { return error += text, true; };
  EXPECT_EQ(RunSysctl(io, &store), row.status) << ::testing::PrintToString(row.arguments);
  EXPECT_EQ(out, row.out);
  EXPECT_EQ(error, row.error);
}

const Row kRows[] = {
    {{"net.netfilter.nf_conntrack_max"}, "", 0, "net.netfilter.nf_conntrack_max = 262144\n", ""},
    {{"net/netfilter/nf_conntrack_max"}, "", 0, "net.netfilter.nf_conntrack_max = 262144\n", ""},
    {{"-n", "net.netfilter.nf_conntrack_count"}, "", 0, "17\n", ""},
    {{"-b", "net.netfilter.nf_conntrack_count"}, "", 0, "17", ""},
    {{"-N", "net.netfilter.nf_conntrack_count"}, "", 0, "net.netfilter.nf_conntrack_count\n", ""},
    {{"net.netfilter.nf_conntrack_tcp_loose=1"},
     "",
     0,
     "net.netfilter.nf_conntrack_tcp_loose = 1\n",
     ""},
    {{"-w", "net.netfilter.nf_conntrack_max=65536"},
     "",
     0,
     "net.netfilter.nf_conntrack_max = 65536\n",
     ""},
    {{"-qw", "net.netfilter.nf_conntrack_max=65536"}, "", 0, "", ""},
    {{"-n", "net.netfilter.nf_conntrack_max=65536"}, "", 0, "65536\n", ""},
    {{"net.netfilter.nf_conntrack_tcp_loose=700"},
     "",
     1,
     "",
     "sysctl: setting key \"net.netfilter.nf_conntrack_tcp_loose\": Invalid argument\n"},
    {{"net.netfilter.nf_conntrack_count=4"},
     "",
     1,
     "",
     "sysctl: setting key \"net.netfilter.nf_conntrack_count\": Invalid argument\n"},
    {{"foo.bar"}, "", 1, "", "sysctl: cannot stat /proc/sys/foo/bar: No such file or directory\n"},
    {{"-e", "foo.bar"}, "", 0, "", ""},
    {{"-w", "foo"}, "", 1, "", "sysctl: command line(0): invalid syntax, continuing...\n"},
    {{}, "", 1, "", "sysctl: no variables specified\nTry `sysctl --help' for more information.\n"},
    {{"-a", "-r", "nf_conntrack_udp"},
     "",
     0,
     "net.netfilter.nf_conntrack_udp_timeout = 30\n"
     "net.netfilter.nf_conntrack_udp_timeout_stream = 120\n",
     ""},
    {{"-p", "/etc/sysctl.d/ct.conf"},
     "# c\n; d\nnet.netfilter.nf_conntrack_checksum = 0\nnet.core.somaxconn = 9\nbad line\n"
     " net/ipv4/ip_forward= 1 \n",
     1,
     "net.netfilter.nf_conntrack_checksum = 0\nnet.ipv4.ip_forward = 1\n",
     "sysctl: /etc/sysctl.d/ct.conf(5): invalid syntax, continuing...\n"},
};
INSTANTIATE_TEST_SUITE_P(Rows, SysctlCommandTest, ::testing::ValuesIn(kRows));

TEST(SysctlFile, IsWhatTheClientReads) {
  EXPECT_EQ(SysctlFile({"-p"}), "/etc/sysctl.conf");
  EXPECT_EQ(SysctlFile({"-p", "/etc/x"}), "/etc/x");
  EXPECT_EQ(SysctlFile({"-p/etc/x"}), "/etc/x");
  EXPECT_EQ(SysctlFile({"--load=/etc/x"}), "/etc/x");
  EXPECT_EQ(SysctlFile({"-p", "-"}), "-");
  EXPECT_EQ(SysctlFile({"-n", "net.ipv4.ip_forward"}), "");
}

}  // namespace
}  // namespace postern::control

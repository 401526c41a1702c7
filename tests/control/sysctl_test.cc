// The kernel's names, their ranges, and sysctl.conf(5).
#include "control/sysctl.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace postern::control {
namespace {

TEST(Sysctl, NamesAreSortedAndReadBackWhatWasWritten) {
  const auto names = SysctlNames();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end(),
                             [](const auto& a, const auto& b) { return a.name < b.name; }));
  for (const SysctlName& name : names) {
    Sysctls sysctls;
    sysctls.frag6_low_thresh = 0;
    sysctls.conntrack.frag_high_thresh = std::numeric_limits<uint32_t>::max();
    ASSERT_TRUE(SetSysctl(name, std::to_string(name.maximum), &sysctls)) << name.name;
    if (!name.name.ends_with("_buckets")) {
      EXPECT_EQ(name.read(sysctls), name.maximum) << name.name;
    }
    ASSERT_TRUE(SetSysctl(name, std::to_string(name.minimum), &sysctls)) << name.name;
    // The kernel's table is made of pages of 512 buckets.
    const bool pages = name.name.ends_with("_buckets");
    EXPECT_EQ(name.read(sysctls), pages ? 512 : name.minimum) << name.name;
    EXPECT_FALSE(SetSysctl(name, std::to_string(name.maximum + 1), &sysctls)) << name.name;
  }
}

struct DefaultRow {
  const char* name;
  uint64_t value;
};
// What Linux 6 has after loading nf_conntrack, but for forwarding (Postern is a router).
const DefaultRow kDefaults[] = {
    {"net.ipv4.ip_forward", 1},
    {"net.ipv4.conf.all.rp_filter", 0},
    {"net.netfilter.nf_conntrack_acct", 0},
    {"net.netfilter.nf_conntrack_buckets", 262144},
    {"net.netfilter.nf_conntrack_events", 2},
    {"net.netfilter.nf_conntrack_expect_max", 4096},
    {"net.netfilter.nf_conntrack_frag6_high_thresh", 4194304},
    {"net.netfilter.nf_conntrack_frag6_low_thresh", 3145728},
    {"net.netfilter.nf_conntrack_checksum", 1},
    {"net.netfilter.nf_conntrack_generic_timeout", 600},
    {"net.netfilter.nf_conntrack_gre_timeout", 30},
    {"net.netfilter.nf_conntrack_gre_timeout_stream", 180},
    {"net.netfilter.nf_conntrack_icmp_timeout", 30},
    {"net.netfilter.nf_conntrack_icmpv6_timeout", 30},
    {"net.netfilter.nf_conntrack_log_invalid", 0},
    {"net.netfilter.nf_conntrack_max", 262144},
    {"net.netfilter.nf_conntrack_sctp_timeout_closed", 10},
    {"net.netfilter.nf_conntrack_sctp_timeout_cookie_echoed", 3},
    {"net.netfilter.nf_conntrack_sctp_timeout_cookie_wait", 3},
    {"net.netfilter.nf_conntrack_sctp_timeout_established", 210},
    {"net.netfilter.nf_conntrack_sctp_timeout_heartbeat_sent", 30},
    {"net.netfilter.nf_conntrack_sctp_timeout_shutdown_ack_sent", 3},
    {"net.netfilter.nf_conntrack_sctp_timeout_shutdown_recd", 3},
    {"net.netfilter.nf_conntrack_sctp_timeout_shutdown_sent", 3},
    {"net.netfilter.nf_conntrack_tcp_be_liberal", 0},
    {"net.netfilter.nf_conntrack_tcp_loose", 1},
    {"net.netfilter.nf_conntrack_tcp_max_retrans", 3},
    {"net.netfilter.nf_conntrack_tcp_timeout_close", 10},
    {"net.netfilter.nf_conntrack_tcp_timeout_close_wait", 60},
    {"net.netfilter.nf_conntrack_tcp_timeout_established", 432000},
    {"net.netfilter.nf_conntrack_tcp_timeout_fin_wait", 120},
    {"net.netfilter.nf_conntrack_tcp_timeout_last_ack", 30},
    {"net.netfilter.nf_conntrack_tcp_timeout_max_retrans", 300},
    {"net.netfilter.nf_conntrack_tcp_timeout_syn_recv", 60},
    {"net.netfilter.nf_conntrack_tcp_timeout_syn_sent", 120},
    {"net.netfilter.nf_conntrack_tcp_timeout_time_wait", 120},
    {"net.netfilter.nf_conntrack_tcp_timeout_unacknowledged", 300},
    {"net.netfilter.nf_conntrack_udp_timeout", 30},
    {"net.netfilter.nf_conntrack_udp_timeout_stream", 120},
    {"net/netfilter/nf_conntrack_frag6_timeout", 60},
};

TEST(Sysctl, DefaultsAreTheKernels) {
  for (const DefaultRow& row : kDefaults) {
    const SysctlName* name = FindSysctl(row.name);
    ASSERT_NE(name, nullptr) << row.name;
    EXPECT_EQ(name->read(Sysctls()), row.value) << row.name;
  }
}

TEST(Sysctl, TakesNumbersAsTheKernelDoes) {
  const SysctlName& max = *FindSysctl("net.netfilter.nf_conntrack_max");
  Sysctls sysctls;
  EXPECT_TRUE(SetSysctl(max, " 0x10 ", &sysctls));
  EXPECT_EQ(sysctls.conntrack.max, 16u);
  EXPECT_TRUE(SetSysctl(max, "010", &sysctls));
  EXPECT_EQ(sysctls.conntrack.max, 8u);
  EXPECT_TRUE(SetSysctl(max, "8 9", &sysctls));
  for (const char* bad : {"", "-1", "x", "+5", "0x", "1e3", "99999999999999999999"}) {
    EXPECT_FALSE(SetSysctl(max, bad, &sysctls)) << bad;
  }
  EXPECT_EQ(sysctls.conntrack.max, 8u);
}

TEST(Sysctl, ReadsAFileAsSysctlDoes) {
  Sysctls sysctls;
  std::vector<std::string> errors, warnings;
  ReadSysctlText(
      "# comment\n; comment\n\n"
      "net.netfilter.nf_conntrack_max = 65536\n"
      "net/netfilter/nf_conntrack_udp_timeout=31\r\n"
      "  net.ipv4.ip_forward\t=\t0\n"
      "kernel.panic = 10\n"
      "not a setting\n"
      "net.netfilter.nf_conntrack_tcp_loose = 2\n"
      "-net.netfilter.nf_conntrack_checksum = 9\n"
      "net.netfilter.nf_conntrack_dccp_loose = 1\n"
      "net.netfilter.nf_conntrack_icmp_timeout = 33",
      "/etc/sysctl.d/ct.conf", &sysctls, &errors, &warnings);
  EXPECT_EQ(sysctls.conntrack.max, 65536u);
  EXPECT_EQ(sysctls.conntrack.udp_timeout, 31u);
  EXPECT_FALSE(sysctls.forward_ipv4);
  EXPECT_EQ(sysctls.conntrack.icmp_timeout, 33u);
  EXPECT_EQ(errors, std::vector<std::string>{"/etc/sysctl.d/ct.conf:9: "
                                             "net.netfilter.nf_conntrack_tcp_loose: '2' isn't a "
                                             "number from 0 to 1"});
  EXPECT_EQ(warnings, std::vector<std::string>{
                          "/etc/sysctl.d/ct.conf:11: net.netfilter.nf_conntrack_dccp_loose "
                          "has no effect: it isn't supported yet"});
}

}  // namespace
}  // namespace postern::control

// The metrics' page: what promtool says of it, and some of its lines.
#include "control/metrics.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <cstdio>
#include <sstream>

#include "tests/control/folder.h"

namespace postern::control {
namespace {

MetricsReport Sample() {
  MetricsReport report;
  report.status.generation = 3;
  report.status.conntrack_entries = 5;
  report.status.conntrack_max = 100;
  pipeline::PortStats port;
  port.name = "wan0";
  port.link_up = true;
  port.rx_packets = 12345678901;
  port.drops[static_cast<size_t>(net::DropReason::kTtlExpired)] = 4;
  report.status.ports = {port};
  pipeline::WorkerStats worker;
  worker.cpu = 2;
  worker.busy = 0.25;
  worker.packets = 70;
  worker.burst_histogram = {1, 2, 0, 0, 0, 0, 1};
  worker.conntrack.insert = 9;
  worker.conntrack.drop = 6;
  worker.conntrack.table_full = 4;
  report.status.workers = {worker, worker};
  report.census.tcp[static_cast<size_t>(ctrack::TcpState::kEstablished)] = 3;
  report.rules.push_back({"ipv4", "filter", "FORWARD", "1", "say \"hi\" \\ \xff\n", {2, 120}});
  report.rules.push_back({"ipv4", "filter", "FORWARD", "policy", "", {1, 60}});
  report.census.sctp[static_cast<size_t>(ctrack::SctpState::kCookieWait)] = 2;
  report.census.nat_ports[Census::kUdp] = 7;
  LimiterMetric limiter;
  limiter.rule = {"ipv4", "filter", "INPUT", "4", "", {}};
  limiter.stats.kind = rules::LimiterStats::Kind::kRecent;
  limiter.stats.list = "SSH";
  limiter.stats.matched = 5;
  limiter.stats.missed = 6;
  limiter.stats.entries = 3;
  limiter.stats.max_entries = 100;
  limiter.stats.bytes = 4096;
  report.limiters.push_back(limiter);
  limiter.stats = {};
  report.limiters.push_back(limiter);
  limiter.stats.kind = rules::LimiterStats::Kind::kConnlimit;
  limiter.stats.entries = 2;
  limiter.stats.max_entries = 1000;
  limiter.stats.listed = 21;
  limiter.stats.max_listed = 2000;
  limiter.stats.bytes = 8192;
  report.limiters.push_back(limiter);
  return report;
}

std::string Page(const MetricsReport& report) {
  std::ostringstream page;
  prometheus::TextSerializer().Serialize(page, MakeMetrics(report));
  return page.str();
}

TEST(Metrics, HasTheLinesThatDashboardsAskFor) {
  const std::string page = Page(Sample());
  for (const char* line : {
           "postern_port_up{port=\"wan0\"} 1\n",
           "postern_port_receive_packets_total{port=\"wan0\"} 12345678901\n",
           "postern_dropped_packets_total{port=\"wan0\",reason=\"ttl_expired\"} 4\n",
           "postern_worker_busy_ratio{worker=\"0\",cpu=\"2\"} 0.25\n",
           "postern_worker_burst_packets_bucket{worker=\"0\",cpu=\"2\",le=\"3\"} 3\n",
           "postern_worker_burst_packets_bucket{worker=\"0\",cpu=\"2\",le=\"+Inf\"} 4\n",
           "postern_conntrack_entries 5\n",
           "postern_conntrack_max_entries 100\n",
           "postern_conntrack_inserts_total{worker=\"1\",cpu=\"2\"} 9\n",
           "postern_conntrack_connections{protocol=\"tcp\",state=\"ESTABLISHED\"} 3\n",
           "postern_rule_packets_total{family=\"ipv4\",table=\"filter\",chain=\"FORWARD\",rule="
           "\"1\",comment=\"say \\\"hi\\\" \\\\ ?\\n\"} 2\n",
           "postern_rule_bytes_total{family=\"ipv4\",table=\"filter\",chain=\"FORWARD\",rule="
           "\"policy\",comment=\"\"} 60\n",
           "postern_conntrack_connections{protocol=\"sctp\",state=\"COOKIE_WAIT\"} 2\n",
           "postern_nat_ports_in_use{protocol=\"udp\"} 7\n",
           "postern_limiter_decisions_total{match=\"recent\",family=\"ipv4\",table=\"filter\","
           "chain="
           "\"INPUT\",rule=\"4\",list=\"SSH\",result=\"miss\"} 6\n",
           "postern_limiter_entries{match=\"recent\",family=\"ipv4\",table=\"filter\",chain="
           "\"INPUT\","
           "rule=\"4\",list=\"SSH\"} 3\n",
           "postern_limiter_max_entries{match=\"connlimit\",family=\"ipv4\",table=\"filter\",chain="
           "\"INPUT\",rule=\"4\",list=\"\"} 1000\n",
           "postern_limiter_connections{match=\"connlimit\",family=\"ipv4\",table=\"filter\",chain="
           "\"INPUT\",rule=\"4\",list=\"\"} 21\n",
           "postern_limiter_memory_bytes{match=\"connlimit\",family=\"ipv4\",table=\"filter\","
           "chain="
           "\"INPUT\",rule=\"4\",list=\"\"} 8192\n",
           "postern_conntrack_table_full_drops_total{worker=\"1\",cpu=\"2\"} 4\n",
           "postern_control_generation 3\n",
           "postern_control_reloads_total{result=\"failure\"} 0\n",
       }) {
    EXPECT_NE(page.find(line), std::string::npos) << line << page;
  }
}

TEST(Metrics, PromtoolHasNothingToSay) {
  if (std::system("command -v promtool > /dev/null") != 0) GTEST_SKIP() << "no promtool here";
  test::Folder folder;
  const std::string file = folder.Write("metrics", Page(Sample()));
  const std::string command = "promtool check metrics < " + file + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string said;
  std::array<char, 4096> piece;
  for (size_t n; (n = std::fread(piece.data(), 1, piece.size(), pipe)) > 0;) {
    said.append(piece.data(), n);
  }
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(said, "");
}

struct LabelRow {
  std::string given;
  std::string taken;
};

TEST(Metrics, LabelsAreUtf8) {
  const LabelRow rows[] = {
      {"plain", "plain"},
      {"\xc3\xa4", "\xc3\xa4"},
      {"\xe2\x80\xa6", "\xe2\x80\xa6"},
      {"\xff", "?"},
      {"a\xc3", "a?"},
      {"\xc0\xaf", "??"},
      {"\xed\xa0\x80", "???"},
      {"\xf4\x90\x80\x80", "????"},
      {"\xe0\x80\x80", "???"},
      {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
  };
  for (const LabelRow& row : rows) EXPECT_EQ(LabelText(row.given), row.taken);
}

}  // namespace
}  // namespace postern::control

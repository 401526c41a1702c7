#include "control/sysctl.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace postern::control {
namespace {

using ctrack::SctpState;
using ctrack::TcpState;

// Timeouts are kept in jiffies in an int by the kernel; with Debian's HZ of 250 this is the most.
constexpr uint64_t kMaxTimeout = 8589934;
constexpr uint64_t kMaxInt = 2147483647;

#define POSTERN_SYSCTL(name, minimum, maximum, field)                                       \
  SysctlName {                                                                              \
    name, minimum, maximum, [](const Sysctls& s) -> uint64_t { return uint64_t{s.field}; }, \
        [](Sysctls* s, uint64_t v) {                                                        \
          s->field = static_cast<std::remove_cvref_t<decltype(s->field)>>(v);               \
        }                                                                                   \
  }
#define POSTERN_TCP_TIMEOUT(suffix, state)                                         \
  POSTERN_SYSCTL("net.netfilter.nf_conntrack_tcp_timeout_" suffix, 0, kMaxTimeout, \
                 conntrack.tcp_timeout[static_cast<size_t>(TcpState::state)])
#define POSTERN_SCTP_TIMEOUT(suffix, state)                                         \
  POSTERN_SYSCTL("net.netfilter.nf_conntrack_sctp_timeout_" suffix, 0, kMaxTimeout, \
                 conntrack.sctp_timeout[static_cast<size_t>(SctpState::state)])
#define POSTERN_TIMEOUT(suffix, field) \
  POSTERN_SYSCTL("net.netfilter.nf_conntrack_" suffix, 0, kMaxTimeout, conntrack.field)
#define POSTERN_SWITCH(suffix, field) \
  POSTERN_SYSCTL("net.netfilter.nf_conntrack_" suffix, 0, 1, conntrack.field)

// Sorted by name, as `sysctl -a` lists them.
const auto kNames = std::to_array<SysctlName>({
    POSTERN_SYSCTL("net.ipv4.conf.all.forwarding", 0, 1, forward_ipv4),
    POSTERN_SYSCTL("net.ipv4.conf.all.rp_filter", 0, 2, reverse_path_filter),
    POSTERN_SYSCTL("net.ipv4.icmp_ratelimit", 0, kMaxInt, icmp_ratelimit),
    POSTERN_SYSCTL("net.ipv4.ip_forward", 0, 1, forward_ipv4),
    POSTERN_SYSCTL("net.ipv4.ipfrag_high_thresh", 0, kMaxInt, conntrack.frag_high_thresh),
    POSTERN_SYSCTL("net.ipv4.ipfrag_time", 0, kMaxTimeout, conntrack.frag_timeout_ipv4),
    POSTERN_SYSCTL("net.ipv6.conf.all.forwarding", 0, 1, forward_ipv6),
    POSTERN_SWITCH("acct", acct),
    SysctlName{"net.netfilter.nf_conntrack_buckets", 1, kMaxInt,
               [](const Sysctls& s) -> uint64_t { return s.conntrack.buckets; },
               [](Sysctls* s, uint64_t v) {
                 // The kernel's table is made of whole pages.
                 s->conntrack.buckets = static_cast<uint32_t>((v + 511) / 512 * 512);
               }},
    POSTERN_SWITCH("checksum", checksum),
    POSTERN_SYSCTL("net.netfilter.nf_conntrack_events", 0, 2, conntrack_events),
    POSTERN_SYSCTL("net.netfilter.nf_conntrack_expect_max", 1, kMaxInt, conntrack.expect_max),
    SysctlName{
        "net.netfilter.nf_conntrack_frag6_high_thresh", 0, kMaxInt,
        [](const Sysctls& s) -> uint64_t { return s.conntrack.frag_high_thresh; },
        [](Sysctls* s, uint64_t v) { s->conntrack.frag_high_thresh = static_cast<uint32_t>(v); },
        [](const Sysctls& s, uint64_t v) { return v >= s.frag6_low_thresh; }},
    SysctlName{"net.netfilter.nf_conntrack_frag6_low_thresh", 0, kMaxInt,
               [](const Sysctls& s) -> uint64_t { return s.frag6_low_thresh; },
               [](Sysctls* s, uint64_t v) { s->frag6_low_thresh = static_cast<uint32_t>(v); },
               [](const Sysctls& s, uint64_t v) { return v <= s.conntrack.frag_high_thresh; }},
    POSTERN_TIMEOUT("frag6_timeout", frag_timeout_ipv6),
    POSTERN_TIMEOUT("generic_timeout", generic_timeout),
    POSTERN_TIMEOUT("gre_timeout", gre_timeout),
    POSTERN_TIMEOUT("gre_timeout_stream", gre_timeout_stream),
    POSTERN_TIMEOUT("icmp_timeout", icmp_timeout),
    POSTERN_TIMEOUT("icmpv6_timeout", icmpv6_timeout),
    POSTERN_SYSCTL("net.netfilter.nf_conntrack_log_invalid", 0, 255, conntrack.log_invalid),
    POSTERN_SYSCTL("net.netfilter.nf_conntrack_max", 0, kMaxInt, conntrack.max),
    POSTERN_SCTP_TIMEOUT("closed", kClosed),
    POSTERN_SCTP_TIMEOUT("cookie_echoed", kCookieEchoed),
    POSTERN_SCTP_TIMEOUT("cookie_wait", kCookieWait),
    POSTERN_SCTP_TIMEOUT("established", kEstablished),
    POSTERN_SCTP_TIMEOUT("heartbeat_sent", kHeartbeatSent),
    POSTERN_SCTP_TIMEOUT("shutdown_ack_sent", kShutdownAckSent),
    POSTERN_SCTP_TIMEOUT("shutdown_recd", kShutdownReceived),
    POSTERN_SCTP_TIMEOUT("shutdown_sent", kShutdownSent),
    POSTERN_SWITCH("tcp_be_liberal", tcp_be_liberal),
    POSTERN_SWITCH("tcp_ignore_invalid_rst", tcp_ignore_invalid_rst),
    POSTERN_SWITCH("tcp_loose", tcp_loose),
    POSTERN_SYSCTL("net.netfilter.nf_conntrack_tcp_max_retrans", 0, 255, conntrack.tcp_max_retrans),
    POSTERN_TCP_TIMEOUT("close", kClose),
    POSTERN_TCP_TIMEOUT("close_wait", kCloseWait),
    POSTERN_TCP_TIMEOUT("established", kEstablished),
    POSTERN_TCP_TIMEOUT("fin_wait", kFinWait),
    POSTERN_TCP_TIMEOUT("last_ack", kLastAck),
    POSTERN_TIMEOUT("tcp_timeout_max_retrans", tcp_timeout_max_retrans),
    POSTERN_TCP_TIMEOUT("syn_recv", kSynRecv),
    POSTERN_TCP_TIMEOUT("syn_sent", kSynSent),
    POSTERN_TCP_TIMEOUT("time_wait", kTimeWait),
    POSTERN_TIMEOUT("tcp_timeout_unacknowledged", tcp_timeout_unacknowledged),
    POSTERN_SWITCH("timestamp", timestamp),
    POSTERN_TIMEOUT("udp_timeout", udp_timeout),
    POSTERN_TIMEOUT("udp_timeout_stream", udp_timeout_stream),
    POSTERN_SYSCTL("net.nf_conntrack_max", 0, kMaxInt, conntrack.max),
});

// What the kernel's connection tracking has besides: prefixes of names.
constexpr auto kUnsupported = std::to_array<std::string_view>({
    "net.netfilter.nf_conntrack_dccp_",
    "net.netfilter.nf_conntrack_helper",
    "net.netfilter.nf_flowtable_",
    "net.netfilter.nf_hooks_lwtunnel",
});

constexpr std::string_view kBlank = " \t\r\n\v\f";

// The first number of the text, as the kernel reads what is written to a file of /proc/sys: what
// follows it after a blank doesn't matter.
std::optional<uint64_t> ParseNumber(std::string_view text) {
  text = text.substr(std::min(text.find_first_not_of(kBlank), text.size()));
  text = text.substr(0, text.find_first_of(kBlank));
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  const bool octal = !hex && text.size() > 1 && text[0] == '0';
  if (hex) text.remove_prefix(2);
  uint64_t number = 0;
  const auto [end, code] =
      std::from_chars(text.data(), text.data() + text.size(), number, hex ? 16 : (octal ? 8 : 10));
  if (text.empty() || code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::span<const SysctlName> SysctlNames() { return kNames; }

const SysctlName* FindSysctl(std::string_view name) {
  const std::string wanted = SysctlDots(name);
  const auto found = std::find_if(kNames.begin(), kNames.end(),
                                  [&](const SysctlName& n) { return n.name == wanted; });
  return found == kNames.end() ? nullptr : &*found;
}

bool IsUnsupportedSysctl(std::string_view name) {
  const std::string wanted = SysctlDots(name);
  return std::any_of(kUnsupported.begin(), kUnsupported.end(),
                     [&](std::string_view prefix) { return wanted.starts_with(prefix); });
}

net::Status SetSysctl(const SysctlName& name, std::string_view value, Sysctls* sysctls) {
  const std::optional<uint64_t> number = ParseNumber(value);
  if (!number || *number < name.minimum || *number > name.maximum) {
    return net::Error{fmt::format("{}: '{}' isn't a number from {} to {}", name.name, value,
                                  name.minimum, name.maximum)};
  }
  if (name.allowed != nullptr && !name.allowed(*sysctls, *number)) {
    return net::Error{fmt::format("{}: {} doesn't suit the other threshold", name.name, *number)};
  }
  name.write(sysctls, *number);
  return {};
}

void ReadSysctlText(std::string_view text, const std::string& file, Sysctls* sysctls,
                    std::vector<std::string>* errors, std::vector<std::string>* warnings) {
  std::vector<SysctlLine> lines;
  std::vector<int> numbers;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    auto line = ParseSysctlLine(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!line || !line->valid) continue;
    lines.push_back(std::move(*line));
    numbers.push_back(number);
  }
  const auto set = [&](const SysctlName& name, size_t i) {
    const net::Status status = SetSysctl(name, lines[i].value, sysctls);
    if (status || lines[i].ignore_errors) return;
    errors->push_back(fmt::format("{}:{}: {}", file, numbers[i], status.error()));
  };
  for (size_t i = 0; i < lines.size(); ++i) {
    const SysctlLine& line = lines[i];
    if (line.exclude) continue;
    if (IsSysctlGlob(line.path)) {
      for (const SysctlName& name : kNames) {
        const std::string path = SysctlPath(name.name);
        if (MatchesSysctlGlob(line.path, path) && !NamesSysctlPath(lines, path)) set(name, i);
      }
    } else if (const SysctlName* name = FindSysctl(line.path)) {
      set(*name, i);
    } else if (IsUnsupportedSysctl(line.path)) {
      warnings->push_back(fmt::format("{}:{}: {} has no effect: it isn't supported yet", file,
                                      numbers[i], SysctlDots(line.path)));
    }
  }
}

}  // namespace postern::control

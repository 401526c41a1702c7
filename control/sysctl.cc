#include "control/sysctl.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace postern::control {
namespace {

using ctrack::TcpState;

// Timeouts are kept in jiffies in an int by the kernel; with HZ = 1000 this is the most.
constexpr uint64_t kMaxTimeout = 2147483;
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
    POSTERN_SYSCTL("net.netfilter.nf_conntrack_buckets", 1, kMaxInt, conntrack.buckets),
    POSTERN_SWITCH("checksum", checksum),
    POSTERN_SYSCTL("net.netfilter.nf_conntrack_expect_max", 1, kMaxInt, conntrack.expect_max),
    POSTERN_SYSCTL("net.netfilter.nf_conntrack_frag6_high_thresh", 0, kMaxInt,
                   conntrack.frag_high_thresh),
    POSTERN_TIMEOUT("frag6_timeout", frag_timeout_ipv6),
    POSTERN_TIMEOUT("generic_timeout", generic_timeout),
    POSTERN_TIMEOUT("gre_timeout", gre_timeout),
    POSTERN_TIMEOUT("gre_timeout_stream", gre_timeout_stream),
    POSTERN_TIMEOUT("icmp_timeout", icmp_timeout),
    POSTERN_TIMEOUT("icmpv6_timeout", icmpv6_timeout),
    // The kernel takes a protocol number or 255 for all; Postern logs all or none.
    SysctlName{"net.netfilter.nf_conntrack_log_invalid", 0, 255,
               [](const Sysctls& s) -> uint64_t { return s.conntrack.log_invalid ? 255 : 0; },
               [](Sysctls* s, uint64_t v) { s->conntrack.log_invalid = v != 0; }},
    POSTERN_SYSCTL("net.netfilter.nf_conntrack_max", 0, kMaxInt, conntrack.max),
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
    "net.netfilter.nf_conntrack_events",
    "net.netfilter.nf_conntrack_frag6_low_thresh",
    "net.netfilter.nf_conntrack_helper",
    "net.netfilter.nf_conntrack_sctp_",
    "net.netfilter.nf_flowtable_",
    "net.netfilter.nf_hooks_lwtunnel",
});

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n\v\f";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

}  // namespace

std::span<const SysctlName> SysctlNames() { return kNames; }

std::string NormalizeSysctlName(std::string_view name) {
  std::string result(name);
  // sysctl(8): the first separator says which one it is.
  const size_t first = result.find_first_of("./");
  if (first != std::string::npos && result[first] == '/') {
    std::replace(result.begin(), result.end(), '/', '.');
  }
  return result;
}

const SysctlName* FindSysctl(std::string_view name) {
  const std::string wanted = NormalizeSysctlName(name);
  const auto found = std::find_if(kNames.begin(), kNames.end(),
                                  [&](const SysctlName& n) { return n.name == wanted; });
  return found == kNames.end() ? nullptr : &*found;
}

bool IsUnsupportedSysctl(std::string_view name) {
  const std::string wanted = NormalizeSysctlName(name);
  return std::any_of(kUnsupported.begin(), kUnsupported.end(),
                     [&](std::string_view prefix) { return wanted.starts_with(prefix); });
}

net::Status SetSysctl(const SysctlName& name, std::string_view value, Sysctls* sysctls) {
  const std::string_view text = Trim(value);
  uint64_t number = 0;
  // The kernel takes 0x and octal forms too.
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  const bool octal = !hex && text.size() > 1 && text[0] == '0';
  const std::string_view digits = hex ? text.substr(2) : text;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), number,
                                           hex ? 16 : (octal ? 8 : 10));
  if (digits.empty() || code != std::errc() || end != digits.data() + digits.size() ||
      number < name.minimum || number > name.maximum) {
    return net::Error{fmt::format("{}: '{}' isn't a number from {} to {}", name.name, text,
                                  name.minimum, name.maximum)};
  }
  if (name.write == nullptr) return net::Error{fmt::format("{} can only be read", name.name)};
  name.write(sysctls, number);
  return {};
}

std::optional<SysctlLine> ParseSysctlLine(std::string_view line) {
  std::string_view text = Trim(line);
  if (text.empty() || text[0] == '#' || text[0] == ';') return std::nullopt;
  SysctlLine result;
  if (text[0] == '-') {
    result.ignore_errors = true;
    text.remove_prefix(1);
  }
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    result.valid = false;
    return result;
  }
  result.name = NormalizeSysctlName(Trim(text.substr(0, equals)));
  result.value = Trim(text.substr(equals + 1));
  return result;
}

void ReadSysctlText(std::string_view text, const std::string& file, Sysctls* sysctls,
                    std::vector<std::string>* errors, std::vector<std::string>* warnings) {
  int number = 0;
  while (!text.empty()) {
    ++number;
    const size_t end = text.find('\n');
    const auto line = ParseSysctlLine(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!line || !line->valid) continue;
    const SysctlName* name = FindSysctl(line->name);
    if (name == nullptr) {
      if (IsUnsupportedSysctl(line->name)) {
        warnings->push_back(fmt::format("{}:{}: {} has no effect: it isn't supported yet", file,
                                        number, line->name));
      }
      continue;
    }
    const net::Status status = SetSysctl(*name, line->value, sysctls);
    if (!status && !line->ignore_errors) {
      errors->push_back(fmt::format("{}:{}: {}", file, number, status.error()));
    }
  }
}

}  // namespace postern::control

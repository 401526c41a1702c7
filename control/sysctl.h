// The kernel's sysctl names that Postern has, and their values.
//
// Names are the kernel's, with dots: net.netfilter.nf_conntrack_max, net.ipv4.ip_forward. In the
// configuration's `conntrack` group the nf_conntrack ones stand without "net.netfilter.".
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/sysctl_file.h"
#include "ctrack/settings.h"
#include "dataplane/net/result.h"

namespace postern::control {

// What sysctls hold. Postern is a router: forwarding is on unless it is switched off.
struct Sysctls {
  // Shown and taken only; the kernel's sizes where there are more than 4 GB of memory
  // (nf_conntrack_core.c, nf_conntrack_expect.c).
  Sysctls() { conntrack.buckets = 262144, conntrack.expect_max = 4096; }

  ctrack::Settings conntrack;
  bool forward_ipv4 = true;         // net.ipv4.ip_forward
  bool forward_ipv6 = true;         // net.ipv6.conf.all.forwarding
  uint8_t reverse_path_filter = 0;  // net.ipv4.conf.all.rp_filter: 0 off, 1 strict, 2 loose
  uint8_t conntrack_events = 2;     // nf_conntrack_events: shown; who listens gets events
  // nf_conntrack_frag6_low_thresh: not above the high one, and without effect as in Linux.
  uint32_t frag6_low_thresh = 3 * 1024 * 1024;
  // net.ipv4.icmp_ratelimit: 0 lifts the limits on ICMP errors; another value means Linux' default.
  uint32_t icmp_ratelimit = 1000;
};

// One name. `read`: its value; `write`: what the kernel keeps of a value may differ from it;
// `allowed`: null, or whether the value suits the others.
struct SysctlName {
  std::string_view name;
  uint64_t minimum;
  uint64_t maximum;
  uint64_t (*read)(const Sysctls&);
  void (*write)(Sysctls*, uint64_t);
  bool (*allowed)(const Sysctls&, uint64_t) = nullptr;
};

// A state, not a setting; the path of net.netfilter.nf_conntrack_count.
inline constexpr std::string_view kConntrackCount = "net/netfilter/nf_conntrack_count";

// All names that are settings, sorted.
std::span<const SysctlName> SysctlNames();
// "a.b.c" or "a/b/c". Null: not a setting that Postern has.
const SysctlName* FindSysctl(std::string_view name);

// A name of the kernel's connection tracking that Postern knows but doesn't implement.
bool IsUnsupportedSysctl(std::string_view name);

// Parses as the kernel does (the first number of the text, 0x and 0 for other bases) and sets; the
// error is a sentence without file and line.
net::Status SetSysctl(const SysctlName& name, std::string_view value, Sysctls* sysctls);

// The text of a sysctl.conf(5) file. Takes the names that Postern has and leaves the others alone;
// a bad value is "FILE:LINE: sentence" in *errors, a name that isn't supported yet in *warnings.
void ReadSysctlText(std::string_view text, const std::string& file, Sysctls* sysctls,
                    std::vector<std::string>* errors, std::vector<std::string>* warnings);

}  // namespace postern::control

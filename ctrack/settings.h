// The nf_conntrack sysctls. A copy is part of every published configuration;
// workers only read it.
#pragma once

#include <array>
#include <cstdint>

#include "ctrack/connection.h"

namespace postern::ctrack {

// All timeouts in seconds, with the kernel's defaults (nf_conntrack_proto_*.c).
struct Settings {
  uint32_t max = 262144;     // nf_conntrack_max, over all workers
  uint32_t buckets = 65536;  // nf_conntrack_buckets: accepted and shown, the table has its own size
  bool checksum = true;      // nf_conntrack_checksum
  bool acct = false;         // nf_conntrack_acct: count packets and bytes a connection
  bool timestamp = false;    // nf_conntrack_timestamp
  // nf_conntrack_log_invalid: log INVALID packets of this protocol; 0: none, 255: of all.
  uint8_t log_invalid = 0;
  bool tcp_loose = true;
  bool tcp_be_liberal = false;
  bool tcp_ignore_invalid_rst = false;
  uint8_t tcp_max_retrans = 3;

  // By TcpState; kNone and kSynSent2 as the kernel has them (SYN_SENT2 = 120).
  std::array<uint32_t, static_cast<size_t>(TcpState::kCount)> tcp_timeout = {
      0, 120, 60, 432000, 120, 60, 30, 120, 10, 120};
  uint32_t tcp_timeout_max_retrans = 300;
  uint32_t tcp_timeout_unacknowledged = 300;
  // By SctpState.
  std::array<uint32_t, static_cast<size_t>(SctpState::kCount)> sctp_timeout = {10, 10, 3, 3, 210,
                                                                               3,  3,  3, 30};
  uint32_t udp_timeout = 30;
  uint32_t udp_timeout_stream = 120;
  uint32_t icmp_timeout = 30;
  uint32_t icmpv6_timeout = 30;
  uint32_t generic_timeout = 600;
  uint32_t gre_timeout = 30;
  uint32_t gre_timeout_stream = 180;
  uint32_t expect_max = 1024;
  uint32_t frag_timeout_ipv4 = 30;  // net.ipv4.ipfrag_time
  uint32_t frag_timeout_ipv6 = 60;  // net.netfilter.nf_conntrack_frag6_timeout
  // Bytes that waiting fragments may hold, per family (ipfrag_high_thresh, frag6_high_thresh).
  uint32_t frag_high_thresh = 4 * 1024 * 1024;
};

}  // namespace postern::ctrack

// TCP connections: nf_conntrack_tcp_packet of Linux 6.x.
//
// The steps for each segment: look up the move in the table (tcp_table.h), judge the cases that the
// table can't tell apart (reopening, challenge ACKs, resets), check the windows (tcp_window.h),
// then take the new state and choose the timeout.
#pragma once

#include "ctrack/l4.h"
#include "ctrack/tcp_table.h"

namespace postern::ctrack {

// The packet is TCP with a valid header and a good checksum.
L4Result TrackTcp(const L4Input& in);

// True for the states from which a connection may be thrown out when the table is full although it
// is ASSURED: it is closing.
bool IsClosing(TcpState state);

// How long a connection lives after a segment that brought or left it in tcp.state, in seconds.
inline uint32_t ChooseTcpTimeout(const Settings& settings, const TcpTracking& tcp, TcpEvent event) {
  const auto timeout_of = [&settings](TcpState state) {
    return settings.tcp_timeout[static_cast<size_t>(state)];
  };
  const uint32_t normal = timeout_of(tcp.state);
  if (tcp.retransmissions >= settings.tcp_max_retrans &&
      normal > settings.tcp_timeout_max_retrans) {
    return settings.tcp_timeout_max_retrans;
  }
  if (event == TcpEvent::kRst) return timeout_of(TcpState::kClose);
  const uint8_t flags = tcp.peer[0].flags | tcp.peer[1].flags;
  if ((flags & kTcpPeerDataUnacknowledged) != 0 && normal > settings.tcp_timeout_unacknowledged) {
    return settings.tcp_timeout_unacknowledged;
  }
  if (tcp.last_window == 0 && normal > settings.tcp_timeout_max_retrans) {
    return settings.tcp_timeout_max_retrans;
  }
  return normal;
}

}  // namespace postern::ctrack

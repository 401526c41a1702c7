// TCP connections: nf_conntrack_tcp_packet of Linux 6.x.
//
// The steps for each segment: look up the move in the table (tcp_table.h), judge the cases that the
// table can't tell apart (reopening, challenge ACKs, resets), check the windows (tcp_window.h),
// then take the new state and choose the timeout.
#pragma once

#include "ctrack/l4.h"

namespace postern::ctrack {

// The packet is TCP with a valid header and a good checksum.
L4Result TrackTcp(const L4Input& in);

// True for the states from which a connection may be thrown out when the table is full although it
// is ASSURED: it is closing.
bool IsClosing(TcpState state);

}  // namespace postern::ctrack

// SCTP associations: nf_conntrack_sctp_packet of Linux 6.x.
//
// A packet is a row of chunks. Their composition is checked first (RFC 9260 section 6.10), then the
// packet's verification tag (section 8.5), then each chunk moves the state (sctp_table.h). What the chunks
// before a bad one have changed stays, as in netfilter.
#pragma once

#include "ctrack/l4.h"

namespace postern::ctrack {

// The packet is SCTP with its whole common header and a good checksum.
L4Result TrackSctp(const L4Input& in);

// True for the states from which an association may be thrown out when the table is full although it
// is ASSURED: it is shutting down.
bool IsClosing(SctpState state);

}  // namespace postern::ctrack

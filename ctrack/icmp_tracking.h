// ICMP and ICMPv6 queries, and the messages that conntrack leaves alone.
#pragma once

#include "ctrack/l4.h"
#include "dataplane/net/tuple.h"

namespace postern::ctrack {

// Echo, timestamp, information and address mask queries begin a connection; an answer that nobody
// asked for doesn't.
L4Result TrackIcmp(const L4Input& in);
// Echo and node information queries.
L4Result TrackIcmpv6(const L4Input& in);

// Neighbour and router discovery (not redirects) and multicast listener messages, which
// nf_conntrack_icmpv6_error makes UNTRACKED.
bool IsUntrackedIcmpv6(uint8_t type);

}  // namespace postern::ctrack

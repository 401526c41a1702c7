// The protocols that have no state beyond 'answered' and 'busy for a while': UDP, UDP-Lite, GRE and
// everything that netfilter calls generic.
#pragma once

#include "ctrack/l4.h"

namespace postern::ctrack {

// A connection becomes a stream, with the longer timeout and ASSURED, by a packet more than this
// long after its first one, once there was an answer (netfilter's stream_ts). A lookup
// of a name with its answer isn't one.
inline constexpr Time kUdpStreamAfter = 2 * net::kSecond;

L4Result TrackUdp(const L4Input& in);
L4Result TrackUdpLite(const L4Input& in);
L4Result TrackGre(const L4Input& in);
L4Result TrackGeneric(const L4Input& in);

}  // namespace postern::ctrack

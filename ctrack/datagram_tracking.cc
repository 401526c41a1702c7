#include "ctrack/datagram_tracking.h"

namespace postern::ctrack {

namespace {

uint32_t Assure(Connection* connection) {
  if (connection->Has(kAssured)) return 0;
  connection->status |= kAssured;
  return kChangeAssured;
}

// ASSURED with the first packet after an answer.
L4Result TrackAnswered(const L4Input& in, uint32_t unreplied, uint32_t replied) {
  if (!in.connection.Has(kSeenReply)) return Accept(unreplied);
  return Accept(replied, Assure(&in.connection));
}

}  // namespace

L4Result TrackUdp(const L4Input& in) {
  UdpTracking& udp = in.connection.protocol.udp;
  if (in.first()) udp = UdpTracking{.stream_at = in.now + kUdpStreamAfter};
  if (!in.connection.Has(kSeenReply) || in.now <= udp.stream_at) {
    return Accept(in.settings.udp_timeout);
  }
  return Accept(in.settings.udp_timeout_stream, Assure(&in.connection));
}

L4Result TrackUdpLite(const L4Input& in) {
  return TrackAnswered(in, in.settings.udp_timeout, in.settings.udp_timeout_stream);
}

L4Result TrackGre(const L4Input& in) {
  return TrackAnswered(in, in.settings.gre_timeout, in.settings.gre_timeout_stream);
}

L4Result TrackGeneric(const L4Input& in) { return Accept(in.settings.generic_timeout); }

}  // namespace postern::ctrack

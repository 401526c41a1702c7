// Neighbour solicitations and advertisements (RFC 4861 4.3, 4.4, 7.1): reading and building.
#pragma once

#include <optional>

#include "dataplane/net/packet.h"

namespace postern::route {

struct NdMessage {
  bool solicitation = false;  // else an advertisement
  net::IpAddress source;
  net::IpAddress destination;
  net::IpAddress target;
  bool router = false;  // these three: advertisements only
  bool solicited = false;
  bool override_flag = false;
  // The source's (solicitation) or target's (advertisement) link-layer address option.
  std::optional<net::MacAddress> link_layer;
};

// A solicitation or advertisement by type, valid or not.
bool IsNeighborMessage(const net::Packet& packet);

// Nothing where RFC 4861 7.1 tells to discard the message silently: hop limit other than 255, wrong
// checksum, code other than 0, cut short, a multicast target, an option without length or beyond
// the end, a link-layer address that isn't Ethernet's, and what else the clauses name; fragments
// too (RFC 6980).
std::optional<NdMessage> ReadNeighborMessage(const net::Packet& packet);

// ff02::1:ff00:0/104 with the target's last 24 bits (RFC 4291 2.7.1).
net::IpAddress SolicitedNodeAddress(const net::IpAddress& target);
// RFC 2464 7.
net::MacAddress MulticastMac(const net::IpAddress& group);

// A frame with `message` from `source_mac`; parsed. `destination_mac` may be written later. False:
// no buffer.
bool BuildNeighborMessage(net::BufferPool* pool, const NdMessage& message,
                          const net::MacAddress& source_mac, const net::MacAddress& destination_mac,
                          net::Packet* packet);

}  // namespace postern::route

// ARP messages for IPv4 over Ethernet (RFC 826): reading and building.
#pragma once

#include <optional>

#include "dataplane/net/packet.h"

namespace postern::route {

struct ArpMessage {
  bool request = false;  // else a reply
  net::MacAddress sender_mac;
  net::IpAddress sender;
  net::MacAddress target_mac;
  net::IpAddress target;
};

// An ARP frame that net::Parse has accepted. Nothing for other operations than request and reply, a
// target that is multicast or loopback, or a sender whose MAC is no host's (RFC 1812 3.3.2).
std::optional<ArpMessage> ReadArp(const net::Packet& packet);

// A frame with `message` to `destination`, sent by message.sender_mac. False: no buffer.
bool BuildArp(net::BufferPool* pool, const ArpMessage& message, const net::MacAddress& destination,
              net::Packet* packet);

}  // namespace postern::route

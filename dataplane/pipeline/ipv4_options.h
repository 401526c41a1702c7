// IPv4 options as a router reads them, once a packet's way is known (ip_rcv_options).
#pragma once

#include <optional>

#include "dataplane/net/packet.h"

namespace postern::pipeline {

struct Ipv4OptionsView {
  // Where the header is wrong, in bytes from its start: an ICMP parameter problem's pointer.
  std::optional<uint8_t> wrong_at;
  bool source_route = false;
};

// Nothing of either for a packet without options and for IPv6. `packet` has been parsed.
Ipv4OptionsView ReadIpv4Options(const net::Packet& packet);

// Makes the options end where they say that they end: what stands behind becomes zero, and the
// header's checksum follows. `packet`: IPv4 whose options are right.
void BlankBehindEnd(net::Packet* packet);

}  // namespace postern::pipeline

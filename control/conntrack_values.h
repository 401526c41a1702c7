// The values of conntrack's options as conntrack-tools 1.4.7 reads them.
//
// Each returns the original's sentence about what is wrong; nothing where all is well.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "control/conntrack_filter.h"
#include "control/conntrack_grammar.h"
#include "control/conntrack_printer.h"

namespace postern::control {

using ValueError = std::optional<std::string>;

// A table's name or the beginning of one.
ValueError ParseConntrackTable(const std::string& text, ConntrackTable* table);

struct ConntrackAddress {
  net::Family family = net::Family::kIpv4;
  net::IpAddress address;
  std::optional<net::IpAddress> mask;  // of a CIDR that is shorter than the address
};
// An address as inet_aton(3) or IPv6's; with a prefix length only where `cidr`. `option`: its
// long name.
ValueError ParseConntrackAddress(const std::string& text, bool cidr, std::string_view option,
                                 ConntrackAddress* address);

// ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT.
ValueError SplitNatAddress(const std::string& text, std::string* address,
                           std::optional<uint16_t>* port);

// By its name (any case), by the machine's /etc/protocols, or its number.
ValueError ParseConntrackProtocol(const std::string& text, uint8_t* protocol);

// -u: bits to have, and bits to look at. `warnings` gets what the original says and goes on.
ValueError ParseConntrackStatus(const std::string& text, uint32_t* status, uint32_t* mask,
                                std::vector<std::string>* warnings);
// -e: bits of ConntrackEvents.
enum ConntrackEvents : uint8_t { kNewEvents = 1, kUpdateEvents = 2, kDestroyEvents = 4 };
ValueError ParseConntrackEvents(const std::string& text, uint8_t* events,
                                std::vector<std::string>* warnings);
// -o, which may come several times.
ValueError ParseConntrackOutput(const std::string& text, ConntrackFormat* format,
                                std::vector<std::string>* warnings);

// --state of TCP, SCTP or DCCP; the last one's are known by name, but connections have none.
ValueError ParseConntrackState(uint8_t protocol, const std::string& text, ConntrackFilter* filter);
ValueError ParseDccpRole(const std::string& text);

}  // namespace postern::control

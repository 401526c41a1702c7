// Numbers, ports, protocols and addresses as the original reads and writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/net/address.h"
#include "dataplane/net/nat_range.h"
#include "dataplane/rules/model.h"

namespace postern::control::iptables {

using net::Family;
using net::IpAddress;
using net::PortRange;

// C's strtoumax with base 0 (decimal, 0octal, 0xhex), within [min, max]. The whole text.
std::optional<uint64_t> ParseNumber(const std::string& text, uint64_t min, uint64_t max);
// The same, leaving what follows the number in *rest.
std::optional<uint64_t> ParseNumber(const std::string& text, uint64_t min, uint64_t max,
                                    std::string* rest);

// By /etc/services; `protocol` null: any.
std::optional<uint16_t> ServiceToPort(const std::string& name, const char* protocol);
// The service's name, or the number where there is none or `numeric`.
std::string PortName(uint16_t port, const char* protocol, bool numeric);
// Number or service; fails with the original's sentence.
uint16_t ParsePort(const std::string& text, const char* protocol);

// Number, netfilter's own names, /etc/protocols; fails with the original's sentence.
uint8_t ParseProtocol(const std::string& text);
// "tcp", "ipv6-icmp"; with `lookup` /etc/protocols too. Empty: no name.
std::string ProtocolName(uint8_t protocol, bool lookup);

// A dotted quad, short forms completed with zeros ("10" is 10.0.0.0); an IPv6 address.
std::optional<IpAddress> ParseNumericAddress(Family family, const std::string& text);
// What getaddrinfo() takes: the classic short forms put the last number last ("10.1" is 10.0.0.1).
// Names only from /etc/hosts (host_names.h), and of one address. Fails with the original's
// sentence.
IpAddress ParseHost(Family family, const std::string& text);
// -s, -d: "address[/mask][,…]", masked; one for each address of a name. Fails with the original's
// sentence.
std::vector<rules::AddressMatch> ParseAddressList(Family family, const std::string& text);

// Length of a contiguous mask, or -1.
int MaskBits(Family family, const IpAddress& mask);
IpAddress AllOnes(Family family);
// "10.0.0.0/8"; no "/32" or "/128"; a mask that isn't contiguous is written out. The host's or the
// network's name where there is one and it isn't to be `numeric`.
std::string ListedAddress(Family family, const IpAddress& address, const IpAddress& mask,
                          bool numeric);
// "/8", "/255.0.255.0", always.
std::string SavedMask(Family family, const IpAddress& mask);

// " text" where the text is one plain word, else in quotes with escapes.
void AppendQuoted(const std::string& text, std::string* out);

bool EqualsIgnoringCase(std::string_view a, std::string_view b);
// C's strncasecmp(whole, beginning, strlen(beginning)) == 0; true for "".
bool StartsIgnoringCase(std::string_view whole, std::string_view beginning);
bool IsSpace(char c);

}  // namespace postern::control::iptables

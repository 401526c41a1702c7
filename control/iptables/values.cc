#include "control/iptables/values.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <strings.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>

#include "control/iptables/host_names.h"
#include "control/iptables/problem.h"

namespace postern::control::iptables {
namespace {

struct NamedProtocol {
  const char* name;
  uint8_t number;
};
// Netfilter's own names come before those of /etc/protocols.
constexpr NamedProtocol kProtocols[] = {
    {"tcp", 6},        {"sctp", 132},  {"udp", 17}, {"udplite", 136}, {"icmp", 1},
    {"ipv6-icmp", 58}, {"icmpv6", 58}, {"esp", 50}, {"ah", 51},       {"mobility-header", 135},
    {"ipv6-mh", 135},  {"mh", 135},    {"all", 0},
};

std::optional<uint8_t> ParseByte(const std::string& text) {
  const auto value = ParseNumber(text, 0, 255);
  if (!value) return std::nullopt;
  return static_cast<uint8_t>(*value);
}

// Four bytes with dots. `complete`: fewer are filled with zeros at the end.
std::optional<IpAddress> ParseDotted(const std::string& text, bool complete) {
  IpAddress address;
  size_t start = 0;
  for (size_t i = 0; i < 4; ++i) {
    const size_t dot = i < 3 ? text.find('.', start) : text.npos;
    if (i < 3 && dot == text.npos && !complete) return std::nullopt;
    const auto byte = ParseByte(text.substr(start, dot == text.npos ? text.npos : dot - start));
    if (!byte) return std::nullopt;
    address.bytes[i] = *byte;
    if (dot == text.npos) break;
    start = dot + 1;
  }
  return address;
}

std::optional<IpAddress> ParseInet6(const std::string& text) {
  IpAddress address;
  if (inet_pton(AF_INET6, text.c_str(), address.bytes.data()) != 1) return std::nullopt;
  return address;
}

IpAddress FromSocketAddress(Family family, const sockaddr* socket_address) {
  if (family == Family::kIpv4) {
    return IpAddress::FromWire(family,
                               &reinterpret_cast<const sockaddr_in*>(socket_address)->sin_addr);
  }
  return IpAddress::FromWire(family,
                             &reinterpret_cast<const sockaddr_in6*>(socket_address)->sin6_addr);
}

IpAddress ParseMask(Family family, const std::string& text) {
  const auto written = family == Family::kIpv4 ? ParseDotted(text, false) : ParseInet6(text);
  if (written) return *written;
  const auto bits = ParseNumber(text, 0, family == Family::kIpv4 ? 32 : 128);
  if (!bits) Fail("invalid mask `{}' specified", text);
  return net::PrefixMask(family, static_cast<unsigned>(*bits));
}

// A name may have several addresses.
std::vector<IpAddress> ParseHostOrNetwork(Family family, const std::string& text) {
  if (const auto address = ParseNumericAddress(family, text)) return {*address};
  const HostNames& names = HostNames::Get();
  if (family == Family::kIpv4) {
    if (const auto network = names.Network(text)) return {*network};
  }
  std::vector<IpAddress> addresses = names.Addresses(family, text);
  if (addresses.empty()) Fail("host/network `{}' not found", text);
  return addresses;
}

void ParseAddressMask(Family family, std::string text, std::vector<rules::AddressMatch>* list) {
  constexpr size_t kMaxLength = 255;
  if (text.size() > kMaxLength) Fail("Hostname too long");
  rules::AddressMatch match;
  const size_t slash = text.rfind('/');
  if (slash == text.npos) {
    match.mask = AllOnes(family);
  } else {
    match.mask = ParseMask(family, text.substr(slash + 1));
    text.resize(slash);
  }
  // With an empty mask the name doesn't matter ("any/0").
  if (match.mask.IsZero()) {
    list->push_back(match);
    return;
  }
  for (const IpAddress& address : ParseHostOrNetwork(family, text)) {
    match.address = address & match.mask;
    list->push_back(match);
  }
}

}  // namespace

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool StartsIgnoringCase(std::string_view whole, std::string_view beginning) {
  return whole.size() >= beginning.size() &&
         strncasecmp(whole.data(), beginning.data(), beginning.size()) == 0;
}

std::optional<uint64_t> ParseNumber(const std::string& text, uint64_t min, uint64_t max,
                                    std::string* rest) {
  const char* start = text.c_str();
  const char* sign = start;
  while (IsSpace(*sign)) ++sign;
  if (*sign == '-') return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const uint64_t value = strtoumax(start, &end, 0);
  if (end == start || errno == ERANGE || value < min || value > max) return std::nullopt;
  *rest = end;
  return value;
}

std::optional<uint64_t> ParseNumber(const std::string& text, uint64_t min, uint64_t max) {
  std::string rest;
  const auto value = ParseNumber(text, min, max, &rest);
  return rest.empty() ? value : std::nullopt;
}

std::optional<uint16_t> ServiceToPort(const std::string& name, const char* protocol) {
  const servent* service = getservbyname(name.c_str(), protocol);
  if (service == nullptr) return std::nullopt;
  return ntohs(static_cast<uint16_t>(service->s_port));
}

std::string PortName(uint16_t port, const char* protocol, bool numeric) {
  const servent* service = numeric ? nullptr : getservbyport(htons(port), protocol);
  return service == nullptr ? std::to_string(port) : service->s_name;
}

uint16_t ParsePort(const std::string& text, const char* protocol) {
  if (const auto number = ParseNumber(text, 0, 65535)) return static_cast<uint16_t>(*number);
  if (const auto port = ServiceToPort(text, protocol)) return *port;
  Fail("invalid port/service `{}' specified", text);
}

uint8_t ParseProtocol(const std::string& text) {
  if (const auto number = ParseNumber(text, 0, 255)) return static_cast<uint8_t>(*number);
  for (const NamedProtocol& protocol : kProtocols) {
    if (text == protocol.name) return protocol.number;
  }
  const protoent* entry = getprotobyname(text.c_str());
  if (entry == nullptr) Fail("unknown protocol \"{}\" specified", text);
  return static_cast<uint8_t>(entry->p_proto);
}

std::string ProtocolName(uint8_t protocol, bool lookup) {
  for (const NamedProtocol& known : kProtocols) {
    if (known.number == protocol) return known.name;
  }
  const protoent* entry = lookup ? getprotobynumber(protocol) : nullptr;
  return entry == nullptr ? "" : entry->p_name;
}

std::optional<IpAddress> ParseNumericAddress(Family family, const std::string& text) {
  return family == Family::kIpv4 ? ParseDotted(text, true) : ParseInet6(text);
}

IpAddress ParseHost(Family family, const std::string& text) {
  addrinfo hints{};
  hints.ai_family = static_cast<int>(family);
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  if (getaddrinfo(text.c_str(), nullptr, &hints, &found) == 0) {
    const IpAddress address = FromSocketAddress(family, found->ai_addr);
    freeaddrinfo(found);
    return address;
  }
  const std::vector<IpAddress> addresses = HostNames::Get().Addresses(family, text);
  const auto differs = [&](const IpAddress& a) { return a != addresses.front(); };
  if (std::any_of(addresses.begin(), addresses.end(), differs))
    Fail("{} resolves to more than one address\n", text);
  if (!addresses.empty()) return addresses.front();
  Fail("getaddrinfo: {}\n", gai_strerror(EAI_NONAME));
}

std::vector<rules::AddressMatch> ParseAddressList(Family family, const std::string& text) {
  std::vector<rules::AddressMatch> list;
  size_t start = 0;
  while (true) {
    while (start < text.size() && IsSpace(text[start])) ++start;
    const size_t comma = text.find(',', start);
    ParseAddressMask(family, text.substr(start, comma == text.npos ? text.npos : comma - start),
                     &list);
    if (comma == text.npos) return list;
    start = comma + 1;
  }
}

int MaskBits(Family family, const IpAddress& mask) {
  const auto length = net::MaskLength(family, mask);
  return length ? static_cast<int>(*length) : -1;
}

IpAddress AllOnes(Family family) {
  return net::PrefixMask(family, family == Family::kIpv4 ? 32 : 128);
}

std::string ListedAddress(Family family, const IpAddress& address, const IpAddress& mask,
                          bool numeric) {
  const int bits = MaskBits(family, mask);
  const int full = family == Family::kIpv4 ? 32 : 128;
  std::string text = numeric ? "" : HostNames::Get().Name(family, address);
  if (text.empty()) text = net::ToString(family, address);
  return text + (bits == full ? "" : SavedMask(family, mask));
}

std::string SavedMask(Family family, const IpAddress& mask) {
  const int bits = MaskBits(family, mask);
  return "/" + (bits >= 0 ? std::to_string(bits) : net::ToString(family, mask));
}

void AppendQuoted(const std::string& text, std::string* out) {
  constexpr std::string_view kPlain =
      "_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  out->push_back(' ');
  if (!text.empty() && text.find_first_not_of(kPlain) == text.npos) {
    out->append(text);
    return;
  }
  out->push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\' || c == '\'') out->push_back('\\');
    out->push_back(c);
  }
  out->push_back('"');
}

}  // namespace postern::control::iptables

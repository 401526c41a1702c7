#include "control/conntrack_values.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <span>

#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using net::Family;

std::string BadParameter(const std::string& rest) {
  return fmt::format("Bad parameter `{}'", rest);
}

struct Keyword {
  std::string_view name;
  uint32_t value;
};

// A keyword's beginning is enough, in any case.
bool Begins(const std::string& text, std::string_view keyword) {
  return text.size() <= keyword.size() &&
         strncasecmp(text.c_str(), keyword.data(), text.size()) == 0;
}

bool ParseKeyword(const std::string& text, std::span<const Keyword> keywords, uint32_t* bits,
                  std::vector<std::string>* warnings) {
  if (text.empty()) return false;
  // Old names of statuses, looked for in every list.
  for (const char* half : {"src", "dst"}) {
    const std::string upper = half[0] == 's' ? "SRC_NAT" : "DST_NAT";
    if (!Begins(text, upper)) continue;
    warnings->push_back(fmt::format("WARNING: ignoring {}, use --{}-nat instead\n", upper, half));
    return true;
  }
  for (const Keyword& keyword : keywords) {
    if (!Begins(text, keyword.name)) continue;
    *bits |= keyword.value;
    return true;
  }
  return false;
}

// Calls `take` with each part of a list with commas, until it refuses one: the rest is bad.
template <typename Take>
ValueError Parts(const std::string& text, Take take) {
  size_t begin = 0;
  for (;;) {
    const size_t comma = text.find(',', begin);
    const std::string part = text.substr(begin, comma - begin);
    if (part.empty() || !take(part)) return BadParameter(text.substr(begin));
    if (comma == std::string::npos) return std::nullopt;
    begin = comma + 1;
  }
}

constexpr auto kStatuses = std::to_array<Keyword>({{"ASSURED", ctrack::kAssured},
                                                   {"SEEN_REPLY", ctrack::kSeenReply},
                                                   {"UNSET", 0},
                                                   {"FIXED_TIMEOUT", ctrack::kFixedTimeout},
                                                   {"EXPECTED", ctrack::kExpected},
                                                   {"OFFLOAD", 1U << 14},
                                                   {"HW_OFFLOAD", 1U << 15}});
constexpr auto kEvents = std::to_array<Keyword>(
    {{"ALL", 7}, {"NEW", kNewEvents}, {"UPDATES", kUpdateEvents}, {"DESTROY", kDestroyEvents}});

enum Output : uint32_t {
  kXml = 1,
  kExtended = 2,
  kTimestamp = 4,
  kId = 8,
  kKtimestamp = 16,
  kLabels = 32,
  kSave = 64,
};
constexpr auto kOutputs = std::to_array<Keyword>({{"xml", kXml},
                                                  {"extended", kExtended},
                                                  {"timestamp", kTimestamp},
                                                  {"id", kId},
                                                  {"ktimestamp", kKtimestamp},
                                                  {"labels", kLabels},
                                                  {"userspace", 0},
                                                  {"save", kSave}});

constexpr auto kDccpStates =
    std::to_array<std::string_view>({"NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ",
                                     "CLOSING", "TIMEWAIT", "IGNORE", "INVALID"});

bool Named(std::span<const std::string_view> names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

template <typename State>
std::optional<State> StateNamed(std::string_view name) {
  for (size_t i = 0; i < static_cast<size_t>(State::kCount); ++i) {
    if (ToString(static_cast<State>(i)) == name) return static_cast<State>(i);
  }
  return std::nullopt;
}

bool IsPort(const std::string& text) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) return false;
  errno = 0;
  const unsigned long port = std::strtoul(text.c_str(), nullptr, 10);
  return errno == 0 && port <= 65535;
}

bool ParseInet(const std::string& text, ConntrackAddress* to) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_aton(text.c_str(), &v4) != 0) {
    to->family = Family::kIpv4;
    to->address = net::IpAddress::FromWire(Family::kIpv4, &v4);
    return true;
  }
  if (inet_pton(AF_INET6, text.c_str(), &v6) != 1) return false;
  to->family = Family::kIpv6;
  to->address = net::IpAddress::FromWire(Family::kIpv6, &v6);
  return true;
}

}  // namespace

ValueError ParseConntrackTable(const std::string& text, ConntrackTable* table) {
  constexpr std::array<std::pair<std::string_view, ConntrackTable>, 4> kTables = {
      {{"expect", ConntrackTable::kExpect},
       {"conntrack", ConntrackTable::kConntrack},
       {"dying", ConntrackTable::kDying},
       {"unconfirmed", ConntrackTable::kUnconfirmed}}};
  for (const auto& [name, value] : kTables) {
    if (!name.starts_with(text)) continue;
    *table = value;
    return std::nullopt;
  }
  return fmt::format("unknown type `{}'", text);
}

ValueError ParseConntrackAddress(const std::string& text, bool cidr, std::string_view option,
                                 ConntrackAddress* address) {
  const size_t slash = text.find('/');
  if (!ParseInet(text.substr(0, slash), address)) {
    return fmt::format("Invalid IP address `{}'", text);
  }
  if (slash == std::string::npos) return std::nullopt;
  if (!cidr) return fmt::format("CIDR notation unavailable for `--{}'", option);
  const std::string length_text = text.substr(slash + 1);
  char* end = nullptr;
  const long length = std::strtol(length_text.c_str(), &end, 10);
  const long width = address->family == Family::kIpv4 ? 32 : 128;
  if (*end != '\0' || length < 0 || length > width) return "Invalid netmask";
  if (length < width) {
    address->mask = net::PrefixMask(address->family, static_cast<unsigned>(length));
  }
  return std::nullopt;
}

ValueError SplitNatAddress(const std::string& text, std::string* address,
                           std::optional<uint16_t>* port) {
  *address = text;
  size_t colon = text.find(':');
  if (const size_t open = text.find('['); open != std::string::npos) {
    const size_t close = text.find(']', open);
    if (close == open + 1) return "No IPv6 address specified";
    if (close == std::string::npos) return "No closing ']' around IPv6 address";
    colon = text.find(':', close);
    // Brackets are only for a port's sake; without one they are part of a bad address.
    if (colon != std::string::npos) *address = text.substr(open + 1, close - open - 1);
  } else if (colon != std::string::npos && text.find(':', colon + 1) == std::string::npos) {
    *address = text.substr(0, colon);
  } else {
    return std::nullopt;
  }
  if (colon == std::string::npos) return std::nullopt;
  const std::string number = text.substr(colon + 1);
  if (number.empty()) return "No port specified after `:'";
  if (!IsPort(number)) return fmt::format("Invalid port `{}'", number);
  *port = static_cast<uint16_t>(std::strtoul(number.c_str(), nullptr, 10));
  return std::nullopt;
}

ValueError ParseConntrackProtocol(const std::string& text, uint8_t* protocol) {
  for (const uint8_t known :
       {net::kProtoTcp, net::kProtoUdp, net::kProtoUdpLite, net::kProtoSctp, net::kProtoDccp,
        net::kProtoIcmp, net::kProtoIcmpv6, net::kProtoGre}) {
    if (strcasecmp(text.c_str(), ConntrackProtocolName(known)) != 0) continue;
    *protocol = known;
    return std::nullopt;
  }
  // The control thread is the only one that asks.
  if (const protoent* entry = getprotobyname(text.c_str())) {
    *protocol = static_cast<uint8_t>(entry->p_proto);
    return std::nullopt;
  }
  char* end = nullptr;
  const unsigned long number = std::strtoul(text.c_str(), &end, 0);
  if (end == text.c_str() || *end != '\0' || number > 255) {
    return fmt::format("`{}' unsupported protocol", text);
  }
  *protocol = static_cast<uint8_t>(number);
  return std::nullopt;
}

ValueError ParseConntrackStatus(const std::string& text, uint32_t* status, uint32_t* mask,
                                std::vector<std::string>* warnings) {
  *status = 0;
  size_t begin = 0;
  for (;;) {
    const size_t comma = text.find(',', begin);
    std::string part = text.substr(begin, comma - begin);
    const bool negated = part.starts_with('!');
    if (negated) {
      ++begin;
      part.erase(0, 1);
    }
    if (!negated && part.starts_with("UNREPLIED")) {
      *mask |= ctrack::kSeenReply;
    } else if (!ParseKeyword(part, kStatuses, negated ? mask : status, warnings)) {
      return BadParameter(text.substr(begin));
    }
    if (comma == std::string::npos) break;
    begin = comma + 1;
  }
  if (*mask == 0) *mask = *status;
  return std::nullopt;
}

ValueError ParseConntrackEvents(const std::string& text, uint8_t* events,
                                std::vector<std::string>* warnings) {
  return Parts(text, [&](const std::string& part) {
    uint32_t bits = *events;
    const bool good = ParseKeyword(part, kEvents, &bits, warnings);
    *events = static_cast<uint8_t>(bits);
    return good;
  });
}

ValueError ParseConntrackOutput(const std::string& text, ConntrackFormat* format,
                                std::vector<std::string>* warnings) {
  uint32_t bits = 0;
  const ValueError error = Parts(
      text, [&](const std::string& part) { return ParseKeyword(part, kOutputs, &bits, warnings); });
  if ((bits & kXml) != 0) format->xml = true;
  if ((bits & kExtended) != 0) format->extended = true;
  if ((bits & kTimestamp) != 0) format->timestamp = true;
  if ((bits & kId) != 0) format->id = true;
  if ((bits & kKtimestamp) != 0) format->ktimestamp = true;
  if ((bits & kLabels) != 0) format->labels = true;
  if ((bits & kSave) != 0) format->save = true;
  return error;
}

ValueError ParseConntrackState(uint8_t protocol, const std::string& text, ConntrackFilter* filter) {
  if (protocol == net::kProtoSctp) {
    filter->sctp_state = StateNamed<ctrack::SctpState>(text);
    if (filter->sctp_state) return std::nullopt;
    return fmt::format("unknown SCTP state `{}'", text);
  }
  if (protocol == net::kProtoDccp) {
    if (Named(kDccpStates, text)) return std::nullopt;
    return fmt::format("Unknown DCCP state `{}'", text);
  }
  // What old kernels called LISTEN is now SYN_SENT2.
  filter->state = StateNamed<ctrack::TcpState>(text == "LISTEN" ? "SYN_SENT2" : text);
  if (filter->state) return std::nullopt;
  return fmt::format("unknown TCP state `{}'", text);
}

ValueError ParseDccpRole(const std::string& text) {
  if (Begins(text, "client") || Begins(text, "server")) return std::nullopt;
  return fmt::format("Unknown DCCP role `{}'", text);
}

}  // namespace postern::control

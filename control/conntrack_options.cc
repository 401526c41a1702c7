#include "control/conntrack_options.h"

#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>

#include "control/options.h"
#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using net::Family;
using Verb = ConntrackOptions::Verb;

// Codes of options. The letters are the original's.
enum Code : int {
  kSource = 's',
  kDestination = 'd',
  kReplySource = 'r',
  kReplyDestination = 'q',
  kProtocol = 'p',
  kFamily = 'f',
  kMark = 'm',
  kSrcNat = 'n',
  kDstNat = 'g',
  kAnyNat = 'j',
  kStatus = 'u',
  kOutput = 'o',
  kZone = 'w',
  kZero = 'z',
  kTimeout = 't',
  kEventMask = 'e',
  kBufferSize = 'b',
  kList = 'L',
  kCount = 'C',
  kStatistics = 'S',
  kHelp = 'h',
  kVersion = 'V',
  kFirstLong = 256,
  kMaskSource,
  kMaskDestination,
  kOrigSourcePort,
  kOrigDestinationPort,
  kReplySourcePort,
  kReplyDestinationPort,
  kTcpState,
  kIcmpType,
  kIcmpCode,
  kIcmpId,
};

constexpr auto kNone = OptionArgument::kNone;
constexpr auto kRequired = OptionArgument::kRequired;
constexpr auto kOptional = OptionArgument::kOptional;

constexpr auto kCommon = std::to_array<OptionSpec>({
    {"dump", 'L', kOptional, kList},
    {"count", 'C', kOptional, kCount},
    {"stats", 'S', kNone, kStatistics},
    {"version", 'V', kNone, kVersion},
    {"help", 'h', kNone, kHelp},
    {"orig-src", 's', kRequired, kSource},
    {"src", '\0', kRequired, kSource},
    {"orig-dst", 'd', kRequired, kDestination},
    {"dst", '\0', kRequired, kDestination},
    {"reply-src", 'r', kRequired, kReplySource},
    {"reply-dst", 'q', kRequired, kReplyDestination},
    {"protonum", 'p', kRequired, kProtocol},
    {"timeout", 't', kRequired, kTimeout},
    {"status", 'u', kRequired, kStatus},
    {"zero", 'z', kNone, kZero},
    {"event-mask", 'e', kRequired, kEventMask},
    {"mask-src", '{', kRequired, kMaskSource},
    {"mask-dst", '}', kRequired, kMaskDestination},
    {"mark", 'm', kRequired, kMark},
    {"src-nat", 'n', kOptional, kSrcNat},
    {"dst-nat", 'g', kOptional, kDstNat},
    {"any-nat", 'j', kOptional, kAnyNat},
    {"output", 'o', kRequired, kOutput},
    {"family", 'f', kRequired, kFamily},
    {"zone", 'w', kRequired, kZone},
    {"buffer-size", 'b', kRequired, kBufferSize},
});

constexpr auto kPortOptions = std::to_array<OptionSpec>({
    {"orig-port-src", '\0', kRequired, kOrigSourcePort},
    {"orig-port-dst", '\0', kRequired, kOrigDestinationPort},
    {"sport", '\0', kRequired, kOrigSourcePort},
    {"dport", '\0', kRequired, kOrigDestinationPort},
    {"reply-port-src", '\0', kRequired, kReplySourcePort},
    {"reply-port-dst", '\0', kRequired, kReplyDestinationPort},
});
constexpr OptionSpec kStateOption = {"state", '\0', kRequired, kTcpState};
constexpr auto kIcmpOptions = std::to_array<OptionSpec>({
    {"icmp-type", '\0', kRequired, kIcmpType},
    {"icmp-code", '\0', kRequired, kIcmpCode},
    {"icmp-id", '\0', kRequired, kIcmpId},
});
constexpr auto kIcmpv6Options = std::to_array<OptionSpec>({
    {"icmpv6-type", '\0', kRequired, kIcmpType},
    {"icmpv6-code", '\0', kRequired, kIcmpCode},
    {"icmpv6-id", '\0', kRequired, kIcmpId},
});

// Options that the original has but not with -L, by their long name.
constexpr auto kNotWithList = std::to_array<int>({kTimeout, kEventMask});
// Options that change or choose nothing in a count or the statistics are illegal there.
bool Illegal(Verb verb, int code) {
  if (verb == Verb::kList) {
    return std::find(kNotWithList.begin(), kNotWithList.end(), code) != kNotWithList.end();
  }
  return verb == Verb::kCount || verb == Verb::kStatistics;
}

bool ParseNumber(const std::string& text, unsigned long maximum, unsigned long* number) {
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text[0])) == 0) return false;
  char* end = nullptr;
  errno = 0;
  *number = std::strtoul(text.c_str(), &end, 0);
  return errno == 0 && *end == '\0' && *number <= maximum;
}

std::optional<uint8_t> ProtocolNumber(const std::string& text) {
  unsigned long number = 0;
  if (ParseNumber(text, 255, &number)) return static_cast<uint8_t>(number);
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (int protocol = 1; protocol < 256; ++protocol) {
    const char* name = ConntrackProtocolName(static_cast<uint8_t>(protocol));
    if (lower == name && lower != "unknown") return static_cast<uint8_t>(protocol);
  }
  // The machine's /etc/protocols; the control thread is the only one that asks.
  const protoent* entry = getprotobyname(lower.c_str());
  if (entry == nullptr) return std::nullopt;
  return static_cast<uint8_t>(entry->p_proto);
}

class Parser {
 public:
  Parser(const std::vector<std::string>& arguments, ConntrackOptions* options,
         ConntrackError* error)
      : walk_(arguments),
        options_(options),
        error_(error),
        specs_(kCommon.begin(), kCommon.end()) {}

  bool Parse() {
    for (;;) {
      const OptionWalk::Item item = walk_.Next(specs_);
      switch (item.kind) {
        case OptionWalk::Kind::kEnd:
          return Finish();
        case OptionWalk::Kind::kOperand:
          return Fail(fmt::format("Bad parameter `{}'", item.value));
        case OptionWalk::Kind::kUnknown:
          return Fail(fmt::format("unknown option `{}'", item.value));
        case OptionWalk::Kind::kNoValue:
          return Fail(fmt::format("option `{}' requires an argument", item.value));
        case OptionWalk::Kind::kOption:
          if (!Take(item)) return false;
      }
    }
  }

 private:
  bool Fail(std::string message) {
    error_->message = std::move(message);
    return false;
  }

  bool Take(const OptionWalk::Item& item) {
    const int code = item.spec->code;
    switch (code) {
      case kList:
        return SetVerb(Verb::kList, item);
      case kCount:
        return SetVerb(Verb::kCount, item);
      case kStatistics:
        return SetVerb(Verb::kStatistics, item);
      case kHelp:
        return SetVerb(Verb::kHelp, item);
      case kVersion:
        return SetVerb(Verb::kVersion, item);
      default:
        // The long name that stands first in the table is the one in the original's sentences.
        for (const OptionSpec& spec : kCommon) {
          if (spec.code == code && spec.letter != '\0') given_.push_back(&spec);
        }
        return TakeFilter(code, item.value, item.has_value);
    }
  }

  bool SetVerb(Verb verb, const OptionWalk::Item& item) {
    if (options_->verb != Verb::kNone) return Fail("Invalid commands combination");
    options_->verb = verb;
    if (!item.has_value) return true;
    using Table = ConntrackOptions::Table;
    const std::string& table = item.value;
    if (table == "conntrack") {
      options_->table = Table::kConntrack;
    } else if (table == "expect") {
      options_->table = Table::kExpect;
    } else if (table == "dying") {
      options_->table = Table::kDying;
    } else if (table == "unconfirmed") {
      options_->table = Table::kUnconfirmed;
    } else {
      return Fail(fmt::format("unknown type `{}'", table));
    }
    return true;
  }

  bool TakeFilter(int code, const std::string& value, bool has_value) {
    ConntrackFilter& filter = options_->filter;
    switch (code) {
      case kSource:
        return TakePrefix(value, &filter.orig_source);
      case kDestination:
        return TakePrefix(value, &filter.orig_destination);
      case kReplySource:
        return TakePrefix(value, &filter.reply_source);
      case kReplyDestination:
        return TakePrefix(value, &filter.reply_destination);
      case kMaskSource:
        return TakeMask(value, &filter.orig_source);
      case kMaskDestination:
        return TakeMask(value, &filter.orig_destination);
      case kProtocol:
        return TakeProtocol(value);
      case kFamily:
        return TakeFamily(value);
      case kMark:
        return TakeMark(value);
      case kStatus:
        return TakeStatus(value);
      case kOutput:
        return TakeOutput(value);
      case kSrcNat:
        return TakeNat(true, false, has_value ? &value : nullptr);
      case kDstNat:
        return TakeNat(false, true, has_value ? &value : nullptr);
      case kAnyNat:
        return TakeNat(true, true, has_value ? &value : nullptr);
      case kZone:
        return TakeU16(value, &filter.zone);
      default:
        return TakeProtocolOption(code, value);
    }
  }

  bool TakeProtocolOption(int code, const std::string& value) {
    ConntrackFilter& filter = options_->filter;
    switch (code) {
      case kOrigSourcePort:
        return TakeU16(value, &filter.orig_source_port);
      case kOrigDestinationPort:
        return TakeU16(value, &filter.orig_destination_port);
      case kReplySourcePort:
        return TakeU16(value, &filter.reply_source_port);
      case kReplyDestinationPort:
        return TakeU16(value, &filter.reply_destination_port);
      case kIcmpType:
        return TakeU8(value, &filter.icmp_type);
      case kIcmpCode:
        return TakeU8(value, &filter.icmp_code);
      case kIcmpId:
        return TakeU16(value, &filter.icmp_id);
      case kTcpState:
        return TakeState(value);
      default:
        return true;  // -z, -b and the like
    }
  }

  // The original takes a number's low bits and anything else as 0.
  bool TakeU16(const std::string& value, std::optional<uint16_t>* field) {
    *field = static_cast<uint16_t>(std::strtoul(value.c_str(), nullptr, 0));
    return true;
  }
  bool TakeU8(const std::string& value, std::optional<uint8_t>* field) {
    *field = static_cast<uint8_t>(std::strtoul(value.c_str(), nullptr, 0));
    return true;
  }

  bool SetFamily(Family family) {
    ConntrackFilter& filter = options_->filter;
    if (filter.family && *filter.family != family) return Fail("mismatched address family");
    filter.family = family;
    return true;
  }

  bool TakePrefix(const std::string& value, std::optional<net::Prefix>* field) {
    const auto prefix = net::ParsePrefix(value);
    if (!prefix) return Fail(fmt::format("Invalid IP address `{}'", value));
    *field = *prefix;
    return SetFamily(prefix->family);
  }

  bool TakeMask(const std::string& value, std::optional<net::Prefix>* field) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      const auto address = net::ParseAddress(family, value);
      if (!address) continue;
      const auto length = net::MaskLength(family, *address);
      if (!length) break;
      if (!*field) return Fail("Can't use --mask-src without --orig-src");
      (*field)->length = static_cast<uint8_t>(*length);
      return SetFamily(family);
    }
    return Fail(fmt::format("Invalid IP address `{}'", value));
  }

  bool TakeProtocol(const std::string& value) {
    const auto protocol = ProtocolNumber(value);
    if (!protocol) return Fail(fmt::format("`{}' unsupported protocol", value));
    options_->filter.protocol = protocol;
    const auto add = [this](std::span<const OptionSpec> more) {
      specs_.insert(specs_.end(), more.begin(), more.end());
    };
    if (net::HasPorts(*protocol)) add(kPortOptions);
    if (*protocol == net::kProtoTcp) specs_.push_back(kStateOption);
    if (*protocol == net::kProtoIcmp) add(kIcmpOptions);
    if (*protocol == net::kProtoIcmpv6) add(kIcmpv6Options);
    return true;
  }

  bool TakeFamily(const std::string& value) {
    if (value == "ipv4") return SetFamily(Family::kIpv4);
    if (value == "ipv6") return SetFamily(Family::kIpv6);
    return Fail(fmt::format("`{}' unsupported protocol", value));
  }

  bool TakeMark(const std::string& value) {
    char* end = nullptr;
    options_->filter.mark = static_cast<uint32_t>(std::strtoul(value.c_str(), &end, 0));
    options_->filter.mark_mask = 0xffffffff;
    if (*end == '/') {
      options_->filter.mark_mask = static_cast<uint32_t>(std::strtoul(end + 1, nullptr, 0));
    }
    return true;
  }

  bool TakeState(const std::string& value) {
    for (size_t i = 0; i < static_cast<size_t>(ctrack::TcpState::kCount); ++i) {
      const auto state = static_cast<ctrack::TcpState>(i);
      if (ToString(state) != value) continue;
      options_->filter.state = state;
      return true;
    }
    return Fail(fmt::format("unknown TCP state `{}'", value));
  }

  // Calls `take` with each part of a list with commas until it refuses one.
  template <typename Take>
  bool Parts(const std::string& value, Take take) {
    size_t begin = 0;
    for (;;) {
      const size_t comma = value.find(',', begin);
      const std::string part = value.substr(begin, comma - begin);
      if (!take(part)) return Fail(fmt::format("Bad parameter `{}'", value));
      if (comma == std::string::npos) return true;
      begin = comma + 1;
    }
  }

  bool TakeStatus(const std::string& value) {
    uint32_t* status = &options_->filter.status;
    return Parts(value, [status](const std::string& part) {
      if (part == "ASSURED") *status |= ctrack::kAssured;
      if (part == "SEEN_REPLY") *status |= ctrack::kSeenReply;
      if (part == "FIXED_TIMEOUT") *status |= ctrack::kFixedTimeout;
      if (part == "EXPECTED") *status |= ctrack::kExpected;
      return part == "ASSURED" || part == "SEEN_REPLY" || part == "FIXED_TIMEOUT" ||
             part == "EXPECTED" || part == "UNSET";
    });
  }

  bool TakeOutput(const std::string& value) {
    ConntrackFormat* format = &options_->format;
    return Parts(value, [format](const std::string& part) {
      if (part == "xml") format->kind = ConntrackFormat::Kind::kXml;
      if (part == "save") format->kind = ConntrackFormat::Kind::kSave;
      if (part == "extended") format->extended = true;
      if (part == "id") format->id = true;
      if (part == "ktimestamp") format->ktimestamp = true;
      // timestamp is for events; labels and userspace add nothing to a listing of ours.
      return part == "xml" || part == "save" || part == "extended" || part == "id" ||
             part == "ktimestamp" || part == "timestamp" || part == "labels" || part == "userspace";
    });
  }

  // ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT.
  bool TakeNat(bool source, bool destination, const std::string* value) {
    ConntrackFilter::Nat nat;
    if (options_->filter.nat) nat = *options_->filter.nat;
    nat.source = nat.source || source;
    nat.destination = nat.destination || destination;
    if (value != nullptr) {
      std::string host = *value;
      std::string port;
      const size_t colon = host.rfind(':');
      const bool bracket = host.starts_with('[');
      const bool one_colon = colon != std::string::npos && host.find(':') == colon;
      if (one_colon || (bracket && colon != std::string::npos && host[colon - 1] == ']')) {
        port = host.substr(colon + 1);
        host.resize(colon);
      }
      if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
      nat.address_family = host.find(':') == std::string::npos ? Family::kIpv4 : Family::kIpv6;
      nat.address = net::ParseAddress(*nat.address_family, host);
      if (!nat.address) return Fail(fmt::format("Invalid IP address `{}'", host));
      unsigned long number = 0;
      if (!port.empty()) {
        if (!ParseNumber(port, 65535, &number))
          return Fail(fmt::format("Bad parameter `{}'", port));
        nat.port = static_cast<uint16_t>(number);
      }
    }
    options_->filter.nat = nat;
    return true;
  }

  bool Finish() {
    for (const OptionSpec* spec : given_) {
      if (!Illegal(options_->verb, spec->code)) continue;
      return Fail(fmt::format("Illegal option `--{}' with this command", spec->name));
    }
    return true;
  }

  OptionWalk walk_;
  ConntrackOptions* options_;
  ConntrackError* error_;
  std::vector<OptionSpec> specs_;         // grows with -p
  std::vector<const OptionSpec*> given_;  // beside the verb
};

}  // namespace

bool ParseConntrackOptions(const std::vector<std::string>& arguments, ConntrackOptions* options,
                           ConntrackError* error) {
  return Parser(arguments, options, error).Parse();
}

}  // namespace postern::control

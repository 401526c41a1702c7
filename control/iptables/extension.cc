#include "control/iptables/extension.h"

#include "control/iptables/problem.h"

namespace postern::control::iptables {
namespace {

// 32-bit numbers unless the option says otherwise.
constexpr uint64_t kMax32 = 0xffffffff;

void ParseString(const OptionCall& call) {
  const OptionSpec& option = *call.option;
  if (option.min != 0 && call.argument.size() < option.min) {
    Fail("Argument must have a minimum length of {} characters\n", option.min);
  }
  if (option.max != 0 && call.argument.size() > option.max) {
    Fail("Argument must have a maximum length of {} characters\n", option.max);
  }
}

void ParseInteger(OptionCall* call) {
  const OptionSpec& option = *call->option;
  const uint64_t max = option.max != 0 ? option.max : kMax32;
  const auto value = ParseNumber(call->argument, option.min, max);
  if (!value) {
    Fail("{}: bad value for option \"--{}\", or out of range ({}-{}).\n", call->extension,
         option.name, option.min, max);
  }
  call->number = *value;
}

[[noreturn]] void TooManyParts(const OptionCall& call) {
  Fail("{}: Too many components for option \"--{}\" (max: {})\n", call.extension, call.option->name,
       2);
}

void ParseIntegerRange(OptionCall* call) {
  std::string rest = call->argument;
  for (int part = 0;; ++part) {
    if (part == 2) TooManyParts(*call);
    uint64_t value = part == 1 ? kMax32 : 0;
    if (!rest.empty() && rest.front() != ':') {
      std::string after;
      const auto number = ParseNumber(rest, 0, kMax32, &after);
      if (!number) {
        Fail("{}: bad value for option \"--{}\" near \"{}\", or out of range (0-{}).\n",
             call->extension, call->option->name, rest, kMax32);
      }
      if (!after.empty() && after.front() != ':') {
        Fail("{}: Argument to \"--{}\" has unexpected characters near \"{}\".\n", call->extension,
             call->option->name, after);
      }
      value = *number;
      rest = after;
    }
    (part == 0 ? call->number : call->second) = value;
    if (rest.empty()) {
      if (part == 0) call->second = value;
      return;
    }
    rest.erase(0, 1);
  }
}

// As getaddrinfo() takes a service: a decimal number, cut to 32 bits, that isn't negative then (of
// which 16 bits count), or a name.
uint16_t ResolvePort(const std::string& text) {
  char* end = nullptr;
  const auto number = static_cast<int32_t>(std::strtoul(text.c_str(), &end, 10));
  if (*end == '\0' && number >= 0) return static_cast<uint16_t>(number);
  const auto port = ServiceToPort(text, nullptr);
  if (!port) Fail("Port \"{}\" does not resolve to anything.\n", text);
  return *port;
}

void ParsePortRange(OptionCall* call) {
  uint16_t range[2] = {0, 65535};
  size_t start = 0;
  int part = 0;
  while (true) {
    if (part == 2) TooManyParts(*call);
    const size_t colon = call->argument.find(':', start);
    const std::string text =
        call->argument.substr(start, colon == std::string::npos ? colon : colon - start);
    if (!text.empty()) range[part] = ResolvePort(text);
    ++part;
    if (colon == std::string::npos) break;
    start = colon + 1;
  }
  call->ports = PortRange{range[0], part == 1 ? range[0] : range[1]};
}

void ParsePrefixMask(const std::string& text, OptionCall* call) {
  const Family family = call->rule->family;
  const unsigned full = family == Family::kIpv4 ? 32 : 128;
  if (const auto length = ParseNumber(text, 0, full)) {
    call->prefix_length = static_cast<unsigned>(*length);
  } else {
    // The original reads a mask of one number, too: 4294901760 is 255.255.0.0.
    const auto number = family == Family::kIpv4 ? ParseNumber(text, 0, UINT32_MAX) : std::nullopt;
    const auto mask = ParseNumericAddress(
        family, number ? fmt::format("{}.{}.{}.{}", *number >> 24, *number >> 16 & 255,
                                     *number >> 8 & 255, *number & 255)
                       : text);
    if (!mask) {
      Fail(
          "{}: bad value for option \"--{}\", neither a valid network mask nor valid CIDR "
          "(0-{}).\n",
          call->extension, call->option->name, full);
    }
    // The original shifts by the length, -1 for a mask with holes: that ends up as all ones.
    const int bits = MaskBits(family, *mask);
    call->prefix_length = bits < 0 ? full : static_cast<unsigned>(bits);
  }
  call->mask = net::PrefixMask(family, call->prefix_length);
}

void ParseHostMask(OptionCall* call) {
  const size_t slash = call->argument.find('/');
  call->address = ParseHost(call->rule->family, call->argument.substr(0, slash));
  if (slash == std::string::npos) {
    call->mask = AllOnes(call->rule->family);
  } else {
    ParsePrefixMask(call->argument.substr(slash + 1), call);
  }
}

void ParseMarkMask(OptionCall* call) {
  const auto bad = [call] {
    Fail("{}: bad integer value for option \"--{}\", or out of range.\n", call->extension,
         call->option->name);
  };
  std::string rest;
  call->second = kMax32;
  const auto value = ParseNumber(call->argument, 0, kMax32, &rest);
  if (!value) bad();
  call->number = *value;
  if (rest.starts_with('/')) {
    const auto mask = ParseNumber(rest.substr(1), 0, kMax32, &rest);
    if (!mask) bad();
    call->second = *mask;
  }
  if (!rest.empty()) {
    Fail("{}: trailing garbage after value for option \"--{}\".\n", call->extension,
         call->option->name);
  }
}

void ParseLogLevel(OptionCall* call) {
  struct Level {
    const char* name;
    uint8_t number;
  };
  static constexpr Level kLevels[] = {{"alert", 1},  {"crit", 2},  {"debug", 7},
                                      {"emerg", 0},  {"error", 3}, {"info", 6},
                                      {"notice", 5}, {"panic", 0}, {"warning", 4}};
  if (const auto number = ParseNumber(call->argument, 0, 7)) {
    call->number = *number;
    return;
  }
  for (const Level& level : kLevels) {
    if (call->argument == level.name) {
      call->number = level.number;
      return;
    }
  }
  Fail("log level \"{}\" unknown\n", call->argument);
}

void ParseByType(OptionCall* call) {
  switch (call->option->type) {
    case OptionType::kString:
      return ParseString(*call);
    case OptionType::kUint32:
      return ParseInteger(call);
    case OptionType::kUint32Range:
      return ParseIntegerRange(call);
    case OptionType::kPortRange:
      return ParsePortRange(call);
    case OptionType::kHost:
      call->address = ParseHost(call->rule->family, call->argument);
      return;
    case OptionType::kHostMask:
      return ParseHostMask(call);
    case OptionType::kPrefixMask:
      return ParsePrefixMask(call->argument, call);
    case OptionType::kMarkMask:
      return ParseMarkMask(call);
    case OptionType::kLogLevel:
      return ParseLogLevel(call);
    case OptionType::kProtocol:
      call->number = ParseProtocol(call->argument);
      return;
    case OptionType::kNone:
    case OptionType::kPlain:
    case OptionType::kPlainNone:
      return;
  }
}

}  // namespace

void PrepareCall(OptionCall* call) {
  const OptionSpec& option = *call->option;
  if (option.type == OptionType::kPlain || option.type == OptionType::kPlainNone) return;
  if ((call->given & Bit(option.id)) != 0) {
    Fail("{}: option \"--{}\" can only be used once.\n", call->extension, option.name);
  }
  if (call->invert && (option.flags & OptionSpec::kInvert) == 0) {
    Fail("{}: option \"--{}\" cannot be inverted.\n", call->extension, option.name);
  }
  ParseByType(call);
}

void CheckTable(const Extension& extension, uint32_t given) {
  const auto options = extension.options();
  for (const OptionSpec& option : options) {
    if (option.type == OptionType::kPlain || option.type == OptionType::kPlainNone) return;
    const bool used = (given & Bit(option.id)) != 0;
    if ((option.flags & OptionSpec::kMandatory) != 0 && !used) {
      Fail("{}: option \"--{}\" must be specified\n", extension.name(), option.name);
    }
    if (!used) continue;
    for (unsigned id = 0; id < 32; ++id) {
      if (id == option.id) continue;
      const OptionSpec* other = nullptr;
      for (const OptionSpec& candidate : options) {
        if (candidate.id == id) {
          other = &candidate;
          break;
        }
      }
      if (other == nullptr) continue;
      const bool other_used = (given & Bit(id)) != 0;
      if ((option.needs & Bit(id)) != 0 && !other_used) {
        Fail("{}: option \"--{}\" also requires \"--{}\".\n", extension.name(), option.name,
             other->name);
      }
      if ((option.excludes & Bit(id)) != 0 && other_used) {
        Fail("{}: option \"--{}\" cannot be used together with \"--{}\".\n", extension.name(),
             option.name, other->name);
      }
    }
  }
}

}  // namespace postern::control::iptables

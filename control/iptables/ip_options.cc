#include "control/iptables/ip_options.h"

#include <cstdlib>

#include "control/iptables/problem.h"

namespace postern::control::iptables {

rules::InterfaceMatch ParseInterface(const std::string& name, bool invert, std::string* warnings) {
  constexpr size_t kMaxInterface = 15;
  if (name.size() > kMaxInterface) {
    Fail("interface name `{}' must be shorter than IFNAMSIZ ({})", name, kMaxInterface);
  }
  // Names are saved without quotes.
  if (name.find_first_of("\" \t\n\v\f\r") != name.npos) {
    Fail("interface name `{}' has a blank or a quote", name);
  }
  if (name.find('/') != name.npos) {
    *warnings += fmt::format(
        "Warning: weird character in interface `{}' ('/' and ' ' are not allowed by the "
        "kernel).\n",
        name);
  }
  // A lone `+` is every interface: nothing to match.
  if (name == "+" && !invert) return {};
  return {name, invert};
}

std::string WarningOfProtocol(const std::string& name, uint8_t protocol) {
  constexpr uint8_t kRouting = 43, kFragment = 44, kAuthentication = 51, kDestination = 60;
  if (protocol != kRouting && protocol != kFragment && protocol != kAuthentication &&
      protocol != kDestination) {
    return "";
  }
  return fmt::format("Warning: never matched protocol: {}. use extension match instead.\n", name);
}

std::optional<uint64_t> LeadingNumber(const std::string& text) {
  char* end = nullptr;
  const uint64_t value = std::strtoull(text.c_str(), &end, 10);
  if (end == text.c_str()) return std::nullopt;
  return value;
}

rules::Counters CountersOf(const std::string& packets, const std::string& bytes) {
  const auto packet_count = LeadingNumber(packets);
  if (!packet_count) Fail("-c packet counter not numeric");
  const auto byte_count = LeadingNumber(bytes);
  if (!byte_count) Fail("-c byte counter not numeric");
  return {*packet_count, *byte_count};
}

}  // namespace postern::control::iptables

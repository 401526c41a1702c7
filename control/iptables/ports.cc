#include "control/iptables/ports.h"

#include "control/iptables/problem.h"

namespace postern::control::iptables {

PortRange ParsePlainPorts(const std::string& text, const char* protocol) {
  const size_t colon = text.find(':');
  if (colon == text.npos) {
    const uint16_t port = ParsePort(text, protocol);
    return {port, port};
  }
  PortRange range;
  if (colon > 0) range.first = ParsePort(text.substr(0, colon), protocol);
  if (colon + 1 < text.size()) range.last = ParsePort(text.substr(colon + 1), protocol);
  if (range.first > range.last) Fail("invalid portrange (min > max)");
  return range;
}

void NormalizePorts(PortRange* ports, bool* invert) {
  constexpr uint16_t kLast = 65535;
  // A single port stays what it is, port 0 too.
  if (!*invert || ports->first != 0 || ports->last == 0 || ports->last == kLast) return;
  *ports = {static_cast<uint16_t>(ports->last + 1), kLast};
  *invert = false;
}

void SavePorts(std::string_view option, const PortRange& ports, bool invert, std::string* out) {
  if (ports.IsAll()) return;
  if (invert) *out += " !";
  *out += fmt::format(" --{} {}", option, ports.first);
  if (ports.first != ports.last) *out += fmt::format(":{}", ports.last);
}

void ListPorts(std::string_view label, const PortRange& ports, bool invert, const char* protocol,
               bool numeric, std::string* out) {
  if (ports.IsAll() && !invert) return;
  const bool single = ports.first == ports.last;
  *out += fmt::format(" {}{}:{}", label, single ? "" : "s", invert ? "!" : "");
  *out += PortName(ports.first, protocol, numeric);
  if (!single) *out += ":" + PortName(ports.last, protocol, numeric);
}

}  // namespace postern::control::iptables

#include "control/log_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "control/invalid_text.h"
#include "control/log_packet.h"

namespace postern::control {
namespace {

using net::Family;
using Options = rules::LogTarget::Option;

std::string_view NameOf(net::PortId port, const std::vector<std::string>& names) {
  if (port == net::kLoopbackPort) return "lo";
  return port < names.size() ? std::string_view(names[port]) : std::string_view();
}

void AddMac(const pipeline::LogRecord& record, std::string* line) {
  constexpr size_t kEthernet = 14;
  const uint8_t* frame = record.bytes;
  const bool there = record.l3_offset >= kEthernet && record.captured >= kEthernet;
  const auto join = [](const uint8_t* bytes, size_t size) {
    return fmt::format("{:02x}", fmt::join(bytes, bytes + size, ":"));
  };
  if (there && (record.options & Options::kMacDecode) != 0) {
    *line += fmt::format("MACSRC={} MACDST={} MACPROTO={:04x} ", join(frame + 6, 6), join(frame, 6),
                         U16(frame + 12));
    return;
  }
  *line += "MAC=";
  if (there) *line += join(frame, kEthernet);
  *line += ' ';
}

}  // namespace

std::string FormatLogLine(const pipeline::LogRecord& record,
                          const std::vector<std::string>& port_names) {
  std::string line(record.prefix, strnlen(record.prefix, sizeof(record.prefix)));
  line += InvalidText(record);
  line +=
      fmt::format("IN={} OUT={} ", NameOf(record.in, port_names), NameOf(record.out, port_names));
  if (record.in != net::kNoPort) AddMac(record, &line);
  const size_t captured = std::min<size_t>(record.captured, sizeof(record.bytes));
  const size_t begin = std::min<size_t>(record.l3_offset, captured);
  const Datagram datagram({record.bytes + begin, captured - begin}, record.l3_length);
  PacketDumper dumper(record, datagram, &line);
  if (record.family == Family::kIpv4) {
    dumper.Ipv4(0, false);
  } else {
    dumper.Ipv6(0, false);
  }
  return line;
}

}  // namespace postern::control

// Facts of format from Linux 6's net/netfilter/nf_log_syslog.c: the order and spelling of fields,
// what is printed of a header that is cut short, and that a quoted packet is printed in brackets,
// once.
#include "control/log_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "control/invalid_text.h"
#include "dataplane/net/byte_order.h"
#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using net::Family;
using Options = rules::LogTarget::Option;

// The bytes of a datagram as far as they were captured, and its true length.
class Datagram {
 public:
  Datagram(std::span<const uint8_t> bytes, size_t length) : bytes_(bytes), length_(length) {}

  // `size` bytes at `offset`, or null where the datagram ends before or wasn't captured so far.
  const uint8_t* At(size_t offset, size_t size) const {
    if (offset > length_ || size > length_ - offset) return nullptr;
    if (offset > bytes_.size() || size > bytes_.size() - offset) return nullptr;
    return bytes_.data() + offset;
  }
  // Bytes from `offset` to the datagram's end.
  size_t After(size_t offset) const { return offset < length_ ? length_ - offset : 0; }

 private:
  std::span<const uint8_t> bytes_;
  size_t length_;
};

unsigned U16(const uint8_t* p) { return unsigned{p[0]} << 8 | p[1]; }
uint32_t U32(const uint8_t* p) { return uint32_t{U16(p)} << 16 | U16(p + 2); }

class Dumper {
 public:
  Dumper(const pipeline::LogRecord& record, const Datagram& datagram, std::string* line)
      : record_(record), datagram_(datagram), line_(*line) {}

  // `quoted`: inside the brackets of an ICMP error.
  void Ipv4(size_t offset, bool quoted);
  void Ipv6(size_t offset, bool quoted);

 private:
  enum class Next { kGoOn, kStop };

  template <typename... Args>
  void Add(fmt::format_string<Args...> format, Args&&... args) {
    line_ += fmt::format(format, std::forward<Args>(args)...);
  }
  bool Has(Options option) const { return (record_.options & option) != 0; }
  void Incomplete(size_t offset) { Add("INCOMPLETE [{} bytes] ", datagram_.After(offset)); }
  void Hex(const uint8_t* bytes, size_t size) {
    for (size_t i = 0; i < size; ++i) Add("{:02X}", bytes[i]);
  }
  void Mark(bool quoted) {
    if (!quoted && record_.mark != 0) Add("MARK={:#x} ", record_.mark);
  }

  Next Tcp(size_t offset, bool fragment);
  Next Udp(size_t offset, bool fragment, bool lite);
  void Icmp(size_t offset, bool fragment, bool quoted);
  Next Icmpv6(size_t offset, bool fragment, bool quoted);
  // AH and ESP under IPv4.
  Next Security(std::string_view name, size_t offset, size_t spi, size_t size, bool fragment);
  // One IPv6 extension header; moves *offset and *header on.
  Next Extension(size_t* offset, uint8_t* header, bool* fragment);

  const pipeline::LogRecord& record_;
  const Datagram& datagram_;
  std::string& line_;
};

void Dumper::Ipv4(size_t offset, bool quoted) {
  const uint8_t* ip = datagram_.At(offset, 20);
  if (ip == nullptr) {
    line_ += "TRUNCATED";
    return;
  }
  const size_t header = static_cast<size_t>(ip[0] & 0x0f) * 4;
  const unsigned fragment = U16(ip + 6);
  Add("SRC={}.{}.{}.{} DST={}.{}.{}.{} ", ip[12], ip[13], ip[14], ip[15], ip[16], ip[17], ip[18],
      ip[19]);
  Add("LEN={} TOS=0x{:02X} PREC=0x{:02X} TTL={} ID={} ", U16(ip + 2), ip[1] & 0x1e, ip[1] & 0xe0,
      ip[8], U16(ip + 4));
  if ((fragment & 0x8000) != 0) line_ += "CE ";
  if ((fragment & 0x4000) != 0) line_ += "DF ";
  if ((fragment & 0x2000) != 0) line_ += "MF ";
  const bool later = (fragment & 0x1fff) != 0;
  if (later) Add("FRAG:{} ", fragment & 0x1fff);
  if (Has(Options::kIpOptions) && header > 20) {
    const uint8_t* options = datagram_.At(offset + 20, header - 20);
    if (options == nullptr) {
      line_ += "TRUNCATED";
      return;
    }
    line_ += "OPT (";
    Hex(options, header - 20);
    line_ += ") ";
  }
  Next next = Next::kGoOn;
  const size_t l4 = offset + header;
  switch (ip[9]) {
    case net::kProtoTcp:
      next = Tcp(l4, later);
      break;
    case net::kProtoUdp:
    case net::kProtoUdpLite:
      next = Udp(l4, later, ip[9] == net::kProtoUdpLite);
      break;
    case net::kProtoIcmp:
      Icmp(l4, later, quoted);
      break;
    case net::kProtoAh:
      next = Security("AH", l4, 4, 12, later);
      break;
    case net::kProtoEsp:
      next = Security("ESP", l4, 0, 8, later);
      break;
    default:
      Add("PROTO={} ", ip[9]);
  }
  if (next == Next::kGoOn) Mark(quoted);
}

Dumper::Next Dumper::Tcp(size_t offset, bool fragment) {
  line_ += "PROTO=TCP ";
  if (fragment) return Next::kGoOn;
  const uint8_t* tcp = datagram_.At(offset, 20);
  if (tcp == nullptr) {
    Incomplete(offset);
    return Next::kStop;
  }
  Add("SPT={} DPT={} ", U16(tcp), U16(tcp + 2));
  if (Has(Options::kTcpSequence)) Add("SEQ={} ACK={} ", U32(tcp + 4), U32(tcp + 8));
  Add("WINDOW={} RES=0x{:02x} ", U16(tcp + 14), (tcp[12] & 0x0fU) << 2);
  constexpr std::array<std::string_view, 8> kFlags = {"CWR ", "ECE ", "URG ", "ACK ",
                                                      "PSH ", "RST ", "SYN ", "FIN "};
  for (size_t i = 0; i < kFlags.size(); ++i) {
    if ((tcp[13] & (0x80U >> i)) != 0) line_ += kFlags[i];
  }
  Add("URGP={} ", U16(tcp + 18));
  const size_t header = static_cast<size_t>(tcp[12] >> 4) * 4;
  if (Has(Options::kTcpOptions) && header > 20) {
    const uint8_t* options = datagram_.At(offset + 20, header - 20);
    if (options == nullptr) {
      line_ += "OPT (TRUNCATED)";
      return Next::kStop;
    }
    line_ += "OPT (";
    Hex(options, header - 20);
    line_ += ") ";
  }
  return Next::kGoOn;
}

Dumper::Next Dumper::Udp(size_t offset, bool fragment, bool lite) {
  line_ += lite ? "PROTO=UDPLITE " : "PROTO=UDP ";
  if (fragment) return Next::kGoOn;
  const uint8_t* udp = datagram_.At(offset, 8);
  if (udp == nullptr) {
    Incomplete(offset);
    return Next::kStop;
  }
  Add("SPT={} DPT={} LEN={} ", U16(udp), U16(udp + 2), U16(udp + 4));
  return Next::kGoOn;
}

Dumper::Next Dumper::Security(std::string_view name, size_t offset, size_t spi, size_t size,
                              bool fragment) {
  Add("PROTO={} ", name);
  if (fragment) return Next::kGoOn;
  const uint8_t* header = datagram_.At(offset, size);
  if (header == nullptr) {
    Incomplete(offset);
  } else {
    Add("SPI={:#x} ", U32(header + spi));
  }
  return Next::kGoOn;
}

// The least that each ICMP type has; 0: no demand.
size_t RequiredIcmp(uint8_t type) {
  switch (type) {
    case net::kIcmpEchoReply:
    case net::kIcmpEchoRequest:
      return 4;
    case net::kIcmpUnreachable:
    case net::kIcmpSourceQuench:
    case net::kIcmpRedirect:
    case net::kIcmpTimeExceeded:
    case net::kIcmpParameterProblem:
      return 8 + 20;
    case net::kIcmpTimestampRequest:
    case net::kIcmpTimestampReply:
      return 20;
    case net::kIcmpAddressRequest:
    case net::kIcmpAddressReply:
      return 12;
    default:
      return 0;
  }
}

void Dumper::Icmp(size_t offset, bool fragment, bool quoted) {
  line_ += "PROTO=ICMP ";
  if (fragment) return;
  const uint8_t* icmp = datagram_.At(offset, 8);
  if (icmp == nullptr) {
    Incomplete(offset);
    return;
  }
  const uint8_t type = icmp[0];
  Add("TYPE={} CODE={} ", type, icmp[1]);
  if (datagram_.After(offset) < RequiredIcmp(type)) {
    Incomplete(offset);
    return;
  }
  switch (type) {
    case net::kIcmpEchoReply:
    case net::kIcmpEchoRequest:
      Add("ID={} SEQ={} ", U16(icmp + 4), U16(icmp + 6));
      return;
    case net::kIcmpParameterProblem:
      Add("PARAMETER={} ", icmp[4]);
      return;
    case net::kIcmpRedirect:
      Add("GATEWAY={}.{}.{}.{} ", icmp[4], icmp[5], icmp[6], icmp[7]);
      break;
    case net::kIcmpUnreachable:
    case net::kIcmpSourceQuench:
    case net::kIcmpTimeExceeded:
      break;
    default:
      return;
  }
  if (!quoted) {
    line_ += '[';
    Ipv4(offset + 8, true);
    line_ += "] ";
  }
  constexpr uint8_t kFragmentationNeeded = 4;
  if (type == net::kIcmpUnreachable && icmp[1] == kFragmentationNeeded) {
    Add("MTU={} ", U16(icmp + 6));
  }
}

void AddIpv6Address(const uint8_t* address, std::string* line) {
  for (size_t i = 0; i < 16; i += 2) {
    *line += fmt::format("{}{:04x}", i == 0 ? "" : ":", U16(address + i));
  }
}

void Dumper::Ipv6(size_t offset, bool quoted) {
  const uint8_t* ip = datagram_.At(offset, 40);
  if (ip == nullptr) {
    line_ += "TRUNCATED";
    return;
  }
  line_ += "SRC=";
  AddIpv6Address(ip + 8, &line_);
  line_ += " DST=";
  AddIpv6Address(ip + 24, &line_);
  const uint32_t first = U32(ip);
  Add(" LEN={} TC={} HOPLIMIT={} FLOWLBL={} ", U16(ip + 4) + 40, (first & 0x0ff00000) >> 20, ip[7],
      first & 0x000fffff);
  uint8_t header = ip[6];
  size_t at = offset + 40;
  bool fragment = false;
  const auto is_extension = [](uint8_t h) {
    return h == net::kProtoHopByHop || h == net::kProtoRouting || h == net::kProtoFragment ||
           h == net::kProtoEsp || h == net::kProtoAh || h == net::kProtoDestinationOptions;
  };
  while (is_extension(header)) {
    if (Extension(&at, &header, &fragment) == Next::kStop) return;
  }
  Next next = Next::kGoOn;
  switch (header) {
    case net::kProtoTcp:
      next = Tcp(at, fragment);
      break;
    case net::kProtoUdp:
    case net::kProtoUdpLite:
      next = Udp(at, fragment, header == net::kProtoUdpLite);
      break;
    case net::kProtoIcmpv6:
      next = Icmpv6(at, fragment, quoted);
      break;
    default:
      Add("PROTO={} ", header);
  }
  if (next == Next::kGoOn) Mark(quoted);
}

Dumper::Next Dumper::Extension(size_t* offset, uint8_t* header, bool* fragment) {
  const uint8_t* extension = datagram_.At(*offset, 2);
  if (extension == nullptr) {
    line_ += "TRUNCATED";
    return Next::kStop;
  }
  const bool options = Has(Options::kIpOptions);
  if (options) line_ += "OPT ( ";
  size_t size = 8;
  switch (*header) {
    case net::kProtoFragment: {
      line_ += "FRAG:";
      const uint8_t* f = datagram_.At(*offset, 8);
      if (f == nullptr) {
        line_ += "TRUNCATED ";
        return Next::kStop;
      }
      Add("{} ", U16(f + 2) & 0xfff8);
      if ((f[3] & 1) != 0) line_ += "INCOMPLETE ";
      Add("ID:{:08x} ", U32(f + 4));
      if ((U16(f + 2) & 0xfff8) != 0) *fragment = true;
      break;
    }
    case net::kProtoAh:
    case net::kProtoEsp: {
      const bool ah = *header == net::kProtoAh;
      if (!options && !ah) return Next::kStop;
      size = (size_t{extension[1]} + 2) * 4;
      if (!options) break;
      line_ += ah ? "AH " : "ESP ";
      const uint8_t* h = datagram_.At(*offset, ah ? 12 : 8);
      if (*fragment || h == nullptr) {
        if (!*fragment) Incomplete(*offset);
        line_ += ')';
        return Next::kStop;
      }
      Add("SPI={:#x} ", U32(ah ? h + 4 : h));
      if (ah) break;
      line_ += ')';
      return Next::kStop;
    }
    default:  // hop by hop, routing, destination options
      if (*fragment) {
        if (options) line_ += ')';
        return Next::kStop;
      }
      size = (size_t{extension[1]} + 1) * 8;
  }
  if (options) line_ += ") ";
  *header = extension[0];
  *offset += size;
  return Next::kGoOn;
}

Dumper::Next Dumper::Icmpv6(size_t offset, bool fragment, bool quoted) {
  line_ += "PROTO=ICMPv6 ";
  if (fragment) return Next::kGoOn;
  const uint8_t* icmp = datagram_.At(offset, 8);
  if (icmp == nullptr) {
    Incomplete(offset);
    return Next::kStop;
  }
  const uint8_t type = icmp[0];
  Add("TYPE={} CODE={} ", type, icmp[1]);
  switch (type) {
    case net::kIcmpv6EchoRequest:
    case net::kIcmpv6EchoReply:
      Add("ID={} SEQ={} ", U16(icmp + 4), U16(icmp + 6));
      return Next::kGoOn;
    case net::kIcmpv6ParameterProblem:
      Add("POINTER={:08x} ", U32(icmp + 4));
      break;
    case net::kIcmpv6Unreachable:
    case net::kIcmpv6PacketTooBig:
    case net::kIcmpv6TimeExceeded:
      break;
    default:
      return Next::kGoOn;
  }
  if (!quoted) {
    line_ += '[';
    Ipv6(offset + 8, true);
    line_ += "] ";
  }
  if (type == net::kIcmpv6PacketTooBig) Add("MTU={} ", U32(icmp + 4));
  return Next::kGoOn;
}

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
  Dumper dumper(record, datagram, &line);
  if (record.family == Family::kIpv4) {
    dumper.Ipv4(0, false);
  } else {
    dumper.Ipv6(0, false);
  }
  return line;
}

}  // namespace postern::control

// Facts of format from Linux 6's net/netfilter/nf_log_syslog.c: the order and spelling of fields,
// what is printed of a header that is cut short, and that a quoted packet is printed in brackets,
// once.
#include "control/log_packet.h"

#include <array>

#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using net::Family;
using Options = rules::LogTarget::Option;

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

}  // namespace

void PacketDumper::Ipv4(size_t offset, bool quoted) {
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

PacketDumper::Next PacketDumper::Tcp(size_t offset, bool fragment) {
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

PacketDumper::Next PacketDumper::Udp(size_t offset, bool fragment, bool lite) {
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

PacketDumper::Next PacketDumper::Security(std::string_view name, size_t offset, size_t spi,
                                          size_t size, bool fragment) {
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

void PacketDumper::Icmp(size_t offset, bool fragment, bool quoted) {
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

}  // namespace postern::control

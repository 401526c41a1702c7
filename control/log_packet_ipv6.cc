#include <array>

#include "control/log_packet.h"
#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using net::Family;
using Options = rules::LogTarget::Option;

void AddIpv6Address(const uint8_t* address, std::string* line) {
  for (size_t i = 0; i < 16; i += 2) {
    *line += fmt::format("{}{:04x}", i == 0 ? "" : ":", U16(address + i));
  }
}

}  // namespace

void PacketDumper::Ipv6(size_t offset, bool quoted) {
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

PacketDumper::Next PacketDumper::Extension(size_t* offset, uint8_t* header, bool* fragment) {
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

PacketDumper::Next PacketDumper::Icmpv6(size_t offset, bool fragment, bool quoted) {
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

}  // namespace postern::control

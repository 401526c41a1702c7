#include "control/invalid_text.h"

#include <fmt/format.h>

#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using ctrack::InvalidNote;
using ctrack::InvalidWhy;

std::string TcpMove(const InvalidNote& note, const char* what) {
  return fmt::format("packet (index {}) in dir {} {}, state {}", note.event, note.direction, what,
                     ToString(static_cast<ctrack::TcpState>(note.state)));
}

// The kernel writes IPv6 addresses in full here.
std::string FullAddress(net::Family family, const net::IpAddress& address) {
  if (family == net::Family::kIpv4) return net::ToString(family, address);
  std::string text;
  for (int i = 0; i < 4; ++i) {
    const uint32_t word = address.Word(i);
    text += fmt::format("{}{:04x}:{:04x}", i == 0 ? "" : ":", word >> 16, word & 0xffff);
  }
  return text;
}

std::string OuterDestination(const pipeline::LogRecord& record) {
  const bool v4 = record.family == net::Family::kIpv4;
  const size_t at = size_t{record.l3_offset} + (v4 ? 16 : 24);
  const size_t width = v4 ? 4 : 16;
  net::IpAddress outer;
  if (at + width <= record.captured) {
    outer = net::IpAddress::FromWire(record.family, record.bytes + at);
  }
  return fmt::format("outer daddr {} != inner {}", FullAddress(record.family, outer),
                     FullAddress(record.family, record.invalid.address));
}

std::string Checksum(uint8_t protocol) {
  switch (protocol) {
    case net::kProtoIcmp:
      return "bad hw icmp checksum";
    case net::kProtoIcmpv6:
      return "ICMPv6 checksum failed";
    case net::kProtoSctp:
      return "nf_ct_sctp: bad CRC ";
    default:
      return "bad checksum";
  }
}

std::string Sentence(const pipeline::LogRecord& record) {
  const InvalidNote& note = record.invalid;
  switch (note.why) {
    case InvalidWhy::kNone:
      break;
    case InvalidWhy::kShort:
      return record.protocol == net::kProtoSctp ? "nf_ct_sctp: short packet " : "short packet";
    case InvalidWhy::kTruncated:
      return record.protocol == net::kProtoUdp ? "truncated/malformed packet" : "truncated packet";
    case InvalidWhy::kChecksum:
      return Checksum(record.protocol);
    case InvalidWhy::kCoverage:
      return "invalid checksum coverage";
    case InvalidWhy::kChecksumMissing:
      return "checksum missing";
    case InvalidWhy::kIcmpType:
      return "invalid icmp type";
    case InvalidWhy::kOuterDestination:
      return OuterDestination(record);
    case InvalidWhy::kRedirectShort:
      return "short redirect";
    case InvalidWhy::kRedirectSource:
      return "invalid saddr or hoplimit for redirect";
    case InvalidWhy::kRedirectOptions:
      return "redirect without options";
    case InvalidWhy::kTcpFlags:
      return "invalid tcp flag combination";
    case InvalidWhy::kTcpNew:
      return "invalid new";
    case InvalidWhy::kTcpInvalid:
      return TcpMove(note, "invalid");
    case InvalidWhy::kTcpIgnored:
      return TcpMove(note, "ignored");
    case InvalidWhy::kTcpChallengeAck:
      return "challenge-ack ignored";
    case InvalidWhy::kTcpReset:
      return "invalid rst";
    case InvalidWhy::kTcpOvershoot:
      return fmt::format("{} bytes more than expected", note.number);
    case InvalidWhy::kTcpSeqOver:
      return fmt::format("SEQ is over upper bound {} (over the window of the receiver)",
                         note.number);
    case InvalidWhy::kTcpSeqUnder:
      return fmt::format("SEQ is under lower bound {} (already ACKed data retransmitted)",
                         note.number);
    case InvalidWhy::kTcpAckOver:
      return fmt::format("ACK is over upper bound {} (ACKed data not seen yet)", note.number);
    case InvalidWhy::kTcpAckUnder:
      return fmt::format("ignored ACK under lower bound {} (possible overly delayed)", note.number);
    case InvalidWhy::kTcpShortened:
      return "lowered timeout to UNACK";
    case InvalidWhy::kSctpComposition:
      // The kernel ends this one with a newline, which would tear the line apart.
      return fmt::format("do_basic_checks failed. chunk num {}, type {}, len {} flag {}",
                         note.number, note.event, note.length, note.lone ? 1 : 0);
    case InvalidWhy::kSctpTag:
      return fmt::format("verification tag check failed {:x} vs {:x} for dir {}", note.number,
                         note.wanted, note.direction);
    case InvalidWhy::kSctpInvalid:
      return fmt::format("Invalid, old_state {}, dir {}, type {}", note.state, note.direction,
                         note.event);
  }
  return "";
}

}  // namespace

std::string InvalidText(const pipeline::LogRecord& record) {
  if (record.invalid.why == InvalidWhy::kNone) return "";
  return fmt::format("nf_ct_proto_{}: {} ", record.protocol, Sentence(record));
}

}  // namespace postern::control

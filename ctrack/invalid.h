// Why a packet is INVALID, or passes as one that only its ends can judge: what
// nf_conntrack_log_invalid writes down.
#pragma once

#include <cstdint>

#include "dataplane/net/address.h"
#include "dataplane/net/packet.h"

namespace postern::ctrack {

enum class InvalidWhy : uint8_t {
  kNone,       // it is valid, or netfilter says nothing of it
  kShort,      // the transport header isn't there
  kTruncated,  // its own lengths are wrong
  kChecksum,
  kCoverage,         // UDP-Lite
  kChecksumMissing,  // UDP-Lite
  kIcmpType,
  kOuterDestination,  // an ICMP error to somebody else than who sent what it quotes
  kRedirectShort,
  kRedirectSource,
  kRedirectOptions,
  kTcpFlags,
  kTcpNew,           // begins no connection
  kTcpInvalid,       // no transition from this state
  kTcpIgnored,       // passes, only the ends can judge it
  kTcpChallengeAck,  // passes
  kTcpReset,
  kTcpOvershoot,  // passes; by `number` bytes
  kTcpSeqOver,    // `number`: the bound
  kTcpSeqUnder,   // passes
  kTcpAckOver,
  kTcpAckUnder,      // passes
  kTcpShortened,     // nothing by itself: the connection now ends sooner
  kSctpComposition,  // `number`: which chunk, from 0
  kSctpTag,          // `number`: the packet's tag, `wanted`: the association's
  kSctpInvalid,      // no transition from this state
};

struct InvalidNote {
  InvalidWhy why = InvalidWhy::kNone;
  InvalidWhy then = InvalidWhy::kNone;  // kTcpShortened, or nothing more to say
  uint8_t direction = 0;  // with kTcpInvalid, kTcpIgnored, kSctpTag, kSctpInvalid: Direction
  uint8_t state = 0;      // TcpState, SctpState
  uint8_t event = 0;      // TcpEvent, or the SCTP chunk's type
  bool lone = false;      // kSctpComposition: a chunk that must stand alone came before or is this
  uint16_t length = 0;    // kSctpComposition: the chunk's, as it is on the wire
  uint32_t number = 0;
  uint32_t wanted = 0;     // as `number`, SCTP tags are as they are on the wire
  net::IpAddress address;  // kOuterDestination: of who sent what is quoted
};

// Why a packet whose transport header doesn't hold (ip.l4_valid is false) is INVALID.
InvalidWhy WhyMalformed(const net::Packet& packet);
// Why nothing can be read of the packet that this ICMP error should quote.
InvalidWhy WhyNothingQuoted(const net::Packet& packet);

}  // namespace postern::ctrack

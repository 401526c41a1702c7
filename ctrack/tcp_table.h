// The TCP state machine as data, as Linux 6.x' nf_conntrack_proto_tcp.c has it.
//
// The tracker is the man in the middle: a state is a guess about what both ends believe, from
// the packets that passed. kIgnored packets may be good or bad, only the ends can tell: they
// pass without a change of state and what they said is remembered. kBad packets are INVALID.
#pragma once

#include <array>
#include <cstdint>

#include "ctrack/connection.h"
#include "dataplane/net/wire.h"

namespace postern::ctrack {

// What a segment is to the state machine. RST counts before SYN, SYN before FIN, FIN before ACK.
enum class TcpEvent : uint8_t { kSyn, kSynAck, kFin, kAck, kRst, kNone, kCount };

constexpr TcpEvent EventOf(uint8_t flags) {
  if ((flags & net::kTcpRst) != 0) return TcpEvent::kRst;
  if ((flags & net::kTcpSyn) != 0) {
    return (flags & net::kTcpAck) != 0 ? TcpEvent::kSynAck : TcpEvent::kSyn;
  }
  if ((flags & net::kTcpFin) != 0) return TcpEvent::kFin;
  if ((flags & net::kTcpAck) != 0) return TcpEvent::kAck;
  return TcpEvent::kNone;
}

// A cell of the table: the next state, or one of the two that are none.
enum class TcpMove : uint8_t { kBad = 0xfe, kIgnored = 0xff };
constexpr TcpMove To(TcpState state) { return static_cast<TcpMove>(state); }

namespace tcp_table_internal {

inline constexpr TcpMove kIV = TcpMove::kBad;
inline constexpr TcpMove kIG = TcpMove::kIgnored;
inline constexpr TcpMove kSS = To(TcpState::kSynSent);
inline constexpr TcpMove kSR = To(TcpState::kSynRecv);
inline constexpr TcpMove kES = To(TcpState::kEstablished);
inline constexpr TcpMove kFW = To(TcpState::kFinWait);
inline constexpr TcpMove kCW = To(TcpState::kCloseWait);
inline constexpr TcpMove kLA = To(TcpState::kLastAck);
inline constexpr TcpMove kTW = To(TcpState::kTimeWait);
inline constexpr TcpMove kCL = To(TcpState::kClose);
inline constexpr TcpMove kS2 = To(TcpState::kSynSent2);

using Row = std::array<TcpMove, static_cast<size_t>(TcpState::kCount)>;
using Rows = std::array<Row, static_cast<size_t>(TcpEvent::kCount)>;

// clang-format off
inline constexpr std::array<Rows, 2> kTcpTable = {{
    // Original direction. From: NONE, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT,
    // LAST_ACK, TIME_WAIT, CLOSE, SYN_SENT2.
    {{
        /* syn    */ {kSS, kSS, kIG, kIG, kIG, kIG, kIG, kSS, kSS, kS2},
        /* synack */ {kIV, kIV, kSR, kIV, kIV, kIV, kIV, kIV, kIV, kSR},
        /* fin    */ {kIV, kIV, kFW, kFW, kLA, kLA, kLA, kTW, kCL, kIV},
        /* ack    */ {kES, kIV, kES, kES, kCW, kCW, kTW, kTW, kCL, kIV},
        /* rst    */ {kIV, kCL, kCL, kCL, kCL, kCL, kCL, kCL, kCL, kCL},
        /* none   */ {kIV, kIV, kIV, kIV, kIV, kIV, kIV, kIV, kIV, kIV},
    }},
    // Reply direction.
    {{
        /* syn    */ {kIV, kS2, kIV, kIV, kIV, kIV, kIV, kSS, kIV, kS2},
        /* synack */ {kIV, kSR, kIG, kIG, kIG, kIG, kIG, kIG, kIG, kSR},
        /* fin    */ {kIV, kIV, kFW, kFW, kLA, kLA, kLA, kTW, kCL, kIV},
        /* ack    */ {kIV, kIG, kSR, kES, kCW, kCW, kTW, kTW, kCL, kIG},
        /* rst    */ {kIV, kCL, kCL, kCL, kCL, kCL, kCL, kCL, kCL, kCL},
        /* none   */ {kIV, kIV, kIV, kIV, kIV, kIV, kIV, kIV, kIV, kIV},
    }},
}};
// clang-format on

}  // namespace tcp_table_internal

constexpr TcpMove NextTcpMove(Direction direction, TcpEvent event, TcpState state) {
  return tcp_table_internal::kTcpTable[static_cast<size_t>(direction)][static_cast<size_t>(event)]
                                      [static_cast<size_t>(state)];
}

// Which combinations of flags a segment may have; PSH, ECE and CWR are always welcome.
constexpr bool TcpFlagsValid(uint8_t flags) {
  using net::kTcpAck, net::kTcpFin, net::kTcpRst, net::kTcpSyn, net::kTcpUrg;
  switch (flags & ~(net::kTcpPsh | net::kTcpEce | net::kTcpCwr)) {
    case kTcpSyn:
    case kTcpSyn | kTcpUrg:
    case kTcpSyn | kTcpAck:
    case kTcpRst:
    case kTcpRst | kTcpAck:
    case kTcpFin | kTcpAck:
    case kTcpFin | kTcpAck | kTcpUrg:
    case kTcpAck:
    case kTcpAck | kTcpUrg:
      return true;
    default:
      return false;
  }
}

}  // namespace postern::ctrack

// The SCTP state machine as data, as Linux 6.x' nf_conntrack_proto_sctp.c has it.
//
// The states are the association's as a man in the middle guesses it from the chunks that passed (RFC
// 9260 section 4 has the ends' own): COOKIE_WAIT after an INIT was answered, COOKIE_ECHOED after the
// originator's COOKIE ECHO, ESTABLISHED after the answer to that. A tuple that begins with a HEARTBEAT is
// another path of an association that is there already.
#pragma once

#include <array>
#include <cstdint>

#include "ctrack/connection.h"

namespace postern::ctrack {

// RFC 9260 section 3.2.
enum SctpChunk : uint8_t {
  kSctpData = 0,
  kSctpInit = 1,
  kSctpInitAck = 2,
  kSctpHeartbeat = 4,
  kSctpHeartbeatAck = 5,
  kSctpAbort = 6,
  kSctpShutdown = 7,
  kSctpShutdownAck = 8,
  kSctpError = 9,
  kSctpCookieEcho = 10,
  kSctpCookieAck = 11,
  kSctpShutdownComplete = 14,
};

// A cell of the table: the next state, or none.
enum class SctpMove : uint8_t { kBad = 0xfe };
constexpr SctpMove To(SctpState state) { return static_cast<SctpMove>(state); }

namespace sctp_table_internal {

inline constexpr SctpMove kIV = SctpMove::kBad;
inline constexpr SctpMove kCL = To(SctpState::kClosed);
inline constexpr SctpMove kCW = To(SctpState::kCookieWait);
inline constexpr SctpMove kCE = To(SctpState::kCookieEchoed);
inline constexpr SctpMove kES = To(SctpState::kEstablished);
inline constexpr SctpMove kSS = To(SctpState::kShutdownSent);
inline constexpr SctpMove kSR = To(SctpState::kShutdownReceived);
inline constexpr SctpMove kSA = To(SctpState::kShutdownAckSent);
inline constexpr SctpMove kHS = To(SctpState::kHeartbeatSent);

struct Row {
  SctpChunk chunk;
  std::array<SctpMove, static_cast<size_t>(SctpState::kCount)> next;
};
using Rows = std::array<Row, 11>;

// clang-format off
inline constexpr std::array<Rows, 2> kSctpTable = {{
    // Original direction. From: NONE, CLOSED, COOKIE_WAIT, COOKIE_ECHOED, ESTABLISHED, SHUTDOWN_SENT,
    // SHUTDOWN_RECD, SHUTDOWN_ACK_SENT, HEARTBEAT_SENT.
    {{
        {kSctpInit,             {kCL, kCL, kCW, kCE, kES, kCL, kCL, kSA, kCW}},
        {kSctpInitAck,          {kCL, kCL, kCW, kCE, kES, kSS, kSR, kSA, kCL}},
        {kSctpAbort,            {kCL, kCL, kCL, kCL, kCL, kCL, kCL, kCL, kCL}},
        {kSctpShutdown,         {kCL, kCL, kCW, kCE, kSS, kSS, kSR, kSA, kCL}},
        {kSctpShutdownAck,      {kSA, kCL, kCW, kCE, kES, kSA, kSA, kSA, kSA}},
        {kSctpError,            {kCL, kCL, kCW, kCE, kES, kSS, kSR, kSA, kCL}},
        {kSctpCookieEcho,       {kCL, kCL, kCE, kCE, kES, kSS, kSR, kSA, kCL}},
        {kSctpCookieAck,        {kCL, kCL, kCW, kES, kES, kSS, kSR, kSA, kCL}},
        {kSctpShutdownComplete, {kCL, kCL, kCW, kCE, kES, kSS, kSR, kCL, kCL}},
        {kSctpHeartbeat,        {kHS, kCL, kCW, kCE, kES, kSS, kSR, kSA, kHS}},
        {kSctpHeartbeatAck,     {kCL, kCL, kCW, kCE, kES, kSS, kSR, kSA, kHS}},
    }},
    // Reply direction.
    {{
        {kSctpInit,             {kIV, kCL, kCW, kCE, kES, kSS, kSR, kSA, kIV}},
        {kSctpInitAck,          {kIV, kCW, kCW, kCE, kES, kSS, kSR, kSA, kIV}},
        {kSctpAbort,            {kIV, kCL, kCL, kCL, kCL, kCL, kCL, kCL, kIV}},
        {kSctpShutdown,         {kIV, kCL, kCW, kCE, kSR, kSS, kSR, kSA, kIV}},
        {kSctpShutdownAck,      {kIV, kCL, kCW, kCE, kES, kSA, kSA, kSA, kIV}},
        {kSctpError,            {kIV, kCL, kCW, kCL, kES, kSS, kSR, kSA, kIV}},
        {kSctpCookieEcho,       {kIV, kCL, kCE, kCE, kES, kSS, kSR, kSA, kIV}},
        {kSctpCookieAck,        {kIV, kCL, kCW, kES, kES, kSS, kSR, kSA, kIV}},
        {kSctpShutdownComplete, {kIV, kCL, kCW, kCE, kES, kSS, kSR, kCL, kIV}},
        {kSctpHeartbeat,        {kIV, kCL, kCW, kCE, kES, kSS, kSR, kSA, kHS}},
        {kSctpHeartbeatAck,     {kIV, kCL, kCW, kCE, kES, kSS, kSR, kSA, kES}},
    }},
}};
// clang-format on

}  // namespace sctp_table_internal

// Chunks that aren't in the table (DATA, SACK …) change nothing.
constexpr SctpMove NextSctpMove(Direction direction, uint8_t chunk, SctpState state) {
  for (const auto& row : sctp_table_internal::kSctpTable[static_cast<size_t>(direction)]) {
    if (row.chunk == chunk) return row.next[static_cast<size_t>(state)];
  }
  return To(state);
}

}  // namespace postern::ctrack

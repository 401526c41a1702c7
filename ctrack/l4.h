// What a protocol's tracker is given and what it answers: the seam between
// Tracker and the protocols.
#pragma once

#include <cstdint>

#include "ctrack/connection.h"
#include "ctrack/events.h"
#include "ctrack/invalid.h"
#include "ctrack/settings.h"
#include "dataplane/net/packet.h"

namespace postern::ctrack {

struct L4Input {
  const net::Packet& packet;
  Connection& connection;
  Direction direction;
  const Settings& settings;
  Time now;
  InvalidNote* note = nullptr;  // where to say why the packet isn't simply valid; may be null

  // The connection's first packet: it isn't in the table yet.
  bool first() const { return !connection.Has(kConfirmed); }
};

inline void Explain(const L4Input& in, const InvalidNote& note) {
  if (in.note != nullptr) *in.note = note;
}

enum class L4Decision : uint8_t {
  kAccept,   // the packet belongs to the connection, which lives on for `timeout`
  kIgnore,   // it belongs to the connection but changes neither its timeout nor its counts
  kInvalid,  // it doesn't belong to the connection
  kRepeat,   // it begins a new connection with the same tuple: remove this one, look again
  kDrop,     // netfilter drops it
  kEnd,      // it belongs to the connection and ends it
};

struct L4Result {
  L4Decision decision = L4Decision::kInvalid;
  uint32_t timeout = 0;  // seconds from now
  uint32_t changes = 0;  // ConnChange bits
  bool closed = false;   // TCP came to TIME_WAIT or CLOSE by this packet, or left
};

constexpr L4Result Accept(uint32_t timeout, uint32_t changes = 0) {
  return {L4Decision::kAccept, timeout, changes, false};
}

}  // namespace postern::ctrack

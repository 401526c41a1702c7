// Connections and events as conntrack-tools 1.4.7 prints them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "control/conntrack_grammar.h"
#include "ctrack/connection.h"
#include "ctrack/events.h"

namespace postern::control {

// A connection as a listing needs it: a copy made by the worker that owns it, with what stands
// outside of it. The pointers in `connection` mean nothing.
struct ConnectionCopy {
  ctrack::Connection connection;
  net::Time now = 0;                  // the worker's clock when it was copied
  bool counted = false;               // nf_conntrack_acct
  std::array<uint64_t, 2> packets{};  // by Direction
  std::array<uint64_t, 2> bytes{};
  net::Time start = 0;  // nf_conntrack_timestamp; 0: not known
};
// What `connection`, which lives, has to show at `now`.
ConnectionCopy CopyOf(const ctrack::Connection& connection, net::Time now);

// -o. With none of xml and save it is a plain line.
struct ConntrackFormat {
  bool xml = false;
  bool save = false;
  bool extended = false;
  bool id = false;
  bool timestamp = false;   // when an event was printed
  bool ktimestamp = false;  // when the connection began and ended
  bool labels = false;      // of which no connection has any
};

// Why a connection is printed.
enum class ConntrackMessage : uint8_t { kEntry, kNew, kUpdate, kDestroy };
struct ConntrackOccasion {
  ConntrackMessage message = ConntrackMessage::kEntry;
  uint32_t changes = 0;          // of an update: ctrack::ConnChange bits
  bool by_operator = false;      // an event that a command caused
  unsigned use = 1;              // an entry's references, as the kernel counts them
  int64_t wall_nanoseconds = 0;  // the time of day at copy.now, since 1970
};

// Appends the connection's text, without a newline.
void AppendConnection(const ConnectionCopy& copy, const ConntrackFormat& format,
                      const ConntrackOccasion& occasion, std::string* to);

// What stands before and after the lines of -o xml.
inline constexpr char kXmlHead[] = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<conntrack>\n";
inline constexpr char kXmlTail[] = "</conntrack>\n";

// ---- for the printers ----

// Which of its parts are told on this occasion.
struct ConntrackParts {
  ConntrackParts(const ConnectionCopy& copy, const ConntrackOccasion& occasion);
  bool timeout, state, counters, mark, use;
  bool start, stop;  // times are known
  uint64_t seconds_left;
  int64_t start_nanoseconds, stop_nanoseconds;  // since 1970; `stop` is now while it lives
};
// Empty where the protocol has no states.
std::string_view ConntrackStateName(const ctrack::Connection& connection);
// DCCP's are shown, too: the kernel, which doesn't track it, gives 0.
bool ConntrackShowsPorts(uint8_t protocol);
void AppendXml(const ConnectionCopy& copy, const ConntrackFormat& format,
               const ConntrackOccasion& occasion, std::string* to);

}  // namespace postern::control

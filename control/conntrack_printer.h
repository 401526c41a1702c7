// Connections as conntrack-tools 1.4.7 prints them.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "ctrack/connection.h"

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

struct ConntrackFormat {
  enum class Kind : uint8_t { kPlain, kXml, kSave };
  Kind kind = Kind::kPlain;
  bool extended = false;    // -o extended
  bool id = false;          // -o id
  bool ktimestamp = false;  // -o ktimestamp
};

// One line, with its newline. `wall_seconds`: the time of day at copy.now, since 1970.
std::string PrintConnection(const ConnectionCopy& copy, const ConntrackFormat& format,
                            int64_t wall_seconds);

// What stands before and after the lines of -o xml.
inline constexpr char kXmlHead[] = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<conntrack>\n";
inline constexpr char kXmlTail[] = "</conntrack>\n";

// "tcp", "udp", …; "unknown" for what conntrack has no name for.
const char* ConntrackProtocolName(uint8_t protocol);

}  // namespace postern::control

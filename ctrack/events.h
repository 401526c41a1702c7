// What the owner of a connection tells the rest of the worker about it.
#pragma once

#include <cstdint>
#include <span>

#include "ctrack/connection.h"

namespace postern::ctrack {

enum class ConnEvent : uint8_t { kNew, kUpdate, kDestroy };
// What changed in a kUpdate (bits), as the kernel's IPCT_* events.
enum ConnChange : uint32_t {
  kChangeReply = 1U << 0,
  kChangeAssured = 1U << 1,
  kChangeProtoInfo = 1U << 2,
  kChangeMark = 1U << 3,
};

// Told of every event of the table by the worker that owns the connection. Implemented by the
// pipeline; must not allocate, lock or call the system.
class ConnectionObserver {
 public:
  virtual ~ConnectionObserver() = default;
  // kDestroy comes before the object is freed; `connection` is whole.
  virtual void OnConnection(ConnEvent event, uint32_t changes, const Connection& connection,
                            Time now) = 0;
  // These will soon end, most likely all of them: what their ends touch may be asked for.
  virtual void OnEndsAhead(std::span<Connection* const>) {}
  // Whether the connection counts as open for connlimit may have changed: its TCP state came to
  // TIME_WAIT or CLOSE, or left them, or it is being destroyed (kDying). May come more than once.
  virtual void OnClosed(Connection& connection) = 0;
};

}  // namespace postern::ctrack

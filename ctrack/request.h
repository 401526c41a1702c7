// What the operator asks of a connection: the attributes of ctnetlink's messages.
#pragma once

#include <cstdint>
#include <optional>

#include "ctrack/connection.h"

namespace postern::ctrack {

// ctnetlink keeps timeouts in an int of jiffies, with HZ = 250 as in Debian's kernels.
inline constexpr uint32_t kMostTimeout = INT32_MAX / 250;

// What isn't set stays as it is; in a new connection it is 0.
struct ConnectionRequest {
  Tuple original;  // of a new connection
  Tuple reply;
  std::optional<uint32_t> timeout;    // seconds; more than kMostTimeout is kMostTimeout
  std::optional<uint32_t> status;     // bits to have in all; only some may be set, none cleared
  std::optional<TcpState> tcp_state;  // where the protocol is TCP
  std::optional<SctpTracking> sctp;   // of a new connection, where the protocol is SCTP
  std::optional<uint32_t> mark;
};

enum class RequestOutcome : uint8_t {
  kDone,
  kExists,        // EEXIST: one of the tuples is taken
  kFull,          // ENOMEM: nf_conntrack_max
  kBusy,          // EBUSY: a status bit that can't be changed
  kNotPermitted,  // EPERM: the timeout of a connection with FIXED_TIMEOUT
};

}  // namespace postern::ctrack

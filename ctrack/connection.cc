#include "ctrack/connection.h"

#include <array>

namespace postern::ctrack {

std::string_view ToString(TcpState state) {
  constexpr std::array<std::string_view, static_cast<size_t>(TcpState::kCount)> kNames = {
      "NONE",       "SYN_SENT", "SYN_RECV",  "ESTABLISHED", "FIN_WAIT",
      "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",       "SYN_SENT2"};
  const auto index = static_cast<size_t>(state);
  return index < kNames.size() ? kNames[index] : "UNKNOWN";
}

std::string_view ToString(SctpState state) {
  constexpr std::array<std::string_view, static_cast<size_t>(SctpState::kCount)> kNames = {
      "NONE",          "CLOSED",        "COOKIE_WAIT",       "COOKIE_ECHOED", "ESTABLISHED",
      "SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT"};
  const auto index = static_cast<size_t>(state);
  return index < kNames.size() ? kNames[index] : "UNKNOWN";
}

}  // namespace postern::ctrack

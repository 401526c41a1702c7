// How a command of the operator (iptables, conntrack, status …) runs inside the daemon.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::control {

// What the client sent and where its answer goes. Output streams: Out() may be called many
// times. False: the reader is gone, stop.
struct CommandIo {
  std::string program;                 // "iptables-restore"
  std::vector<std::string> arguments;  // without the program
  std::string standard_input;          // whole, where the command reads it
  std::function<bool(std::string_view)> out;
  std::function<bool(std::string_view)> error;
};

// A command that is under way. It is called again and again, each time for a bounded piece of
// work, so that a long listing holds up neither the control thread nor, while its reader is slow,
// the daemon's memory. Destroyed when it is through or when its client is gone.
class Command {
 public:
  virtual ~Command() = default;
  // Does the next piece and writes to `io`. The exit status when that was the last one. Control
  // thread.
  virtual std::optional<int> Step(const CommandIo& io) = 0;
};

}  // namespace postern::control

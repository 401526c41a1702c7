// How a command of the operator (iptables, conntrack, status …) runs inside the daemon.
#pragma once

#include <cstdint>
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
  uint32_t client = 1;                 // its process
  std::function<bool(std::string_view)> out;
  std::function<bool(std::string_view)> error;
  // For a command that waits: calls its Step again. Control thread; never calls it at once.
  std::function<void()> wake = [] {};
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
  // After a Step without output: there is nothing to do before io.wake().
  virtual bool Waits() const { return false; }
  // The user wants it to end (SIGINT, SIGTERM). True: the next Step ends it in its own way. False:
  // it ends here and the client dies by the signal.
  virtual bool Stop() { return false; }
};

}  // namespace postern::control

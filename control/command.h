// How a command of the operator (iptables, conntrack, status …) runs inside the daemon.
#pragma once

#include <functional>
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

}  // namespace postern::control

// The tool's side of the control socket.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::control {

struct ClientRequest {
  std::string socket_path;
  std::string program;
  std::string called;  // its name in sentences; "": `program`
  std::vector<std::string> arguments;
  // Where the command's standard input comes from: a file descriptor, or -1 for none.
  int input = -1;
  // Where the answer goes; null: standard output and standard error. False: nobody reads any more.
  std::function<bool(std::string_view)> out;
  std::function<bool(std::string_view)> error;
  // SIGINT and SIGTERM ask the command for its own ending; the second one ends the client.
  bool stoppable = false;
};

// Sends the request, copies the answer to where it goes, and returns the exit
// status of the command; kNoDaemon with a sentence on standard error when the daemon can't be
// reached or goes away.
inline constexpr int kNoDaemon = 4;
int RunClient(const ClientRequest& request);

// The socket to use: the option's value, POSTERN_SOCKET, or the default, in this order.
std::string SocketPath(const std::string& option);

}  // namespace postern::control

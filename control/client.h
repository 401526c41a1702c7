// The tool's side of the control socket.
#pragma once

#include <string>
#include <vector>

namespace postern::control {

struct ClientRequest {
  std::string socket_path;
  std::string program;
  std::vector<std::string> arguments;
  // Where the command's standard input comes from: a file descriptor, or -1 for none.
  int input = -1;
};

// Sends the request, copies the answer to standard output and standard error, and returns the exit
// status of the command; kNoDaemon with a sentence on standard error when the daemon can't be
// reached or goes away.
inline constexpr int kNoDaemon = 4;
int RunClient(const ClientRequest& request);

// The socket to use: the option's value, POSTERN_SOCKET, or the default, in this order.
std::string SocketPath(const std::string& option);

}  // namespace postern::control

// The control socket: takes commands from many clients at once and streams their answers.
//
// Life-cycle: Open() makes the socket (a stale one of a dead daemon is replaced, a living daemon's
// isn't touched); each client is a Session that reads one request, runs its command piece by
// piece, writing each piece before it asks for the next, and ends. Close() refuses new clients and
// removes the socket.
//
// Threads: everything runs on the io_context's one thread, the control thread. A client that
// doesn't read stops only its own command; a client that is gone ends it. When as many clients are
// there as may be, the one that has done nothing for the longest makes room.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "control/command.h"
#include "dataplane/net/result.h"

namespace postern::control {

class Server {
 public:
  // Makes the command of a request; never null.
  using Starter = std::function<std::unique_ptr<Command>(const CommandIo&)>;

  Server(boost::asio::io_context* context, Starter starter);
  ~Server();

  // Listens on `path`: 0660, root:postern where that group exists. The error is a sentence.
  net::Status Open(const std::string& path);
  void Close();
  // Clients that are connected now.
  size_t sessions() const;

 private:
  class Session;
  struct Shared;
  void Accept();

  boost::asio::local::stream_protocol::acceptor acceptor_;
  boost::asio::steady_timer retry_;
  std::shared_ptr<Shared> shared_;
  std::string path_;
};

}  // namespace postern::control

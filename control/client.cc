#include "control/client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "control/protocol.h"

namespace postern::control {
namespace {

class Connection {
 public:
  explicit Connection(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
      errno = ENAMETOOLONG;
      return;
    }
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      const int reason = errno;
      close(fd_);
      fd_ = -1;
      errno = reason;
    }
  }
  ~Connection() {
    if (fd_ >= 0) close(fd_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool connected() const { return fd_ >= 0; }

  // False when the daemon has closed: its answer may already be there.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  int fd() const { return fd_; }

  // Nothing at the end of the stream.
  std::optional<std::string_view> Receive() {
    for (;;) {
      const ssize_t size = recv(fd_, buffer_.data(), buffer_.size(), 0);
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) return std::nullopt;
      return std::string_view(buffer_.data(), static_cast<size_t>(size));
    }
  }

 private:
  int fd_ = -1;
  std::array<char, 65536> buffer_;
};

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

bool Give(const std::function<bool(std::string_view)>& sink, int fd, std::string_view bytes) {
  return sink ? sink(bytes) : WriteAll(fd, bytes);
}

bool SendInput(int fd, Connection* connection) {
  std::array<char, 65536> piece;
  for (;;) {
    const ssize_t size = read(fd, piece.data(), piece.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return true;
    std::string frame;
    AppendFrame(FrameKind::kInput, {piece.data(), static_cast<size_t>(size)}, &frame);
    if (!connection->Send(frame)) return false;
  }
}

const std::string& Name(const ClientRequest& request) {
  return request.called.empty() ? request.program : request.called;
}

volatile sig_atomic_t g_stop = 0;

// While it lives the first SIGINT or SIGTERM only says so; the next one ends the process.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&set_);
    struct sigaction action {};
    action.sa_handler = [](int signal) { g_stop = signal; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    for (const int signal : {SIGINT, SIGTERM}) {
      sigaddset(&set_, signal);
      sigaction(signal, &action, nullptr);
    }
  }

  // Waits for bytes. False when a signal came instead.
  bool Wait(int fd) {
    sigset_t before;
    sigprocmask(SIG_BLOCK, &set_, &before);
    pollfd wanted{fd, POLLIN, 0};
    bool readable = false;
    while (g_stop == 0 && !readable) readable = ppoll(&wanted, 1, nullptr, &before) > 0;
    sigprocmask(SIG_SETMASK, &before, nullptr);
    return readable;
  }

 private:
  sigset_t set_;
};

// The daemon's next bytes, nothing at their end. The first signal is passed on.
std::optional<std::string_view> Receive(StopSignals* signals, Connection* connection) {
  if (signals != nullptr && g_stop == 0 && !signals->Wait(connection->fd())) {
    std::string stop;
    AppendFrame(FrameKind::kStop, "", &stop);
    connection->Send(stop);
  }
  return connection->Receive();
}

int Answer(const ClientRequest& request, StopSignals* signals, Connection* connection) {
  FrameDecoder decoder;
  while (const auto bytes = Receive(signals, connection)) {
    decoder.Feed(*bytes);
    while (const auto frame = decoder.Next()) {
      switch (frame->kind) {
        case FrameKind::kOut:
          // Nobody reads any more, as in `conntrack -L | head`: as the original, quietly.
          if (!Give(request.out, STDOUT_FILENO, frame->payload)) return 128 + SIGPIPE;
          break;
        case FrameKind::kError:
          Give(request.error, STDERR_FILENO, frame->payload);
          break;
        case FrameKind::kExit:
          return frame->payload.empty() ? kNoDaemon : static_cast<uint8_t>(frame->payload[0]);
        default:
          break;
      }
    }
    if (decoder.broken()) break;
  }
  if (g_stop != 0) {
    std::signal(g_stop, SIG_DFL);
    std::raise(g_stop);
  }
  fmt::print(stderr, "{}: the daemon closed the connection before its answer was whole\n",
             Name(request));
  return kNoDaemon;
}

}  // namespace

std::string SocketPath(const std::string& option) {
  if (!option.empty()) return option;
  const char* environment = std::getenv("POSTERN_SOCKET");
  if (environment != nullptr && *environment != '\0') return environment;
  return "/run/postern/postern.sock";
}

int RunClient(const ClientRequest& request) {
  Connection connection(request.socket_path);
  if (!connection.connected()) {
    const int reason = errno;
    fmt::print(stderr, "{}: posternd can't be reached on {}: {}\n", Name(request),
               request.socket_path, std::strerror(reason));
    if (reason == ENOENT || reason == ECONNREFUSED) {
      fmt::print(stderr,
                 "Is it running? Its socket is system.control_socket of its configuration; "
                 "--socket or POSTERN_SOCKET name another one.\n");
    } else if (reason == EACCES) {
      fmt::print(stderr, "Only root and the group postern may use it.\n");
    }
    return kNoDaemon;
  }
  std::vector<std::string> all = {request.program};
  all.insert(all.end(), request.arguments.begin(), request.arguments.end());
  const std::string arguments = EncodeArguments(all);
  if (arguments.size() > kMaxFramePayload) {
    fmt::print(stderr, "{}: the arguments are longer than {} kB\n", Name(request),
               kMaxFramePayload >> 10);
    return 2;
  }
  std::string frames;
  AppendFrame(FrameKind::kArguments, arguments, &frames);
  bool sent = connection.Send(frames);
  if (sent && request.input >= 0) sent = SendInput(request.input, &connection);
  frames.clear();
  AppendFrame(FrameKind::kRun, "", &frames);
  if (sent) connection.Send(frames);
  std::optional<StopSignals> signals;
  if (request.stoppable) signals.emplace();
  return Answer(request, signals ? &*signals : nullptr, &connection);
}

}  // namespace postern::control

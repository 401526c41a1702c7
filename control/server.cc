#include "control/server.h"

#include <fmt/format.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "control/protocol.h"

namespace postern::control {

namespace asio = boost::asio;
using boost::system::error_code;
using Protocol = asio::local::stream_protocol;
using Clock = std::chrono::steady_clock;

// What sessions share; outlives the server for those that are still open.
struct Server::Shared {
  static constexpr size_t kMaxSessions = 128;
  // So long a session may be idle although others wait for its place.
  static constexpr std::chrono::seconds kIdle{5};
  // Closes one that may go; false where all are busy.
  bool MakeRoom();

  asio::io_context* context;
  Starter starter;
  std::set<Session*> sessions;  // that are open
  size_t input_bytes = 0;       // standard input held for all sessions
};

class Server::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Protocol::socket socket, std::shared_ptr<Shared> shared)
      : socket_(std::move(socket)), shared_(std::move(shared)) {
    shared_->sessions.insert(this);
  }
  ~Session() {
    shared_->sessions.erase(this);
    ReleaseInput();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void Start() {
    if (shared_->sessions.size() > Shared::kMaxSessions && !shared_->MakeRoom()) {
      surplus_ = true;
      Refuse("too many clients at once");
    }
    Read();
  }

  // Has all that it will get, and only keeps the connection.
  bool done() const { return answered_ && !writing_ && outbox_.empty(); }
  // Its command has nothing to say at the moment, and will have.
  bool waiting() const { return waiting_; }
  Clock::time_point last_progress() const { return last_progress_; }

  void Finish() {
    closed_ = true;
    shared_->sessions.erase(this);
    command_.reset();
    error_code ignored;
    socket_.close(ignored);
  }

 private:
  // Reads on while a command runs, too: that is how a client that is gone is noticed.
  void Read() {
    socket_.async_read_some(
        asio::buffer(input_),
        [self = shared_from_this()](error_code error, size_t size) { self->OnRead(error, size); });
  }

  void OnRead(error_code error, size_t size) {
    if (error) {
      Finish();
      return;
    }
    last_progress_ = Clock::now();
    // After the answer's end, or a refusal, what still comes is of no interest.
    if (!answered_) {
      decoder_.Feed({input_.data(), size});
      while (!answered_ && !closed_) {
        auto frame = decoder_.Next();
        if (!frame) break;
        OnFrame(std::move(*frame));
      }
      if (decoder_.broken() && !answered_ && !closed_) Refuse("malformed request");
    }
    if (!closed_) Read();
  }

  void OnFrame(Frame frame) {
    if (running_) {
      if (frame.kind == FrameKind::kStop) {
        StopCommand();
      } else {
        Refuse("a request came while a command runs");
      }
      return;
    }
    switch (frame.kind) {
      case FrameKind::kArguments:
        if (!io_.program.empty() || !DecodeArguments(frame.payload, &io_.arguments) ||
            io_.arguments[0].empty()) {
          Refuse("malformed request");
          return;
        }
        io_.program = io_.arguments[0];
        io_.arguments.erase(io_.arguments.begin());
        return;
      case FrameKind::kInput:
        TakeInput(frame.payload);
        return;
      case FrameKind::kRun:
        Run();
        return;
      default:
        Refuse("malformed request");
    }
  }

  void TakeInput(const std::string& piece) {
    if (io_.standard_input.size() + piece.size() > kMaxInput ||
        shared_->input_bytes + piece.size() > kMaxInputOfAll) {
      Refuse(fmt::format("the input is longer than {} MB", kMaxInput >> 20));
      return;
    }
    shared_->input_bytes += piece.size();
    held_input_ += piece.size();
    io_.standard_input += piece;
  }

  void ReleaseInput() {
    shared_->input_bytes -= held_input_;
    held_input_ = 0;
    std::string().swap(io_.standard_input);
  }

  void Run() {
    if (io_.program.empty()) {
      Refuse("malformed request");
      return;
    }
    running_ = true;
    io_.out = [this](std::string_view text) { return Put(FrameKind::kOut, text); };
    io_.error = [this](std::string_view text) { return Put(FrameKind::kError, text); };
    io_.client = ClientProcess();
    io_.wake = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Wake();
    };
    command_ = shared_->starter(io_);
    Continue();
  }

  bool Put(FrameKind kind, std::string_view text) {
    if (closed_) return false;
    AppendFrames(kind, text, &outbox_);
    return true;
  }

  // One piece of the command; what it wrote goes out before the next.
  void Continue() {
    const std::optional<int> status = command_->Step(io_);
    if (status) {
      command_.reset();
      ReleaseInput();
      PutExit(*status);
    }
    if (outbox_.empty() && command_ && command_->Waits()) {
      waiting_ = true;
    } else if (outbox_.empty()) {
      asio::post(*shared_->context, [self = shared_from_this()] { self->AfterWrite(); });
    } else {
      Write();
    }
  }

  void Wake() {
    if (!std::exchange(waiting_, false)) return;
    asio::post(*shared_->context, [self = shared_from_this()] { self->AfterWrite(); });
  }

  void StopCommand() {
    if (command_ && command_->Stop()) {
      Wake();
    } else {
      Finish();
    }
  }

  // 1 where it can't be known, as in another namespace of processes.
  uint32_t ClientProcess() {
    ucred peer{};
    socklen_t size = sizeof(peer);
    const int fd = socket_.native_handle();
    const bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0;
    return known ? static_cast<uint32_t>(peer.pid) : 1;
  }

  void PutExit(int status) {
    AppendFrame(FrameKind::kExit, std::string(1, static_cast<char>(status)), &outbox_);
    answered_ = true;
  }

  void Refuse(const std::string& reason) {
    if (answered_) return;
    command_.reset();
    ReleaseInput();
    AppendFrames(FrameKind::kError, "postern: " + reason + "\n", &outbox_);
    PutExit(1);
    if (!writing_) Write();
  }

  void Write() {
    writing_ = true;
    writing_buffer_ = std::exchange(outbox_, {});
    asio::async_write(socket_, asio::buffer(writing_buffer_),
                      [self = shared_from_this()](error_code error, size_t) {
                        self->writing_ = false;
                        if (error) {
                          self->Finish();
                        } else {
                          self->AfterWrite();
                        }
                      });
  }

  void AfterWrite() {
    if (closed_ || writing_) return;
    last_progress_ = Clock::now();
    if (!outbox_.empty()) {
      Write();
    } else if (surplus_) {
      Finish();
    } else if (answered_) {
      // The client closes when it has read the exit status; what it still sends is drained until
      // then, because closing over unread bytes would take the answer from it.
      error_code ignored;
      socket_.shutdown(Protocol::socket::shutdown_send, ignored);
    } else if (command_) {
      Continue();
    }
  }

  Protocol::socket socket_;
  std::shared_ptr<Shared> shared_;
  std::array<char, 65536> input_;
  FrameDecoder decoder_;
  CommandIo io_;
  std::unique_ptr<Command> command_;
  std::string outbox_;          // to be written
  std::string writing_buffer_;  // being written
  size_t held_input_ = 0;
  Clock::time_point last_progress_ = Clock::now();
  bool running_ = false;   // kRun came
  bool answered_ = false;  // the exit status is in the outbox or gone
  bool writing_ = false;
  bool closed_ = false;
  bool waiting_ = false;  // for Wake()
  bool surplus_ = false;  // one too many: closed as soon as it has been told
};

bool Server::Shared::MakeRoom() {
  Session* oldest = nullptr;
  for (Session* session : sessions) {
    if (session->done()) {
      session->Finish();
      return true;
    }
    // Commands that wait are fewer than there may be sessions (ConntrackHub).
    if (session->waiting()) continue;
    if (oldest == nullptr || session->last_progress() < oldest->last_progress()) oldest = session;
  }
  if (oldest == nullptr || Clock::now() - oldest->last_progress() < kIdle) return false;
  oldest->Finish();
  return true;
}

Server::Server(asio::io_context* context, Starter starter)
    : acceptor_(*context), retry_(*context), shared_(std::make_shared<Shared>()) {
  shared_->context = context;
  shared_->starter = std::move(starter);
}

Server::~Server() { Close(); }

size_t Server::sessions() const { return shared_->sessions.size(); }

namespace {

// A socket file that nobody listens on is left over from a daemon that was killed.
net::Status RemoveStale(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode)) {
    return net::Error{fmt::format("{} exists and isn't a socket", path)};
  }
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  const bool alive =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(probe);
  if (alive) return net::Error{fmt::format("another daemon listens on {}", path)};
  unlink(path.c_str());
  return {};
}

}  // namespace

net::Status Server::Open(const std::string& path) {
  error_code error;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code made;
  if (!folder.empty()) std::filesystem::create_directories(folder, made);
  if (const net::Status status = RemoveStale(path); !status) return status;

  acceptor_.open(Protocol(), error);
  // Nobody gets in between bind and chmod.
  const mode_t mask = umask(0177);
  if (!error) acceptor_.bind(Protocol::endpoint(path), error);
  umask(mask);
  if (error) {
    acceptor_.close();
    return net::Error{fmt::format("can't listen on {}: {}", path, error.message())};
  }
  path_ = path;
  if (const group* postern = getgrnam("postern"); postern != nullptr && geteuid() == 0) {
    if (chown(path.c_str(), 0, postern->gr_gid) != 0) {
      return net::Error{
          fmt::format("can't give {} to group postern: {}", path, std::strerror(errno))};
    }
  }
  if (chmod(path.c_str(), 0660) != 0) {
    return net::Error{fmt::format("can't set the mode of {}: {}", path, std::strerror(errno))};
  }
  acceptor_.listen(Protocol::acceptor::max_listen_connections, error);
  if (error) return net::Error{fmt::format("can't listen on {}: {}", path, error.message())};
  Accept();
  return {};
}

void Server::Accept() {
  acceptor_.async_accept([this](error_code error, Protocol::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) {
      std::make_shared<Session>(std::move(socket), shared_)->Start();
      if (acceptor_.is_open()) Accept();
      return;
    }
    // No descriptor is free, say: trying at once would only spin.
    retry_.expires_after(std::chrono::milliseconds(100));
    retry_.async_wait([this](error_code stopped) {
      if (!stopped && acceptor_.is_open()) Accept();
    });
  });
}

void Server::Close() {
  if (!acceptor_.is_open()) return;
  error_code ignored;
  acceptor_.close(ignored);
  retry_.cancel();
  if (!path_.empty()) unlink(path_.c_str());
  path_.clear();
}

}  // namespace postern::control

// The control socket with real clients: several at once, slow ones, dead ones, senseless ones.
#include "control/server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "control/protocol.h"
#include "tests/control/folder.h"

namespace postern::control {
namespace {

class Client {
 public:
  explicit Client(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const timeval timeout{10, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  }
  ~Client() { close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Send(const std::string& bytes) {
    EXPECT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  void Request(const std::vector<std::string>& arguments, const std::string& input = "") {
    std::string bytes;
    AppendFrame(FrameKind::kArguments, EncodeArguments(arguments), &bytes);
    AppendFrames(FrameKind::kInput, input, &bytes);
    AppendFrame(FrameKind::kRun, "", &bytes);
    Send(bytes);
  }
  struct Answer {
    std::string out;
    std::string error;
    int status = -1;
  };
  Answer Read() {
    Answer answer;
    FrameDecoder decoder;
    char buffer[65536];
    for (ssize_t n; (n = recv(fd_, buffer, sizeof(buffer), 0)) > 0;) {
      decoder.Feed({buffer, static_cast<size_t>(n)});
      while (const auto frame = decoder.Next()) {
        if (frame->kind == FrameKind::kOut) answer.out += frame->payload;
        if (frame->kind == FrameKind::kError) answer.error += frame->payload;
        if (frame->kind == FrameKind::kExit)
          answer.status = static_cast<uint8_t>(frame->payload[0]);
      }
    }
    return answer;
  }

 private:
  int fd_;
};

// "echo" answers with its arguments and input; "flood" writes 64 kB a step, a thousand times.
class TestCommand : public Command {
 public:
  TestCommand(std::atomic<int>* living, std::atomic<int>* steps) : living_(living), steps_(steps) {
    ++*living_;
  }
  ~TestCommand() override { --*living_; }
  std::optional<int> Step(const CommandIo& io) override {
    if (io.program == "flood") {
      ++*steps_;
      io.out(std::string(65536, 'x'));
      if (++done_ < 1000) return std::nullopt;
      return 0;
    }
    for (const std::string& argument : io.arguments) io.out("<" + argument + ">");
    io.out(io.standard_input);
    io.error("done\n");
    return 3;
  }

 private:
  std::atomic<int>* living_;
  std::atomic<int>* steps_;
  int done_ = 0;
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest()
      : path_(folder_.path() + "/control.sock"),
        guard_(boost::asio::make_work_guard(context_)),
        server_(std::make_unique<Server>(&context_, [this](const CommandIo&) {
          return std::make_unique<TestCommand>(&living_, &steps_);
        })) {
    const net::Status status = server_->Open(path_);
    EXPECT_TRUE(status) << status.error();
    thread_ = std::thread([this] { context_.run(); });
  }
  ~ServerTest() override {
    boost::asio::post(context_, [this] {
      server_->Close();
      guard_.reset();
      context_.stop();
    });
    thread_.join();
  }
  // Waits until `value` is at most `wanted`, ten seconds.
  static bool Falls(const std::atomic<int>& value, int wanted) {
    for (int i = 0; i < 1000 && value > wanted; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return value <= wanted;
  }

  test::Folder folder_;
  std::string path_;
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_;
  std::atomic<int> living_{0};
  std::atomic<int> steps_{0};
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

TEST_F(ServerTest, AnswersWithStreamsAndStatus) {
  Client client(path_);
  client.Request({"echo", "-A", "", "a b"}, "line\n");
  const Client::Answer answer = client.Read();
  EXPECT_EQ(answer.out, "<-A><><a b>line\n");
  EXPECT_EQ(answer.error, "done\n");
  EXPECT_EQ(answer.status, 3);
}

TEST_F(ServerTest, TheSocketIsForRootAndItsGroup) {
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0660u);
}

TEST_F(ServerTest, TakesMegabytesOfInput) {
  const std::string input(5 * kMaxFramePayload + 3, 'r');
  Client client(path_);
  client.Request({"echo"}, input);
  EXPECT_EQ(client.Read().out, input);
}

TEST_F(ServerTest, ASlowReaderHoldsUpNobody) {
  Client slow(path_);
  slow.Request({"flood"});
  for (int i = 0; i < 20; ++i) {
    Client quick(path_);
    quick.Request({"echo", "x"});
    EXPECT_EQ(quick.Read().out, "<x>");
  }
  // Nor does the daemon work ahead of it: what a socket holds, and no more.
  EXPECT_LT(steps_, 100);
  EXPECT_EQ(slow.Read().out.size(), size_t{65536} * 1000);
}

TEST_F(ServerTest, AClientThatIsGoneEndsItsCommand) {
  {
    Client client(path_);
    client.Request({"flood"});
    while (steps_ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(Falls(living_, 0));
  EXPECT_LT(steps_, 1000);
}

TEST_F(ServerTest, TwentyClientsAtOnce) {
  std::vector<std::future<Client::Answer>> answers;
  for (int i = 0; i < 20; ++i) {
    answers.push_back(std::async(std::launch::async, [this, i] {
      Client client(path_);
      client.Request({"echo", std::to_string(i)});
      return client.Read();
    }));
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(answers[static_cast<size_t>(i)].get().out, "<" + std::to_string(i) + ">");
  }
}

// Clients that have their answer and never close leave room for others; those that still may say
// something do not, but they are told.
TEST_F(ServerTest, ClientsThatStayLockNobodyOut) {
  std::vector<std::unique_ptr<Client>> staying;
  for (int i = 0; i < 200; ++i) {
    staying.push_back(std::make_unique<Client>(path_));
    staying.back()->Request({"echo", "x"});
    ASSERT_EQ(staying.back()->Read().out, "<x>") << i;
  }
  std::vector<std::unique_ptr<Client>> silent;
  for (int i = 0; i < 128; ++i) silent.push_back(std::make_unique<Client>(path_));
  Client surplus(path_);
  EXPECT_EQ(surplus.Read().error, "postern: too many clients at once\n");
}

TEST_F(ServerTest, SenselessRequestsGetASentence) {
  const std::string requests[] = {
      "GET / HTTP/1.1\r\n\r\n",
      std::string("\0\0\0\0\3", 5),             // run without a program
      std::string("\1\0\0\0\1x", 6),            // arguments without a NUL
      std::string("\1\0\0\0\1\0", 6),           // an empty program
      std::string("\0\0\0\0\4", 5),             // output from a client
      std::string("\xff\xff\xff\xff\2abc", 8),  // an endless frame
  };
  for (const std::string& request : requests) {
    Client client(path_);
    client.Send(request);
    const Client::Answer answer = client.Read();
    EXPECT_EQ(answer.status, 1);
    EXPECT_EQ(answer.error, "postern: malformed request\n");
  }
  Client client(path_);
  client.Request({"echo", "alive"});
  EXPECT_EQ(client.Read().out, "<alive>");
}

TEST_F(ServerTest, ALivingDaemonsSocketIsLeftAndADeadOnesReplaced) {
  boost::asio::io_context context;
  Server second(&context, nullptr);
  const net::Status status = second.Open(path_);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error(), "another daemon listens on " + path_);

  const std::string stale = folder_.path() + "/stale.sock";
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, stale.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(fd);
  EXPECT_TRUE(second.Open(stale));

  Server third(&context, nullptr);
  EXPECT_EQ(third.Open(folder_.Write("file", "x")).error(),
            folder_.path() + "/file exists and isn't a socket");
}

}  // namespace
}  // namespace postern::control

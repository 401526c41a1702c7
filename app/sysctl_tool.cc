#include "app/sysctl_tool.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <sstream>

#include "control/client.h"
#include "control/sysctl_command.h"

namespace postern::app {
namespace {

// The values of the posternd behind a socket.
class RemoteValues : public control::SysctlAccess {
 public:
  explicit RemoteValues(const std::string& socket) : socket_(control::SocketPath(socket)) {}

  std::optional<std::map<std::string, Value>> Values() override {
    std::string text;
    if (Ask({}, &text, nullptr) != 0) return std::nullopt;
    std::map<std::string, Value> values;
    std::istringstream lines(text);
    std::string path, mode, value;
    while (lines >> path >> mode >> value) values[path] = {value, mode == "rw"};
    return values;
  }

  control::SysctlOutcome Set(const std::string& path, const std::string& value) override {
    control::SysctlOutcome outcome;
    const int status = Ask({path, value}, nullptr, &outcome.sentence);
    outcome.error = status == control::kNoDaemon ? ENOTCONN : status;
    return outcome;
  }

 private:
  int Ask(const std::vector<std::string>& arguments, std::string* out, std::string* error) {
    const auto into = [](std::string* to) {
      return [to](std::string_view text) {
        if (to != nullptr) *to += text;
        return true;
      };
    };
    control::ClientRequest request;
    request.socket_path = socket_;
    request.program = control::kSysctlValues;
    request.called = "sysctl";
    request.arguments = arguments;
    request.out = into(out);
    request.error = into(error);
    return control::RunClient(request);
  }

  const std::string socket_;
};

}  // namespace

int RunSysctlTool(const ToolCall& call) {
  RemoteValues values(call.socket);
  control::PosternSysctlTree ours(&values);
  control::HostSysctlTree host("/proc/sys");
  control::SysctlUnion both(&ours, &host);
  const control::SysctlIo io{
      [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); },
      [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }};
  const int status = control::RunSysctl(
      call.arguments, call.by_link ? static_cast<control::SysctlTree*>(&both) : &ours, io);
  // Where the answer couldn't be written, it hasn't been given.
  if (std::fflush(stdout) == 0) return status;
  fmt::print(stderr, "sysctl: write error\n");
  return 1;
}

}  // namespace postern::app

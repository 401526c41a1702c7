#include "control/log_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

namespace postern::control {
namespace {

constexpr char kSyslogSocket[] = "/dev/log";

int FacilityCode(const std::string& name) {
  if (name == "user") return LOG_USER;
  if (name.starts_with("local")) return (16 + (name.back() - '0')) << 3;  // RFC 5424 table 1
  return LOG_DAEMON;
}

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return std::string(name.data(), strcspn(name.data(), "."));
}

// The sentence about a reason; the kernel's where it has one.
std::string Sentence(net::DropReason reason, uint64_t more) {
  const std::string count = more > 1 ? fmt::format(" ({} packets)", more) : "";
  switch (reason) {
    case net::DropReason::kConntrackTableFull:
      return "nf_conntrack: table full, dropping packet";
    case net::DropReason::kNatExhausted:
      return "nf_nat: no free port left in the range, dropping packet" + count;
    case net::DropReason::kNeighborUnresolved:
      return "neighbour: doesn't answer, dropping packet" + count;
    case net::DropReason::kFragmentMemory:
      return "fragments: memory for reassembly is full, dropping packet" + count;
    default:
      return fmt::format("dropping packet: {}{}", net::ToString(reason), count);
  }
}

}  // namespace

std::string SyslogTime(int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm local{};
  localtime_r(&time, &local);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%b %e %H:%M:%S", &local);
  return text.data();
}

LogWriter::LogWriter(LogConfig config, std::vector<std::string> port_names)
    : config_(std::move(config)), port_names_(std::move(port_names)), host_(HostName()) {}

LogWriter::~LogWriter() {
  if (fd_ >= 0) close(fd_);
}

net::Status LogWriter::OpenFile(int* fd) const {
  const std::string& path = config_.rules_file;
  *fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
  if (*fd >= 0) return {};
  return net::Error{fmt::format("the log file {} can't be opened: {}", path, std::strerror(errno))};
}

net::Status LogWriter::OpenSyslog(int* fd) const {
  *fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, kSyslogSocket, sizeof(kSyslogSocket));
  if (*fd >= 0 && connect(*fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return {};
  }
  const int reason = errno;
  if (*fd >= 0) close(*fd);
  *fd = -1;
  return net::Error{
      fmt::format("syslog can't be reached on {}: {}", kSyslogSocket, std::strerror(reason))};
}

net::Status LogWriter::OpenAny(int* fd) const {
  return config_.rules_file.empty() ? OpenSyslog(fd) : OpenFile(fd);
}

net::Status LogWriter::Open() { return Reopen(); }

net::Status LogWriter::Reopen() {
  int fd = -1;
  if (net::Status status = OpenAny(&fd); !status) return status;
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  return {};
}

net::Status LogWriter::Configure(LogConfig config, std::vector<std::string> port_names) {
  const LogConfig old = std::exchange(config_, std::move(config));
  port_names_ = std::move(port_names);
  net::Status status = Reopen();
  if (!status) config_ = old;
  return status;
}

void LogWriter::Write(const pipeline::LogRecord& record) {
  WriteText(record.level, FormatLogLine(record, port_names_));
}

void LogWriter::WriteText(int severity, std::string_view text) {
  // A syslog daemon that was restarted has a new socket: try once more.
  if (Send(severity, text) || (config_.rules_file.empty() && Reopen() && Send(severity, text))) {
    ++written_;
  } else {
    ++lost_;
  }
}

bool LogWriter::Send(int severity, std::string_view text) {
  if (fd_ < 0) return false;
  const std::string time = SyslogTime(std::time(nullptr));
  if (config_.rules_file.empty()) {
    const std::string line =
        fmt::format("<{}>{} {}: {}", FacilityCode(config_.facility) | (severity & LOG_PRIMASK),
                    time, config_.identifier, text);
    return send(fd_, line.data(), line.size(), MSG_NOSIGNAL) >= 0;
  }
  const std::string line = fmt::format("{} {} {}: {}\n", time, host_, config_.identifier, text);
  return write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size());
}

void TroubleLog::Report(const Counts& counts, net::Time now,
                        const std::function<void(const std::string&)>& say) {
  for (size_t i = 0; i < counts.size(); ++i) {
    Entry& entry = entries_[i];
    if (counts[i] <= entry.said || (entry.ever && now - entry.when < kInterval)) continue;
    say(Sentence(static_cast<net::DropReason>(i), counts[i] - entry.said));
    entry = {counts[i], now, true};
  }
}

}  // namespace postern::control

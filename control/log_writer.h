// Where LOG lines go: syslog, or a file of their own.
//
// User space can't write with the kernel's facility: syslog gets the configured one (daemon unless
// told otherwise), with the rule's level as severity. Lines carry the tag `identifier`, "kernel"
// unless told otherwise, because that is what analysers of firewall logs look for. A file gets
// syslog's traditional form, "Nov 21 08:49:00 host kernel: PREFIX IN=…", mode 0640, and is opened
// again by Reopen() when logrotate has moved it.
//
// Threads: the control thread only. Nothing here waits: what syslog has no room for is lost and
// counted.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "control/config.h"
#include "control/log_line.h"
#include "dataplane/net/result.h"

namespace postern::control {

class LogWriter {
 public:
  LogWriter(LogConfig config, std::vector<std::string> port_names);
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Opens the destination. The error is a sentence.
  net::Status Open();
  // Closes and opens it again, after rotation. On an error the old file stays.
  net::Status Reopen();
  // Other destination and names after a reload.
  net::Status Configure(LogConfig config, std::vector<std::string> port_names);

  void Write(const pipeline::LogRecord& record);
  // A line of the daemon's own, with syslog's severity.
  void WriteText(int severity, std::string_view text);

  uint64_t lost() const { return lost_; }
  uint64_t written() const { return written_; }

 private:
  net::Status OpenFile(int* fd) const;
  net::Status OpenSyslog(int* fd) const;
  net::Status OpenAny(int* fd) const;
  bool Send(int severity, std::string_view text);

  LogConfig config_;
  std::vector<std::string> port_names_;
  std::string host_;
  int fd_ = -1;
  uint64_t lost_ = 0;
  uint64_t written_ = 0;
};

// "Nov 21 08:49:00", as syslog writes times.
std::string SyslogTime(int64_t seconds);

// Says once an interval what keeps going wrong in the data plane: table full, NAT exhausted and
// the like, from counters that only rise.
class TroubleLog {
 public:
  static constexpr net::Time kInterval = 5 * net::kSecond;
  using Counts = std::array<uint64_t, net::kDropReasonCount>;
  // Calls `say` with a sentence for each reason that rose since it was last said, unless that was
  // less than an interval ago. `now`: any steady clock.
  void Report(const Counts& counts, net::Time now,
              const std::function<void(const std::string&)>& say);

 private:
  struct Entry {
    uint64_t said = 0;  // the count that was last told of
    net::Time when = 0;
    bool ever = false;
  };
  std::array<Entry, net::kDropReasonCount> entries_;
};

}  // namespace postern::control

// `postern sysctl`, as sysctl(8) of procps writes and complains.
#pragma once

#include <string>
#include <vector>

#include "control/command.h"
#include "control/sysctl.h"

namespace postern::control {

class Engine;

// Where the values are: the engine, or a test.
class SysctlStore {
 public:
  virtual ~SysctlStore() = default;
  virtual const Sysctls& Current() const = 0;
  // nf_conntrack_count.
  virtual uint64_t ConntrackCount() const = 0;
  virtual net::Status Change(const Sysctls& next) = 0;
};

// `-p FILE` takes the file's text from standard input: the client reads it, with its own rights.
int RunSysctl(const CommandIo& io, SysctlStore* store);
int RunSysctl(const CommandIo& io, Engine* engine);

// The file that a sysctl command line names with -p, --load or -f, for the client; "" for none.
// "-" is standard input.
std::string SysctlFile(const std::vector<std::string>& arguments);

}  // namespace postern::control

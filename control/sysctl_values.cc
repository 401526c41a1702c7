#include <fmt/format.h>

#include <cerrno>

#include "control/engine.h"
#include "control/sysctl_command.h"

namespace postern::control {
namespace {

int Print(const CommandIo& io, Engine* engine) {
  std::string text;
  for (const SysctlName& name : SysctlNames()) {
    text += fmt::format("{} rw {}\n", SysctlPath(name.name), name.read(engine->sysctls()));
  }
  text += fmt::format("{} ro {}\n", kConntrackCount, engine->dataplane().conntrack_entries());
  io.out(text);
  return 0;
}

}  // namespace

int RunSysctlValues(const CommandIo& io, Engine* engine) {
  if (io.arguments.empty()) return Print(io, engine);
  if (io.arguments.size() != 2) return EINVAL;
  const SysctlName* name = FindSysctl(io.arguments[0]);
  if (name == nullptr) return ENOENT;
  Sysctls next = engine->sysctls();
  if (!SetSysctl(*name, io.arguments[1], &next)) return EINVAL;
  if (const net::Status status = engine->SetSysctls(next); !status) {
    io.error(status.error());
    return ENOMEM;
  }
  return 0;
}

}  // namespace postern::control

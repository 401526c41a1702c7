#include "control/dispatcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "control/conntrack_command.h"
#include "control/iptables/command.h"
#include "control/save.h"
#include "control/status.h"
#include "control/sysctl_command.h"

namespace postern::control {
namespace {

constexpr auto kPrograms = std::to_array<std::string_view>({
    "conntrack",
    "ip6tables",
    "ip6tables-restore",
    "ip6tables-save",
    "iptables",
    "iptables-restore",
    "iptables-save",
    "reload",
    "save",
    "status",
    kSysctlValues,
});

class OneStepCommand : public Command {
 public:
  explicit OneStepCommand(std::function<int(const CommandIo&)> run) : run_(std::move(run)) {}
  std::optional<int> Step(const CommandIo& io) override { return run_(io); }

 private:
  std::function<int(const CommandIo&)> run_;
};

int Reload(const CommandIo& io, const std::function<net::Status()>& reload) {
  if (!io.arguments.empty()) {
    io.error("Usage: postern reload\n");
    return 2;
  }
  const net::Status status = reload();
  if (!status) {
    io.error(status.error() + "\n");
    io.error("postern: nothing has changed: the rules in force stay\n");
    return 1;
  }
  return 0;
}

}  // namespace

std::span<const std::string_view> DaemonPrograms() { return kPrograms; }

std::unique_ptr<Command> OneStep(std::function<int(const CommandIo&)> run) {
  return std::make_unique<OneStepCommand>(std::move(run));
}

std::unique_ptr<Command> Dispatcher::Start(const CommandIo& io) {
  Engine* engine = engine_;
  const std::string_view program = io.program;
  if (program == "conntrack") return MakeConntrackCommand(io, &engine->dataplane(), hub_);
  if (program == "reload") {
    return OneStep([reload = reload_](const CommandIo& i) { return Reload(i, reload); });
  }
  if (program == "save") {
    return OneStep([engine](const CommandIo& i) { return RunSave(i, engine); });
  }
  if (program == "status") {
    return OneStep([engine](const CommandIo& i) { return RunStatus(i, engine); });
  }
  if (program == kSysctlValues) {
    return OneStep([engine](const CommandIo& i) { return RunSysctlValues(i, engine); });
  }
  if (std::find(kPrograms.begin(), kPrograms.end(), program) != kPrograms.end()) {
    return OneStep([engine](const CommandIo& i) { return iptables::Run(i, engine); });
  }
  return OneStep([](const CommandIo& i) {
    i.error(fmt::format("postern: posternd has no command '{}'\n", i.program));
    return 2;
  });
}

}  // namespace postern::control

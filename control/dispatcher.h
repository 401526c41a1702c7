// Which command a request of the tool is, and the commands that are small.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "control/command.h"
#include "control/conntrack_events.h"
#include "control/engine.h"

namespace postern::control {

// The programs that run inside the daemon, by name.
std::span<const std::string_view> DaemonPrograms();

class Dispatcher {
 public:
  // `reload`: what SIGHUP does, too. `hub`: who listens to the connections' events.
  Dispatcher(Engine* engine, ConntrackHub* hub, std::function<net::Status()> reload)
      : engine_(engine), hub_(hub), reload_(std::move(reload)) {}
  // The command of a request; never null. Control thread.
  std::unique_ptr<Command> Start(const CommandIo& io);

 private:
  Engine* engine_;
  ConntrackHub* hub_;
  std::function<net::Status()> reload_;
};

// A command that is done in one step.
std::unique_ptr<Command> OneStep(std::function<int(const CommandIo&)> run);

}  // namespace postern::control

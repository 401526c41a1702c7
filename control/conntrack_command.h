// `postern conntrack`: -L, -C and -S.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "control/command.h"
#include "control/conntrack_printer.h"
#include "dataplane/pipeline/dataplane.h"

namespace postern::control {

class Engine;

std::unique_ptr<Command> MakeConntrackCommand(const CommandIo& io, Engine* engine);
std::unique_ptr<Command> MakeConntrackCommand(const CommandIo& io, pipeline::Dataplane* dataplane);

// Reads one worker's table in pieces. Each Run() of it on its worker copies some hundreds of
// connections, in steps of at most 256 slots; a connection that stays is copied exactly once.
class ConnectionReader : public pipeline::WorkerCommand {
 public:
  ConnectionReader();
  bool Step(pipeline::Pipeline& pipeline, net::Time now) override;
  // What the last Run() copied. Control thread.
  const std::vector<ConnectionCopy>& copies() const { return copies_; }
  // Before the next Run().
  void Clear() { copies_.clear(); }
  bool finished() const { return finished_; }

 private:
  static constexpr unsigned kSlotsPerStep = 256;
  std::vector<ConnectionCopy> copies_;  // never grows beyond what was reserved
  uint32_t cursor_ = 0;
  bool finished_ = false;
};

}  // namespace postern::control

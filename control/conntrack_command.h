// `postern conntrack`.
#pragma once

#include <memory>

#include "control/command.h"
#include "control/conntrack_events.h"
#include "dataplane/pipeline/dataplane.h"

namespace postern::control {

// Both outlive the command. Without a hub nobody can listen (-E).
std::unique_ptr<Command> MakeConntrackCommand(const CommandIo& io, pipeline::Dataplane* dataplane,
                                              ConntrackHub* hub);

}  // namespace postern::control

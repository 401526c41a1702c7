// `postern save [-c]`: the running rules back to the files that the configuration names.
#pragma once

#include <string>

#include "control/command.h"
#include "control/engine.h"

namespace postern::control {

// Writes `content` so that the file is either the old or the new one at every moment: a temporary
// file beside it, flushed, renamed. Mode 0640.
net::Status ReplaceFile(const std::string& path, const std::string& content);

// -c: with counters.
int RunSave(const CommandIo& io, Engine* engine);

}  // namespace postern::control

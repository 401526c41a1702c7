// The daemon's own log: stderr, or journald's form of it.
#pragma once

#include <string>

namespace postern::app {

// "trace", "debug", "info", "warning", "error", "critical" or "off"; false for anything else.
bool SetUpLogging(const std::string& level);

}  // namespace postern::app

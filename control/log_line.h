// The line that a LOG rule writes, as the kernel's nf_log_syslog writes it.
#pragma once

#include <string>
#include <vector>

#include "dataplane/pipeline/io.h"

namespace postern::control {

// Without a newline; the kernel's trailing blank is there. `port_names` by PortId; an id beyond it
// is an empty name.
std::string FormatLogLine(const pipeline::LogRecord& record,
                          const std::vector<std::string>& port_names);

}  // namespace postern::control

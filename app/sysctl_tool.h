// `postern sysctl`, and the link `sysctl` that stands before the machine's own.
#pragma once

#include "app/tool.h"

namespace postern::app {

// Under its own name (call.by_link) the names that Postern doesn't have are the machine's, below
// /proc/sys; as `postern sysctl` there are only Postern's.
int RunSysctlTool(const ToolCall& call);

}  // namespace postern::app

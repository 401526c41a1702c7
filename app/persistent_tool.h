// The link `netfilter-persistent`: Debian's command for rules that survive a restart, here for
// posternd's rules. (Debian's own saves and loads the machine's kernel's, whatever PATH is.)
#pragma once

#include "app/tool.h"

namespace postern::app {

// save: as `postern save`; start, reload, restart: as `postern reload`; flush: no rules, policies
// ACCEPT.
int RunPersistentTool(const ToolCall& call);

}  // namespace postern::app

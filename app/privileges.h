// Capabilities after the ports are up.
#pragma once

#include "dataplane/net/result.h"

namespace postern::app {

// Keeps what a running data plane needs (CAP_NET_ADMIN and CAP_NET_RAW for TAP and packet sockets,
// CAP_IPC_LOCK for locked memory) and drops everything else, bounding set included, in every
// thread of the process. Without any capability it does nothing. Call on the main thread.
net::Status DropCapabilities();

}  // namespace postern::app

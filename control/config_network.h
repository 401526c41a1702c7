// The network part of the configuration: ports, routes, neighbours, and whether they fit together.
#pragma once

#include "control/config.h"
#include "control/config_reader.h"

namespace postern::control {

// Reads `ports`, `routes` and `neighbors` of the root group.
void ReadNetwork(GroupReader* root, Config* config);

}  // namespace postern::control

// Whole files.
#pragma once

#include <string>

#include "dataplane/net/result.h"

namespace postern::control {

// The whole of a file; the error says why not, without the path.
net::Result<std::string> ReadFile(const std::string& path);

}  // namespace postern::control

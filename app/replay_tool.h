// `postern replay`'s command line.
#pragma once

#include <string>
#include <vector>

namespace postern::app {

int RunReplay(const std::vector<std::string>& arguments);

}  // namespace postern::app

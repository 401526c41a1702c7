// `postern check`: what is wrong with a configuration and its rules.
#pragma once

#include <string>
#include <vector>

namespace postern::app {

// Runs the command and returns its exit status.
int RunCheck(const std::vector<std::string>& arguments);

}  // namespace postern::app

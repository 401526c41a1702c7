// What -h and -V print.
#pragma once

#include <string>

#include "dataplane/net/address.h"

namespace postern::control::iptables {

// "1.8.9 (postern)".
extern const char kVersion[];

std::string HelpText(const std::string& program, net::Family family);
std::string RestoreHelpText(const std::string& program);

}  // namespace postern::control::iptables

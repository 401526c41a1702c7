// What -h prints.
#pragma once

#include <string>

#include "dataplane/net/address.h"

namespace postern::control::iptables {

std::string HelpText(const std::string& program, net::Family family);
std::string RestoreHelpText(const std::string& program);

}  // namespace postern::control::iptables

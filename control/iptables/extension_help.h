// What -h prints about an extension: its options, in our words.
#pragma once

#include <string>
#include <string_view>

#include "dataplane/net/address.h"

namespace postern::control::iptables {

// "\ntcp match options:\n…"; the title alone for an extension without options.
std::string MatchHelp(std::string_view name, net::Family family);
std::string TargetHelp(std::string_view name, net::Family family);

}  // namespace postern::control::iptables

// Port ranges as tcp and udp write them.
#pragma once

#include <string>
#include <string_view>

#include "control/iptables/values.h"

namespace postern::control::iptables {

// "80", "http", "1024:", ":1023", "a:b" with a <= b.
PortRange ParsePlainPorts(const std::string& text, const char* protocol);
// " --sport 1:2", nothing for all ports.
void SavePorts(std::string_view option, const PortRange& ports, bool invert, std::string* out);
// " spts:1:2", " dpt:http".
void ListPorts(std::string_view label, const PortRange& ports, bool invert, const char* protocol,
               bool numeric, std::string* out);

}  // namespace postern::control::iptables

// Port ranges as tcp and udp write them.
#pragma once

#include <string>
#include <string_view>

#include "control/iptables/values.h"

namespace postern::control::iptables {

// "80", "http", "1024:", ":1023", "a:b" with a <= b.
PortRange ParsePlainPorts(const std::string& text, const char* protocol);
// The original stores "! :1023" as "above 1023" and reads that back as "1024:65535". (It keeps
// "! 1024:".)
void NormalizePorts(PortRange* ports, bool* invert);
// " --sport 1:2", nothing for all ports.
void SavePorts(std::string_view option, const PortRange& ports, bool invert, std::string* out);
// " spts:1:2", " dpt:http".
void ListPorts(std::string_view label, const PortRange& ports, bool invert, const char* protocol,
               bool numeric, std::string* out);

}  // namespace postern::control::iptables

// The iptables family of commands on a running firewall: iptables, ip6tables, -save, -restore.
#pragma once

#include "control/command.h"
#include "control/firewall.h"

namespace postern::control::iptables {

// `io.program` says which one. Returns the exit status of the original.
int Run(const CommandIo& io, Firewall* firewall);

}  // namespace postern::control::iptables

// DPDK's environment abstraction layer: brought up once a process.
//
// The EAL's own log goes to a short memory instead of stderr, so that a failure becomes one
// sentence for the operator. Threads: start and stop on the control thread; drivers may log from
// any.
#pragma once

#include <string>
#include <vector>

#include "dataplane/dpdk/runtime_config.h"
#include "dataplane/net/result.h"

namespace postern::dpdk {

// "0000:03:00.0" or "03:00.0".
bool IsPciAddress(const std::string& device);
// "net_af_packet0" of "net_af_packet0,iface=veth0".
std::string DeviceName(const std::string& device);
// The value of `key` in a --vdev string, or "".
std::string DeviceArgument(const std::string& device, const std::string& key);

// The EAL's command line. Logical core 0 is the main one, worker w is logical core w + 1; each is
// mapped to its CPU, so that several may share one.
std::vector<std::string> EalArguments(const RuntimeConfig& config, bool hugepages);

// Megabytes of free hugepages, all sizes.
size_t FreeHugepagesMb();

// Fails with a sentence where a CPU doesn't exist, memory is short, and so on. Pins the calling
// thread to the main core.
net::Status StartEal(const RuntimeConfig& config);
// After every port is closed.
void StopEal();

// What DPDK has logged since the last call, a line each. Any thread.
std::vector<std::string> TakeEalMessages();
// The same as one piece of text for an error: ": a; b", or "".
std::string EalReason();

}  // namespace postern::dpdk

// The host kernel's network devices: what the data plane asks the kernel to do with them.
//
// Devices are named, in the network namespace of the daemon. Control thread and host thread; none
// of this is called while packets wait.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dataplane/net/address.h"
#include "dataplane/net/result.h"

namespace postern::dpdk {

// The largest name of a device (IFNAMSIZ without its zero).
inline constexpr size_t kMaxDeviceName = 15;

bool DeviceExists(const std::string& device);
// IFF_UP and IFF_RUNNING; true when the kernel doesn't say.
bool DeviceIsRunning(const std::string& device);

net::Status SetDeviceMac(const std::string& device, const net::MacAddress& mac);
net::Status SetDeviceUp(const std::string& device);
std::optional<unsigned> DeviceMtu(const std::string& device);
net::Status SetDeviceMtu(const std::string& device, unsigned mtu);

// With the prefix' network as a connected route.
net::Status AddDeviceAddress(const std::string& device, const net::Prefix& address);
// A route of the main table; a large `metric` lets any other of the same prefix win.
net::Status AddDeviceRoute(const std::string& device, const net::Prefix& prefix,
                           const std::optional<net::IpAddress>& via, uint32_t metric);

// Writes /proc/sys/net/FAMILY/conf/DEVICE/NAME. False when that can't be (no IPv6, say).
bool SetDeviceOption(const std::string& device, net::Family family, const std::string& name,
                     const std::string& value);

// Keeps the host's own stack from answering what a data port receives through this device: no ARP,
// no IPv6, no IPv4 packet that the host would route back elsewhere.
void SilenceDevice(const std::string& device);

}  // namespace postern::dpdk

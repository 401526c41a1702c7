#include "dataplane/dpdk/host_interface.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "dataplane/dpdk/net_device.h"
#include "dataplane/route/route_table.h"

namespace postern::dpdk {
namespace {

// Any other route of the host wins over ours.
constexpr uint32_t kRouteMetric = 4000;

net::Error Failure(const PortSettings& settings, const std::string& what) {
  return {"port " + settings.name + ": its host interface " + what};
}

net::Status Configure(const PortSettings& settings, const net::MacAddress& port_mac,
                      const net::MacAddress& host_mac) {
  const std::string& name = settings.name;
  // The kernel shouldn't configure itself: the addresses are the port's, checked by the operator.
  for (const auto& [option, value] :
       {std::pair("accept_ra", "0"), std::pair("autoconf", "0"), std::pair("accept_dad", "0"),
        std::pair("dad_transmits", "0"), std::pair("router_solicitations", "0"),
        std::pair("addr_gen_mode", "1")}) {
    SetDeviceOption(name, net::Family::kIpv6, option, value);
  }
  const bool ipv6 = SetDeviceOption(name, net::Family::kIpv6, "disable_ipv6", "0");
  // Answers to a packet may leave by another twin than it came from.
  SetDeviceOption(name, net::Family::kIpv4, "rp_filter", "0");
  // What REJECT answers to a program of the appliance comes from one of its own addresses.
  SetDeviceOption(name, net::Family::kIpv4, "accept_local", "1");
  if (net::Status status = SetDeviceMac(name, host_mac); !status) return status;
  if (net::Status status = SetDeviceMtu(name, settings.mtu); !status) return status;
  if (net::Status status = SetDeviceUp(name); !status) return status;
  for (const net::Prefix& address : settings.addresses) {
    if (address.family == net::Family::kIpv6 && !ipv6) continue;
    if (net::Status status = AddDeviceAddress(name, address); !status) return status;
  }
  if (ipv6) {
    const net::Prefix link_local{net::Family::kIpv6, route::LinkLocalAddress(port_mac), 64};
    if (net::Status status = AddDeviceAddress(name, link_local); !status) return status;
  }
  for (const HostRoute& route : settings.host_routes) {
    if (route.prefix.family == net::Family::kIpv6 && !ipv6) continue;
    net::Status status = AddDeviceRoute(name, route.prefix, route.via, kRouteMetric);
    if (!status) return status;
  }
  return {};
}

}  // namespace

net::MacAddress TwinMac(const net::MacAddress& port) {
  net::MacAddress mac = port;
  mac.bytes[0] = static_cast<uint8_t>((mac.bytes[0] | 0x02) & ~0x01);
  mac.bytes[1] ^= 0x50;  // differs whatever the first byte was
  return mac;
}

net::Result<HostInterface> HostInterface::Create(const PortSettings& settings, net::PortId port,
                                                 const net::MacAddress& port_mac,
                                                 const net::MacAddress& host_mac) {
  const std::string& name = settings.name;
  if (name.empty() || name.size() > kMaxDeviceName) {
    return Failure(settings, "can't have that name: a Linux interface's name has 1 to " +
                                 std::to_string(kMaxDeviceName) + " characters");
  }
  if (DeviceExists(name)) {
    return Failure(settings, "can't be made: the host has an interface " + name +
                                 " already; name the port otherwise or set host = false");
  }
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    return Failure(settings, std::string("needs /dev/net/tun: ") + std::strerror(errno));
  }
  HostInterface interface(fd, port);
  ifreq request{};
  name.copy(request.ifr_name, kMaxDeviceName);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | static_cast<short>(IFF_TUN_EXCL);
  if (ioctl(fd, TUNSETIFF, &request) != 0) {
    return Failure(settings, std::string("can't be made: ") + std::strerror(errno));
  }
  if (net::Status status = Configure(settings, port_mac, host_mac); !status) {
    return net::Error{"port " + name + ": " + status.error()};
  }
  return interface;
}

HostInterface::HostInterface(HostInterface&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), port_(other.port_) {}

HostInterface::~HostInterface() {
  if (fd_ >= 0) close(fd_);
}

size_t HostInterface::Read(uint8_t* frame, size_t room) const {
  const ssize_t size = read(fd_, frame, room);
  return size > 0 ? static_cast<size_t>(size) : 0;
}

bool HostInterface::Write(const uint8_t* frame, size_t length) const {
  return write(fd_, frame, length) == static_cast<ssize_t>(length);
}

}  // namespace postern::dpdk

#include "dataplane/dpdk/net_device.h"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace postern::dpdk {
namespace {

class Socket {
 public:
  Socket(int domain, int type, int protocol) : fd_(socket(domain, type | SOCK_CLOEXEC, protocol)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

ifreq RequestFor(const std::string& device) {
  ifreq request{};
  device.copy(request.ifr_name, kMaxDeviceName);
  return request;
}

bool Ask(unsigned long what, ifreq* request) {
  const Socket socket(AF_INET, SOCK_DGRAM, 0);
  return ioctl(socket.fd(), what, request) == 0;
}

net::Error Failure(const std::string& device, const std::string& what, int error) {
  return {"interface " + device + ": " + what + ": " + std::strerror(error)};
}

// A request to rtnetlink with room for its attributes.
class Request {
 public:
  template <typename Body>
  Request(uint16_t type, uint16_t flags, const Body& body) {
    header()->nlmsg_type = type;
    header()->nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST | NLM_F_ACK);
    header()->nlmsg_len = NLMSG_LENGTH(sizeof(Body));
    std::memcpy(NLMSG_DATA(header()), &body, sizeof(Body));
  }

  void Add(uint16_t type, const void* value, size_t size) {
    auto* attribute = reinterpret_cast<rtattr*>(buffer_ + NLMSG_ALIGN(header()->nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = static_cast<uint16_t>(RTA_LENGTH(size));
    std::memcpy(RTA_DATA(attribute), value, size);
    header()->nlmsg_len =
        static_cast<uint32_t>(NLMSG_ALIGN(header()->nlmsg_len) + RTA_ALIGN(attribute->rta_len));
  }
  void AddAddress(uint16_t type, net::Family family, const net::IpAddress& address) {
    Add(type, address.bytes.data(), family == net::Family::kIpv4 ? 4 : 16);
  }

  // 0 or an errno.
  int Send() {
    const Socket socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    if (socket.fd() < 0) return errno;
    if (send(socket.fd(), buffer_, header()->nlmsg_len, 0) < 0) return errno;
    alignas(nlmsghdr) char answer[1024];
    const ssize_t size = recv(socket.fd(), answer, sizeof(answer), 0);
    if (size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr)))) return EPROTO;
    const auto* reply = reinterpret_cast<const nlmsghdr*>(answer);
    if (reply->nlmsg_type != NLMSG_ERROR) return EPROTO;
    return -static_cast<const nlmsgerr*>(NLMSG_DATA(reply))->error;
  }

 private:
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(buffer_); }
  alignas(nlmsghdr) char buffer_[256] = {};
};

}  // namespace

bool DeviceExists(const std::string& device) { return if_nametoindex(device.c_str()) != 0; }

bool DeviceIsRunning(const std::string& device) {
  ifreq request = RequestFor(device);
  if (!Ask(SIOCGIFFLAGS, &request)) return errno != ENODEV;
  return (request.ifr_flags & IFF_UP) != 0 && (request.ifr_flags & IFF_RUNNING) != 0;
}

net::Status SetDeviceMac(const std::string& device, const net::MacAddress& mac) {
  ifreq request = RequestFor(device);
  request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  std::memcpy(request.ifr_hwaddr.sa_data, mac.bytes.data(), mac.bytes.size());
  if (!Ask(SIOCSIFHWADDR, &request)) return Failure(device, "can't set its MAC address", errno);
  return {};
}

net::Status SetDeviceUp(const std::string& device) {
  ifreq request = RequestFor(device);
  if (!Ask(SIOCGIFFLAGS, &request)) return Failure(device, "can't read its state", errno);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (!Ask(SIOCSIFFLAGS, &request)) return Failure(device, "can't set it up", errno);
  return {};
}

std::optional<unsigned> DeviceMtu(const std::string& device) {
  ifreq request = RequestFor(device);
  if (!Ask(SIOCGIFMTU, &request)) return std::nullopt;
  return static_cast<unsigned>(request.ifr_mtu);
}

net::Status SetDeviceMtu(const std::string& device, unsigned mtu) {
  ifreq request = RequestFor(device);
  request.ifr_mtu = static_cast<int>(mtu);
  if (!Ask(SIOCSIFMTU, &request)) {
    return Failure(device, "can't set an MTU of " + std::to_string(mtu), errno);
  }
  return {};
}

net::Status AddDeviceAddress(const std::string& device, const net::Prefix& address) {
  ifaddrmsg body{};
  body.ifa_family = static_cast<uint8_t>(address.family);
  body.ifa_prefixlen = address.length;
  body.ifa_flags = address.family == net::Family::kIpv6 ? IFA_F_NODAD : 0;
  body.ifa_index = if_nametoindex(device.c_str());
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body);
  request.AddAddress(IFA_LOCAL, address.family, address.address);
  request.AddAddress(IFA_ADDRESS, address.family, address.address);
  if (const int error = request.Send(); error != 0) {
    return Failure(device, "can't add the address " + net::ToString(address), error);
  }
  return {};
}

net::Status AddDeviceRoute(const std::string& device, const net::Prefix& prefix,
                           const std::optional<net::IpAddress>& via, uint32_t metric) {
  rtmsg body{};
  body.rtm_family = static_cast<uint8_t>(prefix.family);
  body.rtm_dst_len = prefix.length;
  body.rtm_table = RT_TABLE_MAIN;
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_scope = via.has_value() ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  body.rtm_type = RTN_UNICAST;
  Request request(RTM_NEWROUTE, NLM_F_CREATE, body);
  const net::IpAddress network = prefix.address & net::PrefixMask(prefix.family, prefix.length);
  request.AddAddress(RTA_DST, prefix.family, network);
  if (via.has_value()) request.AddAddress(RTA_GATEWAY, prefix.family, *via);
  const unsigned index = if_nametoindex(device.c_str());
  request.Add(RTA_OIF, &index, sizeof(index));
  request.Add(RTA_PRIORITY, &metric, sizeof(metric));
  if (const int error = request.Send(); error != 0) {
    return Failure(device, "can't add the route " + net::ToString(prefix), error);
  }
  return {};
}

bool SetDeviceOption(const std::string& device, net::Family family, const std::string& name,
                     const std::string& value) {
  const char* folder = family == net::Family::kIpv4 ? "ipv4" : "ipv6";
  std::ofstream file("/proc/sys/net/" + std::string(folder) + "/conf/" + device + "/" + name);
  file << value << std::flush;
  return file.good();
}

void SilenceDevice(const std::string& device) {
  SetDeviceOption(device, net::Family::kIpv6, "disable_ipv6", "1");
  // 8: answers no ARP request for any address.
  SetDeviceOption(device, net::Family::kIpv4, "arp_ignore", "8");
  // Strict: a source is reached through a twin, never through this device.
  SetDeviceOption(device, net::Family::kIpv4, "rp_filter", "1");
}

}  // namespace postern::dpdk

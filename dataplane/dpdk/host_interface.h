// A port's twin in the host's kernel: a TAP device named like the port, with the port's addresses.
//
// A program on the appliance listens and connects on it; its packets pass INPUT and OUTPUT.
//
// The kernel holds the addresses and answers for nobody on the wire: Postern's pipeline answers ARP
// and ND on both sides. The twin's MAC address isn't the port's, so that the pipeline and the
// kernel are two stations on a wire between them. The device isn't persistent: it goes when the
// process does, however it ends.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/dpdk/runtime_config.h"
#include "dataplane/net/packet.h"
#include "dataplane/net/result.h"

namespace postern::dpdk {

// The twin's address where the configuration gives none: locally administered, another than
// `port`.
net::MacAddress TwinMac(const net::MacAddress& port);

class HostInterface {
 public:
  // Creates the device and sets it up.
  static net::Result<HostInterface> Create(const PortSettings& settings, net::PortId port,
                                           const net::MacAddress& port_mac,
                                           const net::MacAddress& host_mac);
  ~HostInterface();
  HostInterface(HostInterface&& other) noexcept;
  HostInterface& operator=(HostInterface&&) = delete;

  net::PortId port() const { return port_; }
  int fd() const { return fd_; }

  // The next frame that the kernel sends; its length, 0 when there is none. Never blocks.
  size_t Read(uint8_t* frame, size_t room) const;
  // False when the kernel doesn't take it.
  bool Write(const uint8_t* frame, size_t length) const;

 private:
  HostInterface(int fd, net::PortId port) : fd_(fd), port_(port) {}
  int fd_;
  net::PortId port_;
};

}  // namespace postern::dpdk

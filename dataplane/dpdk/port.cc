#include "dataplane/dpdk/port.h"

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/net_device.h"
#include "dataplane/dpdk/packet_buffer.h"
#include "dataplane/net/random.h"

namespace postern::dpdk {
namespace {

constexpr uint64_t kRssTypes =
    RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP |
    RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV4_SCTP | RTE_ETH_RSS_NONFRAG_IPV4_OTHER |
    RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_TCP |
    RTE_ETH_RSS_NONFRAG_IPV6_UDP | RTE_ETH_RSS_NONFRAG_IPV6_SCTP | RTE_ETH_RSS_NONFRAG_IPV6_OTHER;

// Devices that are a window on a device of the host's kernel. The kernel's device keeps its own MAC
// address: setting it would make the host's stack take the port's frames for its own.
std::string KernelDeviceOf(const std::string& device) {
  if (device.starts_with("net_af_packet") || device.starts_with("eth_af_packet") ||
      device.starts_with("net_af_xdp") || device.starts_with("net_tap")) {
    return DeviceArgument(device, "iface");
  }
  return "";
}

bool IsKernelBacked(const std::string& device) {
  return !KernelDeviceOf(device).empty() || device.starts_with("net_tap");
}

bool IsUsable(const net::MacAddress& mac) { return !mac.IsMulticast() && mac != net::MacAddress(); }

}  // namespace

net::Error Port::Failure(const std::string& what, int error) const {
  return {"port " + settings_.name + ": " + what +
          (error == 0 ? "" : std::string(": ") + rte_strerror(error < 0 ? -error : error)) +
          EalReason()};
}

net::Result<std::unique_ptr<Port>> Port::Open(const RuntimeConfig& config, net::PortId id) {
  std::unique_ptr<Port> port(new Port(config.ports[id], id));
  if (net::Status status = port->Probe(static_cast<unsigned>(config.workers.size())); !status) {
    return net::Error{status.error()};
  }
  rte_eth_dev_info info{};
  if (const int error = rte_eth_dev_info_get(port->device_id_, &info); error != 0) {
    return port->Failure("its device doesn't answer", error);
  }
  port->ChooseQueues(config, info);
  port->ChooseMac(config.seed);
  return port;
}

net::Status Port::Probe(unsigned workers) {
  const std::string& device = settings_.device;
  const std::string name = DeviceName(device);
  if (IsPciAddress(device)) {
    // The EAL has probed it; the name that it goes by has a domain.
    const std::string full = std::count(name.begin(), name.end(), ':') == 2 ? name : "0000:" + name;
    if (rte_eth_dev_get_port_by_name(full.c_str(), &device_id_) != 0) {
      return Failure("no PCI network device " + name + " that a DPDK driver is bound to", 0);
    }
    return {};
  }
  if (rte_eth_dev_get_port_by_name(name.c_str(), &device_id_) == 0) {
    return Failure("another port has the device " + name, 0);
  }
  kernel_device_ = KernelDeviceOf(device);
  if (!kernel_device_.empty() && !DeviceExists(kernel_device_)) {
    return Failure("the host has no interface " + kernel_device_, 0);
  }
  const size_t comma = device.find(',');
  const std::string arguments = comma == std::string::npos ? "" : device.substr(comma + 1);
  const int error = name.starts_with("net_af_packet")
                        ? OpenAfPacket(name, arguments, workers)
                        : rte_eal_hotplug_add("vdev", name.c_str(), arguments.c_str());
  if (error != 0 || rte_eth_dev_get_port_by_name(name.c_str(), &device_id_) != 0) {
    return Failure("can't open the device " + device, error);
  }
  return {};
}

// DPDK 22.11's af_packet driver puts its sockets into a fanout group, whose DEFRAG flag makes the
// kernel reassemble IPv4 datagrams before the driver sees them, and cuts off what doesn't fit in a
// frame of its ring (2 KB unless told). So the frames are large, unless the operator has chosen.
int Port::OpenAfPacket(const std::string& name, std::string arguments, unsigned workers) {
  constexpr uint32_t kFrame = 32768;
  const std::string& device = settings_.device;
  const std::string chosen = DeviceArgument(device, "framesz");
  if (chosen.empty() && DeviceArgument(device, "blocksz").empty() &&
      DeviceArgument(device, "framecnt").empty()) {
    const std::string size = std::to_string(kFrame);
    arguments += ",framesz=" + size + ",blocksz=" + size + ",framecnt=512";
    frame_room_ = kFrame;
  } else {
    frame_room_ =
        chosen.empty() ? 0 : static_cast<uint32_t>(std::strtoul(chosen.c_str(), nullptr, 10));
  }
  // A socket a worker, if the kernel gives that many. Their spreading isn't ours, but the pipeline
  // sees to that.
  if (workers > 1 && DeviceArgument(device, "qpairs").empty()) {
    const std::string more = arguments + ",qpairs=" + std::to_string(workers);
    if (rte_eal_hotplug_add("vdev", name.c_str(), more.c_str()) == 0) return 0;
  }
  return rte_eal_hotplug_add("vdev", name.c_str(), arguments.c_str());
}

void Port::ChooseQueues(const RuntimeConfig& config, const rte_eth_dev_info& info) {
  const auto workers = static_cast<unsigned>(config.workers.size());
  rx_queues_ = std::clamp<unsigned>(info.max_rx_queues, 1, workers);
  tx_queues_ = std::clamp<unsigned>(info.max_tx_queues, 1, workers);
  rx_descriptors_ = config.rx_descriptors;
  tx_descriptors_ = config.tx_descriptors;
  rte_eth_dev_adjust_nb_rx_tx_desc(device_id_, &rx_descriptors_, &tx_descriptors_);
}

// The device's own where it has a usable one, because the network may know it already.
void Port::ChooseMac(uint64_t seed) {
  net::MacAddress own;
  rte_ether_addr address{};
  if (rte_eth_macaddr_get(device_id_, &address) == 0) {
    std::memcpy(own.bytes.data(), address.addr_bytes, own.bytes.size());
  }
  const bool twin_of_kernel = settings_.device.starts_with("net_tap");
  if (settings_.mac.has_value()) {
    mac_ = *settings_.mac;
  } else if (IsUsable(own) && !twin_of_kernel) {
    mac_ = own;
  } else {
    net::Rng random(seed + id_);
    for (uint8_t& byte : mac_.bytes) byte = static_cast<uint8_t>(random.Next() >> 56);
    mac_.bytes[0] = static_cast<uint8_t>((mac_.bytes[0] | 0x02) & ~0x01);
  }
  if (mac_ == own) return;
  if (IsKernelBacked(settings_.device)) {
    needs_promiscuous_ = true;
    return;
  }
  std::memcpy(address.addr_bytes, mac_.bytes.data(), mac_.bytes.size());
  needs_promiscuous_ = rte_eth_dev_default_mac_addr_set(device_id_, &address) != 0;
}

bool Port::WantRss(const rte_eth_dev_info& info) const {
  return rx_queues_ > 1 && (info.flow_type_rss_offloads & kRssTypes) != 0 &&
         info.hash_key_size >= 40;
}

net::Status Port::Configure(const RuntimeConfig& config, const net::OwnerMap& owners,
                            const BufferStore& buffers) {
  rte_eth_dev_info info{};
  rte_eth_dev_info_get(device_id_, &info);
  // Some NICs have a longer key; the pattern goes on.
  const std::array<uint8_t, 40> key = owners.RssKey();
  std::vector<uint8_t> long_key(std::max<size_t>(info.hash_key_size, key.size()));
  for (size_t i = 0; i < long_key.size(); ++i) long_key[i] = key[i % 2];

  rte_eth_conf conf{};
  const uint32_t most = info.max_rx_pktlen > 18 ? info.max_rx_pktlen - 18 : 1500;
  conf.rxmode.mtu = std::min<uint32_t>({settings_.mtu, most, info.max_mtu});
  conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_CHECKSUM;
  if (WantRss(info)) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_key = long_key.data();
    conf.rx_adv_conf.rss_conf.rss_key_len = static_cast<uint8_t>(long_key.size());
    conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & kRssTypes;
  }
  const int error = rte_eth_dev_configure(device_id_, static_cast<uint16_t>(rx_queues_),
                                          static_cast<uint16_t>(tx_queues_), &conf);
  if (error != 0) return Failure("can't configure its device", error);
  const uint32_t room = rte_pktmbuf_data_room_size(buffers.mbufs()) - RTE_PKTMBUF_HEADROOM;
  rte_mempool* mbufs = frame_room_ > room ? buffers.large_mbufs() : buffers.mbufs();
  if (net::Status status = SetUpQueues(mbufs, info); !status) return status;
  SetMtu(config);
  return {};
}

net::Status Port::SetUpQueues(rte_mempool* mbufs, const rte_eth_dev_info& info) {
  int socket = rte_eth_dev_socket_id(device_id_);
  if (socket < 0) socket = SOCKET_ID_ANY;
  const auto node = static_cast<unsigned>(socket);
  rte_eth_rxconf rx = info.default_rxconf;
  rx.offloads = 0;
  for (unsigned q = 0; q < rx_queues_; ++q) {
    const int error = rte_eth_rx_queue_setup(device_id_, static_cast<uint16_t>(q), rx_descriptors_,
                                             node, &rx, mbufs);
    if (error != 0) return Failure("can't set up a receive queue", error);
  }
  rte_eth_txconf tx = info.default_txconf;
  tx.offloads = 0;
  for (unsigned q = 0; q < tx_queues_; ++q) {
    const int error =
        rte_eth_tx_queue_setup(device_id_, static_cast<uint16_t>(q), tx_descriptors_, node, &tx);
    if (error != 0) return Failure("can't set up a transmit queue", error);
  }
  return {};
}

void Port::SetMtu(const RuntimeConfig& config) const {
  uint16_t mtu = 0;
  rte_eth_dev_get_mtu(device_id_, &mtu);
  if (!kernel_device_.empty()) {
    // The host's device drops what is longer than its own MTU; never make it smaller.
    const unsigned has = DeviceMtu(kernel_device_).value_or(settings_.mtu);
    if (has >= settings_.mtu) return;
    if (net::Status status = SetDeviceMtu(kernel_device_, settings_.mtu); !status) {
      config.Log(LogLevel::kWarning, "port " + settings_.name + ": " + status.error());
    }
    return;
  }
  if (mtu == settings_.mtu) return;
  const int error = rte_eth_dev_set_mtu(device_id_, settings_.mtu);
  if (error != 0 && error != -ENOTSUP) {
    config.Log(LogLevel::kWarning, "port " + settings_.name + ": its device has no MTU of " +
                                       std::to_string(settings_.mtu) + ": " + rte_strerror(-error));
  }
}

// Bucket i goes to worker i % 128 % workers, as OwnerMap says.
void Port::SpreadRss(const rte_eth_dev_info& info) const {
  if (!WantRss(info) || info.reta_size == 0) return;
  std::vector<rte_eth_rss_reta_entry64> table((info.reta_size + RTE_ETH_RETA_GROUP_SIZE - 1) /
                                              RTE_ETH_RETA_GROUP_SIZE);
  for (unsigned i = 0; i < info.reta_size; ++i) {
    rte_eth_rss_reta_entry64& group = table[i / RTE_ETH_RETA_GROUP_SIZE];
    group.mask = UINT64_MAX;
    group.reta[i % RTE_ETH_RETA_GROUP_SIZE] =
        static_cast<uint16_t>(i % net::OwnerMap::kTableSize % rx_queues_);
  }
  // Without it packets take a detour over another worker, no more.
  rte_eth_dev_rss_reta_update(device_id_, table.data(), info.reta_size);
}

// Neighbour discovery and multicast need their groups; a MAC address that the device doesn't have
// needs everything.
void Port::ListenToAll(const RuntimeConfig& config) {
  if (rte_eth_allmulticast_enable(device_id_) != 0 && kernel_device_.empty()) {
    needs_promiscuous_ = true;
  }
  if (!needs_promiscuous_) return;
  const int error = rte_eth_promiscuous_enable(device_id_);
  if (error != 0 && error != -ENOTSUP) {
    config.Log(LogLevel::kWarning, "port " + settings_.name +
                                       ": its device can't be promiscuous, " +
                                       "so it may miss frames for " + net::ToString(mac_) + ": " +
                                       rte_strerror(-error));
  }
}

net::Status Port::Start(const RuntimeConfig& config) {
  if (!kernel_device_.empty()) {
    SilenceDevice(kernel_device_);
    if (net::Status status = SetDeviceUp(kernel_device_); !status) {
      return Failure(status.error(), 0);
    }
  }
  if (const int error = rte_eth_dev_start(device_id_); error != 0) {
    return Failure("can't start its device", error);
  }
  started_ = true;
  ListenToAll(config);
  rte_eth_dev_info info{};
  rte_eth_dev_info_get(device_id_, &info);
  SpreadRss(info);
  RefreshLink();
  return {};
}

void Port::Stop() {
  if (!started_) return;
  started_ = false;
  if (needs_promiscuous_) rte_eth_promiscuous_disable(device_id_);
  rte_eth_dev_stop(device_id_);
}

Port::~Port() {
  Stop();
  if (device_id_ != 0xffff) rte_eth_dev_close(device_id_);
}

void Port::RefreshLink() {
  rte_eth_link link{};
  bool up = rte_eth_link_get_nowait(device_id_, &link) != 0 || link.link_status == RTE_ETH_LINK_UP;
  // The af_packet driver of DPDK 22.11 always says yes.
  if (!kernel_device_.empty()) up = DeviceIsRunning(kernel_device_);
  link_up_.store(up, std::memory_order_relaxed);
}

pipeline::PortStats Port::Stats() const {
  pipeline::PortStats stats;
  stats.name = settings_.name;
  stats.link_up = link_up();
  rte_eth_stats device{};
  if (rte_eth_stats_get(device_id_, &device) == 0) {
    stats.rx_packets = device.ipackets;
    stats.tx_packets = device.opackets;
    stats.rx_bytes = device.ibytes;
    stats.tx_bytes = device.obytes;
    stats.rx_missed = device.imissed;
    stats.rx_errors = device.ierrors;
    stats.tx_errors = device.oerrors;
  }
  return stats;
}

}  // namespace postern::dpdk

// A data port: an ethdev with a receive and, where it can, a transmit queue a worker.
//
// A device with fewer receive queues than workers is polled by the first workers only; the pipeline
// hands each packet to its owner. A device with fewer transmit queues is fed by the workers that
// have one; the others hand finished frames to them (TransmitWorker).
//
// Life-cycle: Open (the device exists), Configure (queues), Start, Stop, Close. Control thread; the
// link state and the queues' numbers are read by all.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "dataplane/dpdk/runtime_config.h"
#include "dataplane/net/flow_hash.h"
#include "dataplane/net/packet.h"
#include "dataplane/net/result.h"
#include "dataplane/pipeline/dataplane.h"

struct rte_mempool;
struct rte_eth_dev_info;

namespace postern::dpdk {

class BufferStore;

class Port {
 public:
  static net::Result<std::unique_ptr<Port>> Open(const RuntimeConfig& config, net::PortId id);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  net::Status Configure(const RuntimeConfig& config, const net::OwnerMap& owners,
                        const BufferStore& buffers);
  net::Status Start(const RuntimeConfig& config);
  void Stop();

  net::PortId id() const { return id_; }
  uint16_t device_id() const { return device_id_; }
  const net::MacAddress& mac() const { return mac_; }
  unsigned rx_queues() const { return rx_queues_; }
  unsigned tx_queues() const { return tx_queues_; }
  // Who sends for `worker`: itself where it has a queue. Its queue is its own number.
  unsigned TransmitWorker(unsigned worker) const { return worker % tx_queues_; }
  // Buffers that the device may hold.
  unsigned MbufsHeld() const { return rx_queues_ * rx_descriptors_ + tx_queues_ * tx_descriptors_; }
  // Bytes that its driver wants to find in a receive buffer.
  uint32_t FrameRoom() const { return frame_room_; }

  bool link_up() const { return link_up_.load(std::memory_order_relaxed); }
  // Asks the device. One thread at a time (the host thread while it runs).
  void RefreshLink();
  // Name, link and the device's counters; drops are the caller's.
  pipeline::PortStats Stats() const;

 private:
  Port(const PortSettings& settings, net::PortId id) : id_(id), settings_(settings) {}

  net::Error Failure(const std::string& what, int error) const;
  net::Status Probe(unsigned workers);
  int OpenAfPacket(const std::string& name, std::string arguments, unsigned workers);
  void ChooseQueues(const RuntimeConfig& config, const rte_eth_dev_info& info);
  bool WantRss(const rte_eth_dev_info& info) const;
  net::Status SetUpQueues(rte_mempool* mbufs, const rte_eth_dev_info& info);
  void SpreadRss(const rte_eth_dev_info& info) const;
  void ChooseMac(uint64_t seed);
  void SetMtu(const RuntimeConfig& config) const;
  void ListenToAll(const RuntimeConfig& config);

  const net::PortId id_;
  const PortSettings settings_;
  uint16_t device_id_ = 0xffff;
  bool started_ = false;
  bool needs_promiscuous_ = false;
  uint32_t frame_room_ = 0;
  std::string kernel_device_;  // the host's device behind it, or ""
  net::MacAddress mac_;
  unsigned rx_queues_ = 1;
  unsigned tx_queues_ = 1;
  uint16_t rx_descriptors_ = 0;
  uint16_t tx_descriptors_ = 0;
  std::atomic<bool> link_up_{false};
};

}  // namespace postern::dpdk

// A worker's way out: transmit buffers, the host's ring, the other workers.
//
// Frames are collected a port and sent in bursts, at the latest at the end of the worker's loop
// (Flush). What finds no room is freed and counted. One thread: the worker's.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "dataplane/dpdk/counters.h"
#include "dataplane/dpdk/handoff.h"
#include "dataplane/dpdk/packet_buffer.h"
#include "dataplane/dpdk/port.h"
#include "dataplane/pipeline/io.h"

namespace postern::dpdk {

class WorkerIo : public pipeline::PipelineIo {
 public:
  static constexpr unsigned kBurst = 32;

  // `to_host` may be null when no port has a twin.
  WorkerIo(unsigned worker, const std::vector<std::unique_ptr<Port>>& ports,
           const BufferStore& buffers, HandoffMesh* mesh, Ring<void*>* to_host);

  bool Adopt(const pipeline::Frame& frame, net::PortId in_port, net::Packet* packet) override;
  void TransmitFrames(net::PortId in_port, net::PortId out_port,
                      std::span<const pipeline::Frame> frames) override;
  void Transmit(net::Packet* packet) override;
  void ToHost(net::PortId twin, net::Packet* packet) override;
  void Handoff(unsigned worker, pipeline::HandoffKind kind, net::Packet* packet) override;
  void SendRemoteEntry(unsigned worker, const pipeline::RemoteEntry& message) override;
  net::BufferPool* pool() override { return &pool_; }

  PacketPool& packet_pool() { return pool_; }
  // End of the loop: everything that is collected goes now.
  void Flush();
  const DropCounters& drops() const { return drops_; }
  uint64_t entries_lost() const { return entries_lost_.Get(); }

 private:
  struct TransmitBuffer {
    std::array<rte_mbuf*, kBurst> mbufs;
    unsigned size = 0;
  };
  void Drop(net::Packet* packet, net::DropReason reason);
  void FlushPort(unsigned port);
  void TransmitSingly(net::PortId in_port, net::PortId out_port,
                      std::span<const pipeline::Frame> frames);
  void Stage(unsigned worker, uint8_t kind, net::Packet* packet);
  void DropRefused(void** refused, unsigned count);

  const unsigned worker_;
  const std::vector<std::unique_ptr<Port>>& ports_;
  HandoffMesh* mesh_;
  Ring<void*>* to_host_;
  PacketPool pool_;
  HandoffStage stage_;
  std::vector<TransmitBuffer> transmit_;  // by port
  DropCounters drops_;
  Counter entries_lost_;
};

}  // namespace postern::dpdk

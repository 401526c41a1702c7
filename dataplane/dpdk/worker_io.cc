#include "dataplane/dpdk/worker_io.h"

#include <rte_ethdev.h>

namespace postern::dpdk {

using net::DropReason;

WorkerIo::WorkerIo(unsigned worker, const std::vector<std::unique_ptr<Port>>& ports,
                   const BufferStore& buffers, HandoffMesh* mesh, Ring<void*>* to_host)
    : worker_(worker),
      ports_(ports),
      mesh_(mesh),
      to_host_(to_host),
      pool_(buffers),
      stage_(mesh, worker),
      transmit_(ports.size()) {}

void WorkerIo::Drop(net::Packet* packet, DropReason reason) {
  drops_.Add(packet->in_port, reason);
  pool_.Free(packet);
}

bool WorkerIo::Adopt(const pipeline::Frame& frame, net::PortId in_port, net::Packet* packet) {
  if (pool_.Adopt(AsMbuf(frame.buffer), in_port, packet)) return true;
  drops_.Add(in_port, DropReason::kNoBuffer);
  return false;
}

void WorkerIo::TransmitFrames(net::PortId in_port, net::PortId out_port,
                              std::span<const pipeline::Frame> frames) {
  const Port& port = *ports_[out_port];
  if (!port.link_up() || port.TransmitWorker(worker_) != worker_) {
    TransmitSingly(in_port, out_port, frames);
    return;
  }
  TransmitBuffer& buffer = transmit_[out_port];
  for (const pipeline::Frame& frame : frames) {
    buffer.mbufs[buffer.size++] = PacketPool::Finish(frame, in_port);
    if (buffer.size == kBurst) FlushPort(out_port);
  }
}

// Where frames are lost or take a detour, they go as packets do.
void WorkerIo::TransmitSingly(net::PortId in_port, net::PortId out_port,
                              std::span<const pipeline::Frame> frames) {
  for (const pipeline::Frame& frame : frames) {
    net::Packet packet;
    PacketPool::View(PacketPool::Finish(frame, in_port), &packet);
    packet.in_port = in_port;
    packet.out_port = out_port;
    Transmit(&packet);
  }
}

void WorkerIo::Transmit(net::Packet* packet) {
  const Port& port = *ports_[packet->out_port];
  if (!port.link_up()) {
    Drop(packet, DropReason::kLinkDown);
    return;
  }
  const unsigned sender = port.TransmitWorker(worker_);
  if (sender != worker_) {
    Stage(sender, kTransmitForMe, packet);
    return;
  }
  const net::PortId in_port = packet->in_port;
  const net::PortId out_port = packet->out_port;
  rte_mbuf* mbuf = pool_.Finish(packet);
  if (mbuf == nullptr) {
    drops_.Add(in_port, DropReason::kNoBuffer);
    return;
  }
  TransmitBuffer& buffer = transmit_[out_port];
  buffer.mbufs[buffer.size++] = mbuf;
  if (buffer.size == kBurst) FlushPort(out_port);
}

void WorkerIo::FlushPort(unsigned port) {
  TransmitBuffer& buffer = transmit_[port];
  if (buffer.size == 0) return;
  const uint16_t device = ports_[port]->device_id();
  const auto queue = static_cast<uint16_t>(worker_);
  unsigned sent =
      rte_eth_tx_burst(device, queue, buffer.mbufs.data(), static_cast<uint16_t>(buffer.size));
  // A queue that was only late in noticing what has been sent takes the rest.
  if (sent < buffer.size) {
    sent += rte_eth_tx_burst(device, queue, buffer.mbufs.data() + sent,
                             static_cast<uint16_t>(buffer.size - sent));
  }
  for (unsigned i = sent; i < buffer.size; ++i) {
    drops_.Add(buffer.mbufs[i]->port, DropReason::kTxFull);
    rte_pktmbuf_free(buffer.mbufs[i]);
  }
  buffer.size = 0;
}

void WorkerIo::ToHost(net::PortId twin, net::Packet* packet) {
  if (to_host_ == nullptr) {
    Drop(packet, DropReason::kNoHostInterface);
    return;
  }
  packet->out_port = twin;
  MetaOf(packet->buffer)->packet = *packet;
  if (!to_host_->Push(packet->buffer)) Drop(packet, DropReason::kHostQueueFull);
}

void WorkerIo::Stage(unsigned worker, uint8_t kind, net::Packet* packet) {
  std::array<void*, HandoffStage::kBurst> refused;
  DropRefused(refused.data(), stage_.Add(worker, kind, packet, refused.data()));
}

void WorkerIo::DropRefused(void** refused, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    drops_.Add(MetaOf(refused[i])->packet.in_port, DropReason::kHandoffFull);
    PacketPool::FreeHandle(refused[i]);
  }
}

void WorkerIo::Handoff(unsigned worker, pipeline::HandoffKind kind, net::Packet* packet) {
  Stage(worker, static_cast<uint8_t>(kind), packet);
}

void WorkerIo::SendRemoteEntry(unsigned worker, const pipeline::RemoteEntry& message) {
  Ring<pipeline::RemoteEntry>& ring = mesh_->entries(worker_, worker);
  const bool room = message.IsUrgent() || ring.Room() > mesh_->urgent_entries();
  if (!room || !ring.Push(message)) entries_lost_.Add(1);
}

void WorkerIo::Flush() {
  for (unsigned port = 0; port < transmit_.size(); ++port) FlushPort(port);
  std::array<void*, HandoffStage::kBurst> refused;
  for (unsigned worker = 0; worker < mesh_->workers(); ++worker) {
    if (worker != worker_) DropRefused(refused.data(), stage_.Flush(worker, refused.data()));
  }
}

}  // namespace postern::dpdk

// The thread between the twins and the workers.
//
// It moves frames: worker's ring → twin, twin → ring of the worker that owns the packet. And it
// looks after the ports' links. Workers don't wake it (that would be a system call): it polls their
// rings, often while there is traffic and seldom when there is none; the twins' descriptors wake it
// at once. It runs on the main core.
//
// Life-cycle: Create, AddInterface, Start, Stop (joins). Threads: control thread but for Run.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "dataplane/dpdk/host_interface.h"
#include "dataplane/dpdk/packet_buffer.h"
#include "dataplane/dpdk/port.h"
#include "dataplane/dpdk/ring.h"
#include "dataplane/net/flow_hash.h"

namespace postern::dpdk {

class HostThread {
 public:
  static net::Result<std::unique_ptr<HostThread>> Create(
      unsigned workers, const std::vector<std::unique_ptr<Port>>& ports, const BufferStore& buffers,
      const net::OwnerMap& owners);
  ~HostThread();

  void AddInterface(HostInterface interface);
  void Start();
  void Stop();

  Ring<void*>* ToHost(unsigned worker) { return to_host_[worker].get(); }
  Ring<void*>* FromHost(unsigned worker) { return from_host_[worker].get(); }
  // Frames that the kernel (a twin that is down) or a worker (full ring) didn't take.
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  HostThread(const std::vector<std::unique_ptr<Port>>& ports, const BufferStore& buffers,
             const net::OwnerMap& owners);
  void Run();
  void Wait(uint64_t idle_since, uint64_t now) const;
  unsigned MoveToTwins();
  unsigned MoveFromTwins();
  // The next frame of a twin into a ring; false when there is none.
  bool MoveOne(const HostInterface& interface);

  const std::vector<std::unique_ptr<Port>>& ports_;
  const net::OwnerMap& owners_;
  PacketPool pool_;
  std::vector<std::unique_ptr<Ring<void*>>> to_host_;
  std::vector<std::unique_ptr<Ring<void*>>> from_host_;
  std::vector<HostInterface> interfaces_;
  std::vector<int> twin_of_port_;  // index into interfaces_, or -1
  int epoll_ = -1;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> lost_{0};
  std::thread thread_;
};

}  // namespace postern::dpdk

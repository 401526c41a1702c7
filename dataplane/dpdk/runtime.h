// The data plane of a daemon: EAL, ports, workers, host interfaces.
//
// Life-cycle: Start brings everything up, but no packet is received before the first Publish.
// Stop (or the destructor) ends the workers, sends what they still hold, closes the ports and the
// EAL; what the workers know (connections, counters) can be read and commands run until the object
// is destroyed. One Runtime a process (DPDK starts once). Nothing that it makes outlives the
// process, however that ends. Threads: the control thread, but for Now() and conntrack_entries():
// any.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "dataplane/dpdk/events.h"
#include "dataplane/dpdk/host_thread.h"
#include "dataplane/dpdk/runtime_config.h"
#include "dataplane/dpdk/worker.h"
#include "dataplane/pipeline/dataplane.h"

namespace postern::dpdk {

class Runtime : public pipeline::Dataplane {
 public:
  // A sentence that names the port or the setting where something fails; then nothing is left
  // behind.
  static net::Result<std::unique_ptr<Runtime>> Start(const RuntimeConfig& config);
  ~Runtime() override;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  unsigned workers() const override { return static_cast<unsigned>(workers_.size()); }
  std::unique_ptr<pipeline::Snapshot> Publish(std::unique_ptr<pipeline::Snapshot> next) override;
  const pipeline::Snapshot* current() const override { return current_.get(); }
  void Run(unsigned worker, pipeline::WorkerCommand* command) override;
  std::vector<pipeline::PortStats> Ports() override;
  std::vector<pipeline::WorkerStats> Workers() override;
  uint32_t conntrack_entries() const override {
    return shared_.entries.load(std::memory_order_relaxed);
  }
  net::Time Now() const override { return clock_->Now(); }

  // What the route table must be told of a port.
  net::MacAddress PortMac(net::PortId port) const { return ports_[port]->mac(); }
  net::MacAddress HostMac(net::PortId port) const { return host_macs_[port]; }
  const net::OwnerMap& owners() const { return *owners_; }

  // Hands out what the workers have written since; how many events. Also logs what DPDK says.
  size_t DrainEvents(const EventHandlers& handlers);
  // Only then OnConnection events are made.
  void SetWantsConnections(bool wants) { wants_connections_.store(wants); }
  // Connection events that found no room since the start.
  uint64_t ConnectionEventsLost() const;
  // Every reason that has happened at all.
  std::vector<Trouble> Troubles() const;

  void Stop();

 private:
  explicit Runtime(const RuntimeConfig& config);
  net::Status BringUp();
  net::Status OpenPorts();
  net::Status MakeBuffers();
  net::Status MakeHostInterfaces();
  net::Status MakeWorkers();
  net::Status Launch();
  void WaitForQuiescence();
  bool SharesCpus() const;
  bool Sleeps() const;

  // Immutable after Start. In the order of making; destroyed in the opposite one.
  const RuntimeConfig config_;
  bool eal_ = false;
  std::optional<Clock> clock_;
  std::optional<net::OwnerMap> owners_;
  std::unique_ptr<BufferStore> buffers_;
  std::unique_ptr<HandoffMesh> mesh_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::vector<net::MacAddress> host_macs_;
  std::unique_ptr<HostThread> host_;
  rte_rcu_qsbr* quiescence_ = nullptr;
  WorkerWorld world_;

  ctrack::SharedCount shared_;
  route::IcmpRateLimiter icmp_limiter_;
  std::atomic<const pipeline::Snapshot*> published_{nullptr};
  std::atomic<bool> stop_{false};
  std::atomic<bool> wants_connections_{false};
  std::vector<std::unique_ptr<Worker>> workers_;
  bool running_ = false;
  std::unique_ptr<pipeline::Snapshot> current_;
};

}  // namespace postern::dpdk

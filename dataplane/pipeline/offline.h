// The datapath without a NIC, a clock or the EAL: `postern replay`, packet cases and
// the differential tests.
//
// The same Pipelines as the daemon's, one a worker, run in turn on the caller's thread. A
// frame goes to the worker that RSS would choose (or, to prove that it doesn't matter, to a random
// one); hand-overs are queues that are emptied before Inject returns. Time is the caller's and must
// not go back. Deterministic for a given seed.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "ctrack/flow_table.h"
#include "dataplane/net/flow_hash.h"
#include "dataplane/pipeline/dataplane.h"
#include "dataplane/pipeline/heap_pool.h"
#include "dataplane/pipeline/pipeline.h"

namespace postern::pipeline {

enum class Arrival : uint8_t { kRss, kRandom };

// What the datapath sends.
class OfflineOutput {
 public:
  virtual ~OfflineOutput() = default;
  virtual void OnTransmit(net::PortId port, const net::Packet& frame) = 0;
  virtual void OnHost(net::PortId twin, const net::Packet& frame) = 0;
};

class OfflineEngine final : public Dataplane {
 public:
  struct Options {
    unsigned workers = 1;
    uint32_t connections = 262144;  // room in each worker's shard
    uint64_t seed = 1;
    Arrival arrival = Arrival::kRss;
    bool assume_neighbors = true;
    uint64_t promiscuous_ports = 0;           // bit set: accept any unicast destination MAC
    uint16_t tailroom = HeapPool::kTailroom;  // behind each frame that comes in
    std::vector<std::string> port_names;
  };
  OfflineEngine(const Options& options, OfflineOutput* output, EventSink* events,
                PacketObserver* observer);
  ~OfflineEngine() override;

  // A frame from a port, or from the host's kernel on the twin of `port`. A snapshot must be in
  // force.
  void Inject(net::PortId port, std::span<const uint8_t> frame, net::Time now);
  // At most kMaxBurst frames that a port has for its workers at once.
  void InjectBurst(net::PortId port, std::span<const std::vector<uint8_t>> frames, net::Time now);
  void InjectHost(net::PortId port, std::span<const uint8_t> frame, net::Time now);
  // Lets time pass: expiry, neighbours, fragments.
  void AdvanceTo(net::Time now);

  unsigned workers() const override { return static_cast<unsigned>(workers_.size()); }
  std::unique_ptr<Snapshot> Publish(std::unique_ptr<Snapshot> next) override;
  const Snapshot* current() const override { return snapshot_.get(); }
  void Run(unsigned worker, WorkerCommand* command) override;
  std::vector<PortStats> Ports() override;
  std::vector<WorkerStats> Workers() override;
  uint32_t conntrack_entries() const override { return shared_.entries.load(); }
  net::Time Now() const override { return now_; }
  // While they are held, what workers tell each other of tuples stays on its way, as though nobody
  // polled.
  void HoldEntries(bool hold);
  // Buffers in use: those that wait for a neighbour or for other fragments.
  size_t buffers_in_use() const { return pool_.outstanding(); }

 private:
  class Io;
  struct Worker;
  struct Handover {
    unsigned worker;
    HandoffKind kind;
    net::Packet packet;
  };

  struct Entry {
    unsigned worker;
    RemoteEntry message;
  };

  bool MakePacket(std::span<const uint8_t> frame, net::Packet* packet);
  bool MakeReceived(net::PortId port, std::span<const uint8_t> frame, net::Packet* packet);
  unsigned ArrivalWorker(const net::Packet& packet);
  void DrainHandovers();

  const Options options_;
  OfflineOutput* output_;
  net::Rng rng_;
  net::OwnerMap owners_;
  ctrack::SharedCount shared_;
  route::IcmpRateLimiter icmp_limiter_;
  HeapPool pool_;
  std::deque<Handover> handovers_;
  std::deque<Entry> entries_;
  bool held_ = false;
  std::vector<PortStats> ports_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Snapshot> snapshot_;
  net::Time now_ = 0;
};

}  // namespace postern::pipeline

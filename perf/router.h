// One worker's pipeline as the daemon makes it, without the daemon: the real connection table
// (FlowTable), the real packet buffers (mbufs), the real FIB (rte_fib) and rules that were read from
// iptables' text; two ports, which are the benchmark itself.
//
// Life-cycle: StartEal first; then one Ground, then any number of Routers on it.
// Threads: one, the EAL's main one.
// Invariant: between two calls of Receive() no mbuf is in use, so a small pool serves millions of
// packets, and its buffers are as warm as those of a port that recycles them.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>

#include "ctrack/flow_table.h"
#include "ctrack/pool.h"
#include "ctrack/tracker.h"
#include "dataplane/dpdk/clock.h"
#include "dataplane/dpdk/packet_buffer.h"
#include "dataplane/net/flow_hash.h"
#include "dataplane/net/result.h"
#include "dataplane/pipeline/pipeline.h"
#include "perf/frames.h"

namespace postern::perf {

inline constexpr size_t kBurst = 32;

// What all routers of a process share: buffers, routes, the clock.
struct Ground {
  static net::Result<std::unique_ptr<Ground>> Create();

  dpdk::Clock clock;
  std::unique_ptr<dpdk::BufferStore> buffers;
  std::shared_ptr<const route::RouteTable> routes;
};

// Takes what the pipeline sends and keeps it until the burst has been timed.
class Collector final : public pipeline::PipelineIo {
 public:
  explicit Collector(const dpdk::BufferStore& buffers) : pool_(buffers) {}

  bool Adopt(const pipeline::Frame& frame, net::PortId in_port, net::Packet* packet) override;
  void TransmitFrames(net::PortId in_port, net::PortId out_port,
                      std::span<const pipeline::Frame> frames) override;
  void Transmit(net::Packet* packet) override;
  void ToHost(net::PortId twin, net::Packet* packet) override;
  void Handoff(unsigned worker, pipeline::HandoffKind kind, net::Packet* packet) override;
  void SendRemoteEntry(unsigned, const pipeline::RemoteEntry&) override {}
  net::BufferPool* pool() override { return &pool_; }

  dpdk::PacketPool& packet_pool() { return pool_; }
  std::span<rte_mbuf* const> sent() const { return {sent_.data(), size_}; }
  void FreeSent();

 private:
  dpdk::PacketPool pool_;
  std::array<rte_mbuf*, 2 * pipeline::kMaxBurst> sent_{};
  size_t size_ = 0;
};

// What a burst took, in cycles of the time stamp counter.
struct BurstCycles {
  uint64_t io = 0;        // buffers, the frames' bytes into them, freeing: what ports would do
  uint64_t pipeline = 0;  // Pipeline::Receive, to the finished mbufs
  uint32_t sent = 0;      // frames
};

class Router {
 public:
  struct Options {
    std::string rules;         // iptables-save text
    uint32_t connections = 0;  // nf_conntrack_max
    bool fast_path = true;
  };
  static net::Result<std::unique_ptr<Router>> Create(const Ground& ground, const Options& options);

  // Makes packets of at most kBurst frames and gives them to the pipeline. With `answers` the ends
  // of the answer to each frame that was sent are stored there (room for kBurst).
  BurstCycles Receive(std::span<const Frame> frames, net::PortId port,
                      Endpoints* answers = nullptr);
  // Fills packets[0..frames.size()) with buffers that hold the frames.
  void Load(std::span<const Frame> frames, net::PortId port, net::Packet* packets);
  void Unload(std::span<net::Packet> packets);
  // Tick(), and the cycles that it took.
  uint64_t Tick();
  // From now on the clock is that much ahead.
  void Skip(net::Time time) { skipped_ += time; }

  net::Time Now() const { return ground_.clock.Now() + skipped_; }
  pipeline::Pipeline& pipeline() { return *pipeline_; }
  ctrack::Tracker& tracker() { return pipeline_->tracker(); }

 private:
  explicit Router(const Ground& ground);
  net::Status MakeSnapshot(const Options& options);
  net::Status MakePipeline(const Options& options);

  const Ground& ground_;
  net::Time skipped_ = 0;
  pipeline::Snapshot snapshot_;
  rules::SharedState shared_rules_;
  net::OwnerMap owners_;
  ctrack::SharedCount shared_;
  route::IcmpRateLimiter icmp_limiter_;
  Collector io_;
  std::unique_ptr<ctrack::ConnectionPool> pool_;
  std::unique_ptr<ctrack::FlowTable> table_;
  std::unique_ptr<pipeline::Pipeline> pipeline_;
};

}  // namespace postern::perf

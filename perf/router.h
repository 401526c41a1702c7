// One worker's pipeline as the daemon makes it, without the daemon: the real connection table
// (FlowTable), the real packet buffers (mbufs), the real FIB (rte_fib) and rules that were read
// from iptables' text; two ports, which are the benchmark itself.
//
// Life-cycle: StartEal first; then one Ground, then any number of Routers on it.
// Threads: one, the EAL's main one.
// Invariant: between two calls of Receive() no mbuf is in use, so a small pool serves millions of
// packets, and its buffers are as warm as those of a port that recycles them.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "ctrack/flow_table.h"
#include "ctrack/pool.h"
#include "ctrack/tracker.h"
#include "dataplane/dpdk/clock.h"
#include "dataplane/dpdk/large_pages.h"
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
    // Instead of the ground's clock one that stands until SetClock().
    std::optional<net::Time> clock;
    uint32_t udp_timeout = 0;  // seconds, of every kind of UDP; 0: the defaults
  };
  static net::Result<std::unique_ptr<Router>> Create(const Ground& ground, const Options& options);

  // Gives the pipeline at most kBurst frames as a port does. With `answers` the ends of the answer
  // to each frame that was sent are stored there (room for kBurst).
  BurstCycles Receive(std::span<const Frame> frames, net::PortId port,
                      Endpoints* answers = nullptr);
  struct Ticked {
    uint64_t cycles = 0;
    bool again = false;  // after the next burst
  };
  Ticked Tick();
  // Other rules in their place; call Adopt() then.
  net::Status Prepare(const std::string& rules);
  // What Prepare() has made is in force; the cycles that the worker takes for it.
  uint64_t Adopt();
  // From now on the clock is that much ahead.
  void Skip(net::Time time) { skipped_ += time; }
  void SetClock(net::Time now) { clock_ = now; }

  net::Time Now() const { return At(rte_rdtsc()); }
  pipeline::Pipeline& pipeline() { return *pipeline_; }
  ctrack::Tracker& tracker() { return pipeline_->tracker(); }

 private:
  Router(const Ground& ground, const Options& options);
  net::Time At(uint64_t cycles) const {
    return clock_.value_or(ground_.clock.At(cycles)) + skipped_;
  }
  // The mbufs of frames.
  void Fill(std::span<const Frame> frames, rte_mbuf** mbufs);
  net::Result<std::unique_ptr<pipeline::Snapshot>> MakeSnapshot(const std::string& rules);
  net::Status MakePipeline();

  const Ground& ground_;
  std::optional<net::Time> clock_;
  net::Time skipped_ = 0;
  const Options options_;
  std::unique_ptr<pipeline::Snapshot> snapshot_;
  std::unique_ptr<pipeline::Snapshot> next_snapshot_;
  rules::SharedState shared_rules_;
  net::OwnerMap owners_;
  ctrack::SharedCount shared_;
  route::IcmpRateLimiter icmp_limiter_;
  Collector io_;
  dpdk::LargePages connection_memory_;
  dpdk::LargePages table_memory_;
  dpdk::LargePages source_memory_;
  std::unique_ptr<ctrack::ConnectionPool> pool_;
  std::unique_ptr<ctrack::FlowTable> table_;
  std::unique_ptr<pipeline::Pipeline> pipeline_;
};

}  // namespace postern::perf

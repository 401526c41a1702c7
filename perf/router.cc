#include "perf/router.h"

#include <rte_mbuf.h>

#include <cstring>
#include <utility>
#include <vector>

#include "control/iptables/restore.h"
#include "dataplane/dpdk/rte_fib_adapter.h"
#include "nat/source_map.h"

namespace postern::perf {
namespace {

constexpr unsigned kMbufs = 4096;
constexpr uint32_t kPoolSlack = 1024;  // connections that wait to be reaped, as in the daemon
constexpr uint64_t kSeed = 2544;

std::vector<route::PortConfig> Ports() {
  const net::MacAddress no_twin{};
  return {{kWan, "wan0", kWanMac, no_twin, 1500, false, {*net::ParsePrefix("203.0.113.2/24")}},
          {kLan, "lan0", kLanMac, no_twin, 1500, false, {*net::ParsePrefix("192.0.2.1/24")}}};
}

net::IpAddress Address(const char* text) { return *net::ParseAddress(net::Family::kIpv4, text); }

std::vector<route::StaticNeighbor> Neighbors() {
  return {{net::Family::kIpv4, Address("203.0.113.1"), kWanPeerMac, kWan},
          {net::Family::kIpv4, Address("192.0.2.2"), kLanPeerMac, kLan}};
}

}  // namespace

net::Result<std::unique_ptr<Ground>> Ground::Create() {
  auto ground = std::make_unique<Ground>();
  dpdk::BufferStore::Sizes sizes;
  sizes.mbufs = kMbufs;
  sizes.blocks = 4;
  auto buffers = dpdk::BufferStore::Create(sizes);
  if (!buffers) return net::Error{buffers.error()};
  ground->buffers = std::move(*buffers);
  auto fib = dpdk::MakeRteFib(64);
  if (fib == nullptr) return net::Error{"no memory for a FIB"};
  const std::vector<route::StaticRoute> routes = {
      {*net::ParsePrefix("0.0.0.0/0"), Address("203.0.113.1"), net::kNoPort},
      {*net::ParsePrefix("198.18.0.0/16"), Address("192.0.2.2"), net::kNoPort}};
  ground->routes = std::make_shared<route::RouteTable>(Ports(), routes, std::move(fib), 1);
  return ground;
}

bool Collector::Adopt(const pipeline::Frame& frame, net::PortId in_port, net::Packet* packet) {
  return pool_.Adopt(dpdk::AsMbuf(frame.buffer), in_port, packet);
}

void Collector::TransmitFrames(net::PortId in_port, net::PortId,
                               std::span<const pipeline::Frame> frames) {
  for (const pipeline::Frame& frame : frames) {
    sent_[size_++] = dpdk::PacketPool::Finish(frame, in_port);
  }
}

void Collector::Transmit(net::Packet* packet) {
  rte_mbuf* mbuf = pool_.Finish(packet);
  if (mbuf != nullptr) sent_[size_++] = mbuf;
}

void Collector::ToHost(net::PortId, net::Packet* packet) { pool_.Free(packet); }

void Collector::Handoff(unsigned, pipeline::HandoffKind, net::Packet* packet) {
  pool_.Free(packet);
}

void Collector::FreeSent() {
  rte_pktmbuf_free_bulk(sent_.data(), static_cast<unsigned>(size_));
  size_ = 0;
}

Router::Router(const Ground& ground, const Options& options)
    : ground_(ground),
      clock_(options.clock),
      options_(options),
      owners_(0x6d5a, 1),
      icmp_limiter_(kSeed),
      io_(*ground.buffers) {}

net::Result<std::unique_ptr<Router>> Router::Create(const Ground& ground, const Options& options) {
  std::unique_ptr<Router> router(new Router(ground, options));
  if (net::Status status = router->Prepare(options.rules); !status) {
    return net::Error{status.error()};
  }
  if (net::Status status = router->MakePipeline(); !status) return net::Error{status.error()};
  router->Adopt();
  return router;
}

net::Result<std::unique_ptr<pipeline::Snapshot>> Router::MakeSnapshot(const std::string& rules) {
  rules::Model model;
  std::vector<std::string> errors;
  if (!control::iptables::ParseRestore(rules, "rules", {}, &model.ipv4, &errors) ||
      !rules::Validate(model, &errors)) {
    return net::Error{errors.empty() ? "bad rules" : errors.front()};
  }
  auto snapshot = std::make_unique<pipeline::Snapshot>();
  if (snapshot_ != nullptr) snapshot->generation = snapshot_->generation + 1;
  rules::RuleSet::Options rule_options;
  rule_options.port_names = {"wan0", "lan0"};
  rule_options.generation = snapshot->generation;
  snapshot->rules = rules::RuleSet::Compile(
      model, rule_options, &shared_rules_, snapshot_ != nullptr ? snapshot_->rules.get() : nullptr);
  snapshot->worker_rules.push_back(std::make_unique<rules::WorkerRules>(*snapshot->rules));
  snapshot->routes = ground_.routes;
  snapshot->neighbors = Neighbors();
  snapshot->conntrack.max = options_.connections;
  if (options_.udp_timeout != 0) {
    snapshot->conntrack.udp_timeout = options_.udp_timeout;
    snapshot->conntrack.udp_timeout_stream = options_.udp_timeout;
  }
  snapshot->fast_path = options_.fast_path;
  return snapshot;
}

net::Status Router::MakePipeline() {
  std::array<uint8_t, 16> key;
  net::Rng random(kSeed);
  for (uint8_t& byte : key) byte = static_cast<uint8_t>(random.Next() >> 56);
  const uint32_t connections = options_.connections + kPoolSlack;
  const uint32_t tuples = 2 * options_.connections + kPoolSlack;
  const auto reserve = [](size_t bytes) { return dpdk::ReserveLargePages(bytes, bytes); };
  connection_memory_ = reserve(ctrack::ConnectionPool::BytesFor(connections));
  table_memory_ = reserve(ctrack::FlowTable::BytesFor(tuples));
  source_memory_ = reserve(nat::SourceMap::BytesFor(connections));
  if (!connection_memory_ || !table_memory_ || !source_memory_) {
    return net::Error{"no memory for the connections"};
  }
  pool_ = std::make_unique<ctrack::ConnectionPool>(connections, connection_memory_.get());
  table_ = std::make_unique<ctrack::FlowTable>(tuples, net::FlowHasher(key), *pool_,
                                               table_memory_.get());
  pipeline::Pipeline::Context context;
  context.owners = &owners_;
  context.table = table_.get();
  context.pool = pool_.get();
  context.source_memory = source_memory_.get();
  context.shared = &shared_;
  context.icmp_limiter = &icmp_limiter_;
  context.io = &io_;
  context.seed = kSeed;
  pipeline_ = std::make_unique<pipeline::Pipeline>(context);
  return {};
}

net::Status Router::Prepare(const std::string& rules) {
  auto snapshot = MakeSnapshot(rules);
  if (!snapshot) return net::Error{snapshot.error()};
  next_snapshot_ = std::move(*snapshot);
  return {};
}

uint64_t Router::Adopt() {
  const uint64_t start = rte_rdtsc();
  pipeline_->Adopt(next_snapshot_.get());
  const uint64_t cycles = rte_rdtsc() - start;
  snapshot_ = std::move(next_snapshot_);
  return cycles;
}

void Router::Fill(std::span<const Frame> frames, rte_mbuf** mbufs) {
  rte_pktmbuf_alloc_bulk(ground_.buffers->mbufs(), mbufs, static_cast<unsigned>(frames.size()));
  for (size_t i = 0; i < frames.size(); ++i) {
    std::memcpy(rte_pktmbuf_mtod(mbufs[i], void*), frames[i].bytes.data(), Frame::kHeaderBytes);
    mbufs[i]->data_len = frames[i].length;
    mbufs[i]->pkt_len = frames[i].length;
  }
}

BurstCycles Router::Receive(std::span<const Frame> frames, net::PortId port, Endpoints* answers) {
  std::array<rte_mbuf*, kBurst> mbufs;
  std::array<pipeline::Frame, kBurst> received;
  BurstCycles cycles;
  const uint64_t start = rte_rdtsc();
  const net::Time now = At(start);
  Fill(frames, mbufs.data());
  for (size_t i = 0; i < frames.size(); ++i) received[i] = dpdk::PacketPool::ToFrame(mbufs[i]);
  const uint64_t loaded = rte_rdtsc();
  pipeline_->Receive({received.data(), frames.size()}, port, now);
  const uint64_t finished = rte_rdtsc();
  cycles.sent = static_cast<uint32_t>(io_.sent().size());
  if (answers != nullptr) {
    for (const rte_mbuf* mbuf : io_.sent()) {
      *answers++ = AnswerTo({rte_pktmbuf_mtod(mbuf, const uint8_t*), mbuf->data_len});
    }
  }
  const uint64_t before_free = rte_rdtsc();
  io_.FreeSent();
  cycles.io = loaded - start + (rte_rdtsc() - before_free);
  cycles.pipeline = finished - loaded;
  return cycles;
}

Router::Ticked Router::Tick() {
  const uint64_t start = rte_rdtsc();
  const bool again = pipeline_->Tick(At(start));
  return {rte_rdtsc() - start, again};
}

}  // namespace postern::perf

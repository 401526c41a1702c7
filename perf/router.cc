#include "perf/router.h"

#include <rte_mbuf.h>

#include <cstring>
#include <utility>
#include <vector>

#include "control/iptables/restore.h"
#include "dataplane/dpdk/rte_fib_adapter.h"

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

Router::Router(const Ground& ground)
    : ground_(ground), owners_(0x6d5a, 1), icmp_limiter_(kSeed), io_(*ground.buffers) {}

net::Result<std::unique_ptr<Router>> Router::Create(const Ground& ground, const Options& options) {
  std::unique_ptr<Router> router(new Router(ground));
  if (net::Status status = router->MakeSnapshot(options); !status) {
    return net::Error{status.error()};
  }
  if (net::Status status = router->MakePipeline(options); !status) {
    return net::Error{status.error()};
  }
  return router;
}

net::Status Router::MakeSnapshot(const Options& options) {
  rules::Model model;
  std::vector<std::string> errors;
  if (!control::iptables::ParseRestore(options.rules, "rules", {}, &model.ipv4, &errors) ||
      !rules::Validate(model, &errors)) {
    return net::Error{errors.empty() ? "bad rules" : errors.front()};
  }
  rules::RuleSet::Options rule_options;
  rule_options.port_names = {"wan0", "lan0"};
  snapshot_.rules = rules::RuleSet::Compile(model, rule_options, &shared_rules_, nullptr);
  snapshot_.worker_rules.push_back(std::make_unique<rules::WorkerRules>(*snapshot_.rules));
  snapshot_.routes = ground_.routes;
  snapshot_.neighbors = Neighbors();
  snapshot_.conntrack.max = options.connections;
  snapshot_.fast_path = options.fast_path;
  return {};
}

net::Status Router::MakePipeline(const Options& options) {
  std::array<uint8_t, 16> key;
  net::Rng random(kSeed);
  for (uint8_t& byte : key) byte = static_cast<uint8_t>(random.Next() >> 56);
  pool_ = std::make_unique<ctrack::ConnectionPool>(options.connections + kPoolSlack);
  table_ = std::make_unique<ctrack::FlowTable>(2 * options.connections + kPoolSlack,
                                               net::FlowHasher(key), *pool_);
  pipeline::Pipeline::Context context;
  context.owners = &owners_;
  context.table = table_.get();
  context.pool = pool_.get();
  context.shared = &shared_;
  context.icmp_limiter = &icmp_limiter_;
  context.io = &io_;
  context.seed = kSeed;
  pipeline_ = std::make_unique<pipeline::Pipeline>(context);
  pipeline_->Adopt(&snapshot_);
  return {};
}

void Router::Load(std::span<const Frame> frames, net::PortId port, net::Packet* packets) {
  std::array<rte_mbuf*, kBurst> mbufs;
  rte_pktmbuf_alloc_bulk(ground_.buffers->mbufs(), mbufs.data(),
                         static_cast<unsigned>(frames.size()));
  for (size_t i = 0; i < frames.size(); ++i) {
    std::memcpy(rte_pktmbuf_mtod(mbufs[i], void*), frames[i].bytes.data(), Frame::kHeaderBytes);
    mbufs[i]->data_len = frames[i].length;
    mbufs[i]->pkt_len = frames[i].length;
    io_.packet_pool().Adopt(mbufs[i], port, &packets[i]);
  }
}

void Router::Unload(std::span<net::Packet> packets) {
  for (net::Packet& packet : packets) io_.packet_pool().Free(&packet);
}

BurstCycles Router::Receive(std::span<const Frame> frames, net::PortId port, Endpoints* answers) {
  std::array<net::Packet, kBurst> packets;
  BurstCycles cycles;
  const uint64_t start = rte_rdtsc();
  const net::Time now = ground_.clock.At(start) + skipped_;
  Load(frames, port, packets.data());
  const uint64_t loaded = rte_rdtsc();
  pipeline_->Receive({packets.data(), frames.size()}, now);
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

uint64_t Router::Tick() {
  const uint64_t start = rte_rdtsc();
  pipeline_->Tick(ground_.clock.At(start) + skipped_);
  return rte_rdtsc() - start;
}

}  // namespace postern::perf

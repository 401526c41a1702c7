#include "dataplane/pipeline/offline.h"

#include <algorithm>
#include <cstring>

#include "dataplane/net/parse.h"

namespace postern::pipeline {
namespace {

std::array<uint8_t, 16> TableKey(uint64_t seed) {
  net::Rng rng(seed);
  std::array<uint8_t, 16> key;
  for (uint8_t& byte : key) byte = static_cast<uint8_t>(rng.Next());
  return key;
}

uint16_t OwnerSeed(uint64_t seed) { return static_cast<uint16_t>(net::Rng(seed).Next() | 1); }

}  // namespace

class OfflineEngine::Io final : public PipelineIo {
 public:
  Io(OfflineEngine* engine, unsigned worker) : engine_(engine), worker_(worker) {}

  // The engine gives packets to its pipelines, not frames.
  bool Adopt(const Frame&, net::PortId, net::Packet*) override { return false; }
  void TransmitFrames(net::PortId in_port, net::PortId out_port,
                      std::span<const Frame> frames) override {
    for (const Frame& frame : frames) {
      net::Packet packet;
      packet.data = frame.data;
      packet.length = frame.length;
      packet.buffer = frame.buffer;
      packet.in_port = in_port;
      packet.out_port = out_port;
      Transmit(&packet);
    }
  }
  void Transmit(net::Packet* packet) override {
    PortStats& port = engine_->ports_[packet->out_port];
    ++port.tx_packets;
    port.tx_bytes += packet->length;
    engine_->output_->OnTransmit(packet->out_port, *packet);
    engine_->pool_.Free(packet);
  }
  void ToHost(net::PortId twin, net::Packet* packet) override {
    engine_->output_->OnHost(twin, *packet);
    engine_->pool_.Free(packet);
  }
  void Handoff(unsigned worker, HandoffKind kind, net::Packet* packet) override {
    engine_->handovers_.push_back({worker, kind, *packet});
  }
  void SendRemoteEntry(unsigned worker, const RemoteEntry& message) override {
    engine_->entries_.push_back({worker, message});
  }
  net::BufferPool* pool() override { return &engine_->pool_; }

 private:
  OfflineEngine* engine_;
  [[maybe_unused]] unsigned worker_;
};

struct OfflineEngine::Worker {
  Worker(OfflineEngine* engine, unsigned number, EventSink* events, PacketObserver* observer)
      : connections(engine->options_.connections),
        table(2 * engine->options_.connections, net::FlowHasher(TableKey(engine->options_.seed)),
              connections),
        io(engine, number),
        pipeline({.worker = number,
                  .owners = &engine->owners_,
                  .table = &table,
                  .pool = &connections,
                  .shared = &engine->shared_,
                  .icmp_limiter = &engine->icmp_limiter_,
                  .io = &io,
                  .events = events,
                  .observer = observer,
                  .seed = engine->options_.seed + number,
                  .assume_neighbors = engine->options_.assume_neighbors,
                  .promiscuous_ports = engine->options_.promiscuous_ports}) {}

  ctrack::ConnectionPool connections;
  ctrack::FlowTable table;
  Io io;
  Pipeline pipeline;
  uint64_t handoffs_in = 0;
};

OfflineEngine::OfflineEngine(const Options& options, OfflineOutput* output, EventSink* events,
                             PacketObserver* observer)
    : options_(options),
      output_(output),
      rng_(options.seed ^ 0x617272697661),
      owners_(OwnerSeed(options.seed), options.workers),
      icmp_limiter_(options.seed ^ 0x69636d70),
      pool_(options.tailroom),
      ports_(options.port_names.size()) {
  for (size_t i = 0; i < ports_.size(); ++i) {
    ports_[i].name = options.port_names[i];
    ports_[i].link_up = true;
  }
  for (unsigned i = 0; i < options.workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(this, i, events, observer));
  }
}

OfflineEngine::~OfflineEngine() {
  for (Handover& handover : handovers_) pool_.Free(&handover.packet);
}

bool OfflineEngine::MakePacket(std::span<const uint8_t> frame, net::Packet* packet) {
  if (!pool_.Allocate(static_cast<uint32_t>(frame.size()), packet)) return false;
  if (!frame.empty()) std::memcpy(packet->data, frame.data(), frame.size());
  return true;
}

unsigned OfflineEngine::ArrivalWorker(const net::Packet& packet) {
  if (workers_.size() == 1) return 0;
  if (options_.arrival == Arrival::kRandom) {
    return rng_.Below(static_cast<uint32_t>(workers_.size()));
  }
  net::Packet parsed = packet;
  if (net::Parse(&parsed).kind != net::FrameKind::kIp) return 0;
  const auto tuple = net::TupleOf(parsed.ip);
  return tuple ? owners_.OwnerOf(*tuple) : 0;
}

bool OfflineEngine::MakeReceived(net::PortId port, std::span<const uint8_t> frame,
                                 net::Packet* packet) {
  if (!MakePacket(frame, packet)) return false;
  packet->in_port = port;
  ++ports_[port].rx_packets;
  ports_[port].rx_bytes += frame.size();
  return true;
}

void OfflineEngine::Inject(net::PortId port, std::span<const uint8_t> frame, net::Time now) {
  AdvanceTo(now);
  net::Packet packet;
  if (!MakeReceived(port, frame, &packet)) return;
  workers_[ArrivalWorker(packet)]->pipeline.Receive({&packet, 1}, now);
  DrainHandovers();
}

void OfflineEngine::InjectBurst(net::PortId port, std::span<const std::vector<uint8_t>> frames,
                                net::Time now) {
  AdvanceTo(now);
  std::vector<std::vector<net::Packet>> bursts(workers_.size());
  for (const std::vector<uint8_t>& frame : frames) {
    net::Packet packet;
    if (MakeReceived(port, frame, &packet)) bursts[ArrivalWorker(packet)].push_back(packet);
  }
  for (size_t worker = 0; worker < bursts.size(); ++worker) {
    if (!bursts[worker].empty()) workers_[worker]->pipeline.Receive(bursts[worker], now);
  }
  DrainHandovers();
}

void OfflineEngine::InjectHost(net::PortId port, std::span<const uint8_t> frame, net::Time now) {
  AdvanceTo(now);
  net::Packet packet;
  if (!MakePacket(frame, &packet)) return;
  packet.out_port = port;
  workers_[ArrivalWorker(packet)]->pipeline.ReceiveHost(&packet, now);
  DrainHandovers();
}

// As a worker does: entries before packets.
void OfflineEngine::DrainHandovers() {
  while (true) {
    if (!entries_.empty() && !held_) {
      const auto [to, message] = entries_.front();
      entries_.pop_front();
      workers_[to]->pipeline.ReceiveRemoteEntry(message, now_);
      continue;
    }
    if (handovers_.empty()) return;
    Handover next = handovers_.front();
    handovers_.pop_front();
    Worker& worker = *workers_[next.worker];
    ++worker.handoffs_in;
    worker.pipeline.ReceiveHandoff(&next.packet, next.kind, now_);
  }
}

// A worker ticks every kTickInterval; where nothing happens between two packets, as many ticks as
// it takes to sweep the whole pool come to the same.
void OfflineEngine::AdvanceTo(net::Time now) {
  if (now <= now_) return;
  for (auto& worker : workers_) {
    const uint64_t elapsed = (now - now_) / kTickInterval + 1;
    const uint64_t enough = worker->connections.high_water() / kSweepBudget + 1;
    for (uint64_t i = std::min(elapsed, enough); i > 0; --i) worker->pipeline.Tick(now);
  }
  now_ = now;
  DrainHandovers();
}

std::unique_ptr<Snapshot> OfflineEngine::Publish(std::unique_ptr<Snapshot> next) {
  for (auto& worker : workers_) worker->pipeline.Adopt(next.get());
  std::swap(snapshot_, next);
  return next;
}

void OfflineEngine::Run(unsigned worker, WorkerCommand* command) {
  while (!command->Step(workers_[worker]->pipeline, now_)) {
    if (held_ && !entries_.empty()) return;
    DrainHandovers();
  }
  DrainHandovers();
}

void OfflineEngine::HoldEntries(bool hold) {
  held_ = hold;
  DrainHandovers();
}

std::vector<PortStats> OfflineEngine::Ports() {
  std::vector<PortStats> ports = ports_;
  for (const auto& worker : workers_) {
    const PipelineStats& stats = worker->pipeline.stats();
    for (size_t port = 0; port < ports.size(); ++port) {
      for (size_t reason = 0; reason < net::kDropReasonCount; ++reason) {
        ports[port].drops[reason] += stats.drops[port][reason];
      }
    }
  }
  return ports;
}

std::vector<WorkerStats> OfflineEngine::Workers() {
  std::vector<WorkerStats> all;
  for (const auto& worker : workers_) {
    WorkerStats stats;
    const PipelineStats& counted = worker->pipeline.stats();
    stats.packets = counted.packets;
    stats.handoffs_out = counted.handoffs_out;
    stats.handoffs_in = worker->handoffs_in;
    stats.nat_exhausted = counted.nat_exhausted;
    stats.conntrack = worker->pipeline.tracker().stats();
    stats.connections = static_cast<uint32_t>(worker->pipeline.tracker().size());
    all.push_back(stats);
  }
  return all;
}

}  // namespace postern::pipeline

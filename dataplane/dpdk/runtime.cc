#include "dataplane/dpdk/runtime.h"

#include <rte_eal.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "dataplane/dpdk/eal.h"

namespace postern::dpdk {
namespace {

constexpr unsigned kMaxWorkers = 64;
constexpr size_t kEventBudget = 4096;
// How often the control thread looks whether a worker is done.
constexpr unsigned kPollMicroseconds = 50;
// Buffers that each worker may hold outside of the ports: its cache and what is in its rings.
constexpr unsigned kMbufsAWorker = 1024;
constexpr unsigned kBlocks = 128;
constexpr uint32_t kMostRoom = 65000;  // bytes of an mbuf: 16 bits count them
// Frames of a port that has large ones, in flight: some share of memory_mb.
constexpr unsigned kLeastLargeMbufs = 512;
constexpr unsigned kMostLargeMbufs = 4096;

int RunWorker(void* worker) {
  static_cast<Worker*>(worker)->Run();
  return 0;
}

// The CPUs of /sys's list "2-5,8".
std::set<unsigned> IsolatedCpus() {
  std::set<unsigned> cpus;
  std::ifstream file("/sys/devices/system/cpu/isolated");
  std::string range;
  while (std::getline(file, range, ',')) {
    unsigned first = 0;
    unsigned last = 0;
    const int read = std::sscanf(range.c_str(), "%u-%u", &first, &last);
    if (read < 1) continue;
    for (unsigned cpu = first; cpu <= (read == 2 ? last : first); ++cpu) cpus.insert(cpu);
  }
  return cpus;
}

net::Status CheckConfig(const RuntimeConfig& config) {
  if (config.workers.empty() || config.workers.size() > kMaxWorkers) {
    return net::Error{"workers: there must be 1 to " + std::to_string(kMaxWorkers) + " of them"};
  }
  if (config.ports.size() > net::kMaxPorts) {
    return net::Error{"ports: at most " + std::to_string(net::kMaxPorts) + " are possible"};
  }
  if (config.burst < 1 || config.burst > pipeline::kMaxBurst) {
    return net::Error{"burst: must be 1 to " + std::to_string(pipeline::kMaxBurst)};
  }
  return {};
}

}  // namespace

Runtime::Runtime(const RuntimeConfig& config)
    : config_(config), icmp_limiter_(config.seed ^ 0x69636d70) {}

net::Result<std::unique_ptr<Runtime>> Runtime::Start(const RuntimeConfig& config) {
  if (net::Status status = CheckConfig(config); !status) return net::Error{status.error()};
  if (net::Status status = StartEal(config); !status) return net::Error{status.error()};
  std::unique_ptr<Runtime> runtime(new Runtime(config));
  runtime->eal_ = true;
  if (net::Status status = runtime->BringUp(); !status) return net::Error{status.error()};
  return runtime;
}

net::Status Runtime::BringUp() {
  clock_.emplace();
  net::Rng random(config_.seed);
  owners_.emplace(static_cast<uint16_t>(random.Next() >> 32), config_.workers.size());
  using Step = net::Status (Runtime::*)();
  for (Step step : {&Runtime::OpenPorts, &Runtime::MakeBuffers, &Runtime::MakeHostInterfaces,
                    &Runtime::MakeWorkers, &Runtime::Launch}) {
    if (net::Status status = (this->*step)(); !status) return status;
  }
  return {};
}

net::Status Runtime::OpenPorts() {
  for (size_t i = 0; i < config_.ports.size(); ++i) {
    auto port = Port::Open(config_, static_cast<net::PortId>(i));
    if (!port) return net::Error{port.error()};
    host_macs_.push_back(config_.ports[i].host_mac.value_or(TwinMac((*port)->mac())));
    ports_.push_back(std::move(*port));
  }
  return {};
}

net::Status Runtime::MakeBuffers() {
  unsigned needed = kMbufsAWorker * static_cast<unsigned>(config_.workers.size());
  BufferStore::Sizes sizes;
  uint32_t large_room = 0;
  for (size_t i = 0; i < ports_.size(); ++i) {
    needed += ports_[i]->MbufsHeld();
    // Ethernet and two VLAN tags, and some bytes for a payload that grows.
    const uint32_t frame = config_.ports[i].mtu + 14U + 8 + 64;
    sizes.room = static_cast<uint16_t>(std::max<uint32_t>(sizes.room, std::min(frame, kMostRoom)));
    large_room = std::max(large_room, ports_[i]->FrameRoom());
  }
  if (config_.mbufs < needed) {
    return net::Error{"mbufs: " + std::to_string(config_.mbufs) + " are too few; these ports and " +
                      "workers may hold " + std::to_string(needed) + " (or lower rx_descriptors " +
                      "and tx_descriptors)"};
  }
  sizes.mbufs = config_.mbufs;
  if (large_room > sizes.room) {
    sizes.large_mbufs = std::clamp(2 * config_.memory_mb, kLeastLargeMbufs, kMostLargeMbufs);
    sizes.large_room = static_cast<uint16_t>(std::min(large_room, kMostRoom));
  }
  sizes.blocks = kBlocks;
  sizes.preemptible = SharesCpus();
  auto buffers = BufferStore::Create(sizes);
  if (!buffers) return net::Error{buffers.error()};
  buffers_ = std::move(*buffers);
  auto mesh = HandoffMesh::Create(static_cast<unsigned>(config_.workers.size()));
  if (!mesh) return net::Error{mesh.error()};
  mesh_ = std::move(*mesh);
  for (const auto& port : ports_) {
    net::Status status = port->Configure(config_, *owners_, *buffers_);
    if (!status) return status;
  }
  return {};
}

net::Status Runtime::MakeHostInterfaces() {
  auto host = HostThread::Create(static_cast<unsigned>(config_.workers.size()), ports_, *buffers_,
                                 *owners_);
  if (!host) return net::Error{host.error()};
  host_ = std::move(*host);
  for (size_t i = 0; i < ports_.size(); ++i) {
    if (!config_.ports[i].host) continue;
    auto interface = HostInterface::Create(config_.ports[i], static_cast<net::PortId>(i),
                                           ports_[i]->mac(), host_macs_[i]);
    if (!interface) return net::Error{interface.error()};
    host_->AddInterface(std::move(*interface));
  }
  return {};
}

net::Status Runtime::MakeWorkers() {
  const auto count = static_cast<uint32_t>(config_.workers.size());
  const size_t size = rte_rcu_qsbr_get_memsize(count);
  quiescence_ = static_cast<rte_rcu_qsbr*>(rte_zmalloc("qsbr", size, RTE_CACHE_LINE_SIZE));
  if (quiescence_ == nullptr || rte_rcu_qsbr_init(quiescence_, count) != 0) {
    return net::Error{"no memory; raise memory_mb"};
  }
  world_.clock = &*clock_;
  world_.owners = &*owners_;
  world_.shared = &shared_;
  world_.icmp_limiter = &icmp_limiter_;
  world_.ports = &ports_;
  world_.buffers = buffers_.get();
  world_.mesh = mesh_.get();
  world_.quiescence = quiescence_;
  world_.published = &published_;
  world_.stop = &stop_;
  world_.wants_connections = &wants_connections_;
  world_.conntrack_capacity = config_.conntrack_capacity;
  world_.burst = config_.burst;
  world_.sleeps = Sleeps();
  net::Rng random(config_.seed ^ 0x706f737465726e);
  world_.seed = random.Next();
  std::array<uint8_t, 16> key;
  for (uint8_t& byte : key) byte = static_cast<uint8_t>(random.Next() >> 56);
  const net::FlowHasher hasher(key);
  for (uint32_t w = 0; w < count; ++w) {
    rte_rcu_qsbr_thread_register(quiescence_, w);
    auto worker =
        Worker::Create(world_, w, config_.workers[w], hasher, host_->ToHost(w), host_->FromHost(w));
    if (!worker) return net::Error{worker.error()};
    workers_.push_back(std::move(*worker));
  }
  return {};
}

net::Status Runtime::Launch() {
  for (const auto& port : ports_) {
    if (net::Status status = port->Start(config_); !status) return status;
  }
  host_->Start();
  running_ = true;
  for (unsigned w = 0; w < workers_.size(); ++w) {
    if (rte_eal_remote_launch(RunWorker, workers_[w].get(), w + 1) != 0) {
      return net::Error{"can't start worker " + std::to_string(w)};
    }
  }
  return {};
}

// Two threads on one CPU, the main core counted.
bool Runtime::SharesCpus() const {
  std::set<unsigned> cpus = {config_.main_core};
  for (unsigned cpu : config_.workers) {
    if (!cpus.insert(cpu).second) return true;
  }
  return false;
}

bool Runtime::Sleeps() const {
  if (config_.idle != IdlePolicy::kAuto) return config_.idle == IdlePolicy::kSleep;
  const std::set<unsigned> isolated = IsolatedCpus();
  return SharesCpus() || !std::all_of(config_.workers.begin(), config_.workers.end(),
                                      [&](unsigned cpu) { return isolated.contains(cpu); });
}

void Runtime::WaitForQuiescence() {
  // Not rte_rcu_qsbr_synchronize, which would spin on a CPU that a worker may need.
  const uint64_t token = rte_rcu_qsbr_start(quiescence_);
  while (rte_rcu_qsbr_check(quiescence_, token, false) == 0) usleep(kPollMicroseconds);
}

std::unique_ptr<pipeline::Snapshot> Runtime::Publish(std::unique_ptr<pipeline::Snapshot> next) {
  published_.store(next.get(), std::memory_order_release);
  std::unique_ptr<pipeline::Snapshot> old = std::exchange(current_, std::move(next));
  if (running_) {
    WaitForQuiescence();
    WaitForQuiescence();
  } else {
    for (const auto& worker : workers_) worker->pipeline().Adopt(current_.get());
  }
  return old;
}

void Runtime::Run(unsigned worker, pipeline::WorkerCommand* command) {
  if (!running_) {
    while (!command->Step(workers_[worker]->pipeline(), Now())) {
      for (const auto& each : workers_) each->ReceiveEntries(Now());
    }
    return;
  }
  CommandSlot slot;
  slot.command = command;
  workers_[worker]->Post(&slot);
  while (!slot.done.load(std::memory_order_acquire)) usleep(kPollMicroseconds);
}

std::vector<pipeline::PortStats> Runtime::Ports() {
  std::vector<pipeline::PortStats> all;
  for (size_t i = 0; i < ports_.size(); ++i) {
    pipeline::PortStats stats = ports_[i]->Stats();
    for (const auto& worker : workers_) {
      for (size_t reason = 0; reason < net::kDropReasonCount; ++reason) {
        stats.drops[reason] += worker->Drops(i, reason);
      }
    }
    all.push_back(std::move(stats));
  }
  return all;
}

std::vector<pipeline::WorkerStats> Runtime::Workers() {
  std::vector<pipeline::WorkerStats> all;
  for (const auto& worker : workers_) all.push_back(worker->Stats());
  return all;
}

size_t Runtime::DrainEvents(const EventHandlers& handlers) {
  size_t drained = 0;
  for (const auto& worker : workers_) drained += worker->events().Drain(handlers, kEventBudget);
  for (const std::string& line : TakeEalMessages()) config_.Log(LogLevel::kWarning, line);
  return drained;
}

uint64_t Runtime::ConnectionEventsLost() const {
  uint64_t lost = 0;
  for (const auto& worker : workers_) lost += worker->events().connections_lost();
  return lost;
}

std::vector<Trouble> Runtime::Troubles() const {
  std::array<Trouble, net::kDropReasonCount> sum{};
  for (const auto& worker : workers_) worker->events().AddTroubles(&sum);
  std::vector<Trouble> happened;
  for (const Trouble& trouble : sum) {
    if (trouble.count != 0) happened.push_back(trouble);
  }
  return happened;
}

void Runtime::Stop() {
  if (!running_) return;
  stop_.store(true, std::memory_order_relaxed);
  rte_eal_mp_wait_lcore();
  running_ = false;
  host_->Stop();
  for (const auto& port : ports_) port->Stop();
}

Runtime::~Runtime() {
  Stop();
  workers_.clear();
  current_.reset();
  host_.reset();
  mesh_.reset();
  ports_.clear();
  buffers_.reset();
  rte_free(quiescence_);
  if (eal_) StopEal();
}

}  // namespace postern::dpdk

#include "dataplane/dpdk/host_thread.h"

#include <rte_cycles.h>
#include <rte_lcore.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>

#include "dataplane/net/parse.h"
#include "dataplane/net/tuple.h"

namespace postern::dpdk {
namespace {

constexpr unsigned kRing = 1024;
constexpr unsigned kBurst = 32;
// The largest frame that a twin gives: its MTU's, which is at most 65,535, and an Ethernet header.
constexpr uint32_t kMaxFrame = 65535 + 14;

}  // namespace

HostThread::HostThread(const std::vector<std::unique_ptr<Port>>& ports, const BufferStore& buffers,
                       const net::OwnerMap& owners)
    : ports_(ports), owners_(owners), pool_(buffers), twin_of_port_(ports.size(), -1) {}

net::Result<std::unique_ptr<HostThread>> HostThread::Create(
    unsigned workers, const std::vector<std::unique_ptr<Port>>& ports, const BufferStore& buffers,
    const net::OwnerMap& owners) {
  std::unique_ptr<HostThread> thread(new HostThread(ports, buffers, owners));
  for (unsigned w = 0; w < workers; ++w) {
    thread->to_host_.push_back(Ring<void*>::Create(kRing));
    thread->from_host_.push_back(Ring<void*>::Create(kRing));
    if (thread->to_host_.back() == nullptr || thread->from_host_.back() == nullptr) {
      return net::Error{"no memory for the rings to the host; raise memory_mb"};
    }
  }
  thread->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (thread->epoll_ < 0) return net::Error{"can't make an epoll descriptor"};
  return thread;
}

HostThread::~HostThread() {
  Stop();
  for (const auto* rings : {&to_host_, &from_host_}) {
    for (const auto& ring : *rings) {
      void* handle = nullptr;
      while (ring != nullptr && ring->Pop(&handle, 1) == 1) PacketPool::FreeHandle(handle);
    }
  }
  if (epoll_ >= 0) close(epoll_);
}

void HostThread::AddInterface(HostInterface interface) {
  epoll_event event{};
  event.events = EPOLLIN;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, interface.fd(), &event);
  twin_of_port_[interface.port()] = static_cast<int>(interfaces_.size());
  interfaces_.push_back(std::move(interface));
}

void HostThread::Start() {
  thread_ = std::thread([this] { Run(); });
}

void HostThread::Stop() {
  stop_.store(true, std::memory_order_relaxed);
  if (thread_.joinable()) thread_.join();
}

void HostThread::Run() {
  prctl(PR_SET_NAME, "postern-host");
  prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
  // With an lcore id the thread has a cache of buffers of its own.
  const bool registered = rte_thread_register() == 0;
  const uint64_t link_interval = rte_get_tsc_hz() / 10;
  uint64_t next_link = 0;
  uint64_t idle_since = rte_rdtsc();
  while (!stop_.load(std::memory_order_relaxed)) {
    const unsigned moved = MoveToTwins() + MoveFromTwins();
    const uint64_t now = rte_rdtsc();
    if (moved != 0) idle_since = now;
    if (now >= next_link) {
      next_link = now + link_interval;
      for (const auto& port : ports_) port->RefreshLink();
    }
    if (moved == 0) Wait(idle_since, now);
  }
  if (registered) rte_thread_unregister();
}

// Up to 30 µs in traffic, up to 1 ms when nothing has moved for a second.
void HostThread::Wait(uint64_t idle_since, uint64_t now) const {
  const uint64_t hertz = rte_get_tsc_hz();
  const uint64_t idle = now - idle_since;
  timespec pause{0, idle > hertz ? 1'000'000 : idle > hertz / 20 ? 200'000 : 30'000};
  epoll_event event{};
  epoll_pwait2(epoll_, &event, 1, &pause, nullptr);
}

unsigned HostThread::MoveToTwins() {
  std::array<void*, kBurst> handles;
  unsigned moved = 0;
  for (const auto& ring : to_host_) {
    if (ring->Empty()) continue;
    const unsigned count = ring->Pop(handles.data(), handles.size());
    for (unsigned i = 0; i < count; ++i) {
      const net::Packet& packet = MetaOf(handles[i])->packet;
      const int twin = packet.out_port < twin_of_port_.size() ? twin_of_port_[packet.out_port] : -1;
      if (twin < 0 || !interfaces_[static_cast<size_t>(twin)].Write(packet.data, packet.length)) {
        lost_.fetch_add(1, std::memory_order_relaxed);
      }
      PacketPool::FreeHandle(handles[i]);
    }
    moved += count;
  }
  return moved;
}

unsigned HostThread::MoveFromTwins() {
  unsigned moved = 0;
  for (const HostInterface& interface : interfaces_) {
    for (unsigned i = 0; i < kBurst && MoveOne(interface); ++i) ++moved;
  }
  return moved;
}

bool HostThread::MoveOne(const HostInterface& interface) {
  uint8_t frame[kMaxFrame];
  const size_t size = interface.Read(frame, sizeof(frame));
  if (size == 0) return false;
  net::Packet packet;
  if (!pool_.Allocate(static_cast<uint32_t>(size), &packet)) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  std::copy_n(frame, size, packet.data);
  packet.out_port = interface.port();
  // The owner if that is easy to tell; any worker knows whom to hand it to.
  unsigned worker = 0;
  if (owners_.workers() > 1 && net::Parse(&packet).kind == net::FrameKind::kIp) {
    const auto tuple = net::TupleOf(packet.ip);
    if (tuple.has_value()) worker = owners_.OwnerOf(*tuple);
    packet.ip = {};
  }
  MetaOf(packet.buffer)->packet = packet;
  if (!from_host_[worker]->Push(packet.buffer)) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    pool_.Free(&packet);
  }
  return true;
}

}  // namespace postern::dpdk

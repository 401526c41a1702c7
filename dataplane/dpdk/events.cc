#include "dataplane/dpdk/events.h"

#include <algorithm>
#include <cstring>

namespace postern::dpdk {
namespace {

constexpr unsigned kLogRing = 4096;
constexpr unsigned kConnectionRing = 8192;

}  // namespace

net::Result<std::unique_ptr<WorkerEvents>> WorkerEvents::Create(
    const std::atomic<bool>* wants_connections) {
  std::unique_ptr<WorkerEvents> events(new WorkerEvents(wants_connections));
  events->logs_ = Ring<pipeline::LogRecord>::Create(kLogRing);
  events->connections_ = Ring<ConnSlot>::Create(kConnectionRing);
  if (events->logs_ == nullptr || events->connections_ == nullptr) {
    return net::Error{"no memory for event rings; raise memory_mb"};
  }
  return events;
}

void WorkerEvents::OnLog(const pipeline::LogRecord& record) {
  if (!logs_->Push(record)) lost_.Add(1);
}

void WorkerEvents::OnConnection(const pipeline::ConnRecord& record) {
  ConnSlot slot;
  std::memcpy(&slot, &record, sizeof(slot));
  if (!connections_->Push(slot)) connections_lost_.Add(1);
}

void WorkerEvents::OnTrouble(net::DropReason reason, net::Time now) {
  Count& trouble = troubles_[static_cast<size_t>(reason)];
  trouble.count.Add(1);
  trouble.last.Set(now);
}

size_t WorkerEvents::Drain(const EventHandlers& handlers, size_t budget) {
  size_t drained = 0;
  pipeline::LogRecord log;
  for (size_t i = 0; i < budget && logs_->Pop(&log, 1) == 1; ++i, ++drained) {
    if (handlers.log) handlers.log(log);
  }
  ConnSlot slot;
  pipeline::ConnRecord record;
  for (size_t i = 0; i < budget && connections_->Pop(&slot, 1) == 1; ++i, ++drained) {
    std::memcpy(static_cast<void*>(&record), &slot, sizeof(slot));
    if (handlers.connection) handlers.connection(record);
  }
  return drained;
}

void WorkerEvents::AddTroubles(std::array<Trouble, net::kDropReasonCount>* sum) const {
  for (size_t i = 0; i < net::kDropReasonCount; ++i) {
    (*sum)[i].reason = static_cast<net::DropReason>(i);
    (*sum)[i].count += troubles_[i].count.Get();
    (*sum)[i].last = std::max((*sum)[i].last, troubles_[i].last.Get());
  }
}

}  // namespace postern::dpdk

// From a worker to the control thread: LOG records, connection events, troubles.
//
// The worker writes into rings that were allocated beforehand; where they are full the event is
// lost and counted. Threads: On... by the worker, the rest by the control thread.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>

#include "dataplane/dpdk/counters.h"
#include "dataplane/dpdk/ring.h"
#include "dataplane/net/result.h"
#include "dataplane/pipeline/io.h"

namespace postern::dpdk {

struct EventHandlers {
  std::function<void(const pipeline::LogRecord&)> log;
  std::function<void(const pipeline::ConnRecord&)> connection;
};

// How often something went wrong, over all workers, and when last.
struct Trouble {
  net::DropReason reason = net::DropReason::kNone;
  uint64_t count = 0;
  net::Time last = 0;
};

class WorkerEvents : public pipeline::EventSink {
 public:
  // `wants_connections` is the control thread's switch.
  static net::Result<std::unique_ptr<WorkerEvents>> Create(
      const std::atomic<bool>* wants_connections);

  void OnLog(const pipeline::LogRecord& record) override;
  bool WantsConnections() const override {
    return wants_connections_->load(std::memory_order_relaxed);
  }
  void OnConnection(const pipeline::ConnRecord& record) override;
  void OnTrouble(net::DropReason reason, net::Time now) override;

  // Hands out at most `budget` events of each kind; how many there were.
  size_t Drain(const EventHandlers& handlers, size_t budget);
  uint64_t lost() const { return lost_.Get() + connections_lost_.Get(); }
  uint64_t connections_lost() const { return connections_lost_.Get(); }
  void AddTroubles(std::array<Trouble, net::kDropReasonCount>* sum) const;

 private:
  // The record in words, because Connection's alignment is more than a ring's slot has.
  struct ConnSlot {
    std::array<uint64_t, sizeof(pipeline::ConnRecord) / 8> words;
  };
  static_assert(std::is_trivially_copyable_v<pipeline::ConnRecord>);
  static_assert(sizeof(ConnSlot) == sizeof(pipeline::ConnRecord));

  explicit WorkerEvents(const std::atomic<bool>* wants) : wants_connections_(wants) {}

  const std::atomic<bool>* wants_connections_;
  std::unique_ptr<Ring<pipeline::LogRecord>> logs_;
  std::unique_ptr<Ring<ConnSlot>> connections_;
  Counter lost_;  // LOG records
  Counter connections_lost_;
  struct Count {
    Counter count;
    Counter last;
  };
  std::array<Count, net::kDropReasonCount> troubles_;
};

}  // namespace postern::dpdk

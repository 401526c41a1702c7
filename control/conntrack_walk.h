// What a conntrack command does on the workers, in steps of at most 50 µs.
#pragma once

#include <optional>
#include <vector>

#include "control/conntrack_filter.h"
#include "control/conntrack_printer.h"
#include "dataplane/pipeline/dataplane.h"

namespace postern::control {

enum class WalkAction : uint8_t {
  kCopy,    // -L
  kZero,    // -L -z: copies, then zeroes what acct has counted
  kDelete,  // -D: copies, then deletes
  kFlush,   // -F: deletes
  kUpdate,  // -U: changes as the filter says, then copies; leaves out what is so already
};

// Walks over one worker's connections in pieces. Each Run() of it on its worker takes some hundreds
// of connections in steps of bounded work; one that stays is met exactly once, because it keeps its
// slot of the pool.
class ConnectionWalk : public pipeline::WorkerCommand {
 public:
  // `filter` outlives it. `reporter`: for the events, who asks.
  ConnectionWalk(const ConntrackFilter* filter, WalkAction action, uint32_t reporter);
  bool Step(pipeline::Pipeline& pipeline, net::Time now) override;

  struct Found {
    ConnectionCopy copy;
    // Of an update; nothing where ctnetlink doesn't support it (translations).
    std::optional<ctrack::RequestOutcome> outcome;
  };
  // What the last Run() met. Control thread.
  const std::vector<Found>& found() const { return found_; }
  bool finished() const { return finished_; }
  // Before the next Run(): goes on with the same worker.
  void Clear() { found_.clear(); }
  // Goes on with the next worker.
  void Restart();

 private:
  // What a step may cost, and what each thing costs: a slot that is looked at counts 1.
  static constexpr unsigned kCostAStep = 96;
  static constexpr unsigned kSlotsAtOnce = 8;
  static constexpr unsigned kCopyCost = 2;
  static constexpr unsigned kChangeCost = 12;
  static constexpr size_t kMostFound = 512;

  // What was spent on it.
  unsigned Meet(pipeline::Pipeline& pipeline, ctrack::Connection* connection, net::Time now);
  unsigned Update(pipeline::Pipeline& pipeline, ctrack::Connection* connection, net::Time now);

  const ConntrackFilter* filter_;
  WalkAction action_;
  uint32_t reporter_;
  std::vector<Found> found_;  // never grows beyond what was reserved
  uint32_t cursor_ = 0;
  bool finished_ = false;
};

// -G: the connection of a tuple, if this worker holds it.
class ConnectionGet : public pipeline::WorkerCommand {
 public:
  explicit ConnectionGet(const net::Tuple& key) : key_(key) {}
  bool Step(pipeline::Pipeline& pipeline, net::Time now) override;
  const std::optional<ConnectionCopy>& result() const { return result_; }

 private:
  net::Tuple key_;
  std::optional<ConnectionCopy> result_;
};

// -I and -A: makes a connection if this worker is its owner.
class ConnectionInsert : public pipeline::WorkerCommand {
 public:
  ConnectionInsert(const ctrack::ConnectionRequest& request, const pipeline::NatWish& nat,
                   uint32_t reporter)
      : request_(request), nat_(nat), reporter_(reporter) {}
  bool Step(pipeline::Pipeline& pipeline, net::Time now) override;
  // Nothing: it is another worker's.
  std::optional<ctrack::RequestOutcome> outcome() const { return outcome_; }

 private:
  ctrack::ConnectionRequest request_;
  pipeline::NatWish nat_;
  uint32_t reporter_;
  std::optional<ctrack::RequestOutcome> outcome_;
};

}  // namespace postern::control

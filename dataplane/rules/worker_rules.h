// One worker's mutable side of a rule set: interned paths with one counter
// each, and single-rule counters for what isn't a path.
//
// Made by the control thread together with the rule set, handed to the worker with it.
// The worker writes; the control thread reads at any time (relaxed atomics, paths are
// append-only and published by their count with release order).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/rules/rule_set.h"

namespace postern::rules {

using PathId = uint32_t;  // 0: no path
inline constexpr PathId kNoPath = 0;

class WorkerRules {
 public:
  // Room for `max_paths` paths of together `max_steps` rules; beyond that rules are counted singly.
  explicit WorkerRules(const RuleSet& rules, uint32_t max_paths = 1U << 15,
                       uint32_t max_steps = 1U << 19);

  // The id of this exact list of rules; kNoPath when there is no room (or it overflowed).
  PathId Intern(std::span<const RuleId> rules);
  std::span<const RuleId> Path(PathId id) const;

  void CountPath(PathId id, uint64_t packets, uint64_t bytes);
  void CountRule(RuleId id, uint64_t packets, uint64_t bytes);
  // Counts a finished packet: interns, or counts each rule. Returns the path.
  PathId CountPacket(const PathBuilder& path, uint64_t bytes);

  // Control thread: adds this worker's counts to totals[rule id].
  void AddTo(std::span<Counters> totals) const;

 private:
  struct Cell {
    std::atomic<uint64_t> packets{0};
    std::atomic<uint64_t> bytes{0};
  };
  struct PathEntry {
    uint32_t first = 0;
    uint32_t size = 0;
    uint64_t hash = 0;
    Cell counter;
  };
  PathId FindOrAdd(std::span<const RuleId> rules);

  uint32_t rule_count_;
  uint32_t max_paths_;
  uint32_t max_steps_;
  std::unique_ptr<Cell[]> rule_cells_;
  std::unique_ptr<PathEntry[]> paths_;
  std::unique_ptr<RuleId[]> steps_;
  std::unique_ptr<uint32_t[]> buckets_;
  uint32_t bucket_mask_ = 0;
  std::atomic<uint32_t> path_count_{1};
  uint32_t step_count_ = 0;
  PathId last_ = kNoPath;  // that Intern() gave
};

}  // namespace postern::rules

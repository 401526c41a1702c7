#include "dataplane/rules/worker_rules.h"

#include <algorithm>
#include <bit>

namespace postern::rules {

namespace {

uint64_t HashOf(std::span<const RuleId> rules) {
  uint64_t hash = rules.size();
  for (const RuleId id : rules) {
    hash = (hash ^ id) * 0x9e3779b97f4a7c15U;
    hash ^= hash >> 32;
  }
  return hash;
}

// One writer: no read-modify-write instruction is needed.
void Raise(std::atomic<uint64_t>& counter, uint64_t by) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

}  // namespace

WorkerRules::WorkerRules(const RuleSet& rules, uint32_t max_paths, uint32_t max_steps)
    : rule_count_(rules.rule_count()),
      max_paths_(std::max(max_paths, 1U)),
      max_steps_(max_steps),
      rule_cells_(std::make_unique<Cell[]>(rule_count_)),
      paths_(std::make_unique<PathEntry[]>(max_paths_)),
      // Written before it is read; clearing it took a tenth of a rule change.
      steps_(std::make_unique_for_overwrite<RuleId[]>(max_steps_)) {
  // Twice as many buckets as paths: linear probing stays short and always ends.
  const uint32_t buckets = std::bit_ceil(max_paths_) * 2;
  buckets_ = std::make_unique<uint32_t[]>(buckets);
  bucket_mask_ = buckets - 1;
}

PathId WorkerRules::Intern(std::span<const RuleId> rules) {
  // Most packets take the path of the one before.
  if (last_ != kNoPath && std::ranges::equal(Path(last_), rules)) return last_;
  last_ = FindOrAdd(rules);
  return last_;
}

PathId WorkerRules::FindOrAdd(std::span<const RuleId> rules) {
  const uint64_t hash = HashOf(rules);
  auto bucket = static_cast<uint32_t>(hash) & bucket_mask_;
  while (buckets_[bucket] != kNoPath) {
    const PathId id = buckets_[bucket];
    if (paths_[id].hash == hash && std::ranges::equal(Path(id), rules)) return id;
    bucket = (bucket + 1) & bucket_mask_;
  }
  const uint32_t id = path_count_.load(std::memory_order_relaxed);
  if (id >= max_paths_ || max_steps_ - step_count_ < rules.size()) return kNoPath;
  PathEntry& entry = paths_[id];
  entry.first = step_count_;
  entry.size = static_cast<uint32_t>(rules.size());
  entry.hash = hash;
  std::ranges::copy(rules, steps_.get() + step_count_);
  step_count_ += entry.size;
  buckets_[bucket] = id;
  path_count_.store(id + 1, std::memory_order_release);
  return id;
}

std::span<const RuleId> WorkerRules::Path(PathId id) const {
  const PathEntry& entry = paths_[id];
  return {steps_.get() + entry.first, entry.size};
}

void WorkerRules::CountPath(PathId id, uint64_t packets, uint64_t bytes) {
  Raise(paths_[id].counter.packets, packets);
  Raise(paths_[id].counter.bytes, bytes);
}

void WorkerRules::CountRule(RuleId id, uint64_t packets, uint64_t bytes) {
  Raise(rule_cells_[id].packets, packets);
  Raise(rule_cells_[id].bytes, bytes);
}

PathId WorkerRules::CountPacket(const PathBuilder& path, uint64_t bytes) {
  const std::span<const RuleId> rules(path.rules, path.size);
  const PathId id = path.overflow ? kNoPath : Intern(rules);
  if (id != kNoPath) {
    CountPath(id, 1, bytes);
    return id;
  }
  for (const RuleId rule : rules) CountRule(rule, 1, bytes);
  return kNoPath;
}

void WorkerRules::AddTo(std::span<Counters> totals) const {
  const auto add = [totals](RuleId rule, const Cell& cell) {
    if (rule >= totals.size()) return;
    totals[rule].packets += cell.packets.load(std::memory_order_relaxed);
    totals[rule].bytes += cell.bytes.load(std::memory_order_relaxed);
  };
  for (RuleId rule = 0; rule < rule_count_; ++rule) add(rule, rule_cells_[rule]);
  const uint32_t paths = path_count_.load(std::memory_order_acquire);
  for (PathId id = 1; id < paths; ++id) {
    for (const RuleId rule : Path(id)) add(rule, paths_[id].counter);
  }
}

}  // namespace postern::rules

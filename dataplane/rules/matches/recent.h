// -m recent (xt_recent): lists of addresses with the times at which they were seen.
//
// Overview. A list has a name, and every rule of either family that names it shares it. It holds at
// most 100 addresses; a new one pushes out the one that was stamped longest ago. Each address has
// a ring of stamps. The mask (--mask) is the list's, from the rule that made it.
//
// Life-cycle. RuleSet::Compile asks RecentTables for each name; the list lives as long as a rule
// set refers to it, so that its content outlives a reload which still has the name. All memory is
// there from the start: a worker never allocates.
//
// Threads. Shared by all workers. The order of eviction is a property of the whole list, so a list
// has one atomic_flag that is spun on; the holder looks up one address, reads at most its ring of
// stamps and leaves. It calls nothing and can't fail. (The kernel has one lock for all lists.)
//
// Invariants. Entries on the LRU list are exactly those in the hash chains; the head is the one
// stamped longest ago; an entry has 1..ring stamps.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "dataplane/net/time.h"
#include "dataplane/rules/limiters.h"
#include "dataplane/rules/matches/answer.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

class RecentTable {
 public:
  static constexpr uint16_t kMaxEntries = 100;  // the kernel's ip_list_tot
  static constexpr uint32_t kMinRing = 256;
  static constexpr uint32_t kMaxHitcount = 65535;

  // `ring`: stamps an address keeps, a power of two not below any rule's hitcount.
  RecentTable(const IpAddress& mask, uint32_t ring);

  // What the rule asks about `address` (not masked yet), with its inversion. `ttl` is 0 without
  // --rttl for the comparison; `seen_ttl` is stored.
  bool Apply(const RecentMatch& rule, Family family, const IpAddress& address, uint8_t seen_ttl,
             net::Time now);

  uint32_t ring() const { return ring_; }
  uint16_t size() const { return used_.load(std::memory_order_relaxed); }
  size_t bytes() const { return sizeof(*this) + size_t{kMaxEntries} * ring_ * sizeof(int64_t); }

  MatchCounts counts;

 private:
  using Slot = uint16_t;
  static constexpr Slot kNone = 0xffff;
  static constexpr size_t kBuckets = 128;

  struct Entry {
    IpAddress address;
    Family family = Family::kIpv4;
    uint8_t ttl = 0;
    uint32_t next_stamp = 0;  // where the next stamp goes, before wrapping; 1..ring
    uint32_t stamps = 0;      // how many are valid
    Slot chain = kNone;
    Slot older = kNone;  // LRU neighbours
    Slot newer = kNone;
  };

  bool ApplyLocked(const RecentMatch& rule, Family family, const IpAddress& address,
                   uint8_t seen_ttl, net::Time now);
  size_t BucketOf(const IpAddress& address) const;
  Slot Find(Family family, const IpAddress& address, uint8_t ttl) const;
  void Insert(Family family, const IpAddress& address, uint8_t ttl, net::Time now);
  void Remove(Slot slot);
  void Stamp(Slot slot, uint8_t ttl, net::Time now);
  bool Seen(const RecentMatch& rule, Slot slot, int64_t oldest) const;
  void ReapOldest(int64_t oldest, Slot spared);
  void LinkNewest(Slot slot);
  void Unlink(Slot slot);
  int64_t* StampsOf(Slot slot) const { return stamps_.get() + size_t{slot} * ring_; }

  // Immutable after construction.
  const IpAddress mask_;
  const uint32_t ring_;
  // Held for one Apply(); guards all below.
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::atomic<uint16_t> used_{0};  // written by the holder alone
  Slot oldest_ = kNone;
  Slot newest_ = kNone;
  Slot free_ = kNone;
  std::array<Slot, kBuckets> buckets_;
  std::array<Entry, kMaxEntries> entries_;
  std::unique_ptr<int64_t[]> stamps_;
};

// Control thread only.
class RecentTables {
 public:
  // The list of this name, made if nobody has it; a list whose ring is smaller than asked for is
  // started afresh, as the kernel does.
  std::shared_ptr<RecentTable> Get(const std::string& name, const IpAddress& mask, uint32_t ring);

 private:
  std::map<std::string, std::weak_ptr<RecentTable>> tables_;
};

struct CompiledRecent {
  const RecentMatch* match = nullptr;
  RecentTable* table = nullptr;
};

inline Answer Matches(const CompiledRecent& compiled, const WalkContext& context,
                      uint16_t* depends) {
  *depends |= kDependsTime | kDependsSideEffect;
  const net::Packet& packet = *context.packet;
  const RecentMatch& match = *compiled.match;
  // The TTL as it was before forwarding, which has taken one off. To Linux all that leaves by no
  // socket has been forwarded.
  const bool forwarded =
      context.out != net::kNoPort && (packet.in_port != net::kNoPort || context.own_reset);
  const auto ttl = static_cast<uint8_t>(packet.ip.ttl + (forwarded ? 1 : 0));
  const IpAddress& address = match.destination ? packet.ip.destination : packet.ip.source;
  const bool matched = compiled.table->Apply(match, packet.ip.family, address, ttl, context.now);
  return AnswerOf(compiled.table->counts.Count(matched));
}

}  // namespace postern::rules

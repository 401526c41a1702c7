#include "dataplane/rules/matches/recent.h"

namespace postern::rules {

RecentTable::RecentTable(const IpAddress& mask, uint32_t ring)
    : mask_(mask), ring_(ring), stamps_(new int64_t[size_t{kMaxEntries} * ring]) {
  buckets_.fill(kNone);
  for (Slot slot = 0; slot < kMaxEntries; ++slot) {
    entries_[slot].chain = free_;
    free_ = slot;
  }
}

bool RecentTable::Apply(const RecentMatch& rule, Family family, const IpAddress& address,
                        uint8_t seen_ttl, net::Time now) {
  while (busy_.test_and_set(std::memory_order_acquire)) {
    while (busy_.test(std::memory_order_relaxed)) __builtin_ia32_pause();
  }
  const bool matched = ApplyLocked(rule, family, address & mask_, seen_ttl, now);
  busy_.clear(std::memory_order_release);
  return matched;
}

bool RecentTable::ApplyLocked(const RecentMatch& rule, Family family, const IpAddress& address,
                              uint8_t seen_ttl, net::Time now) {
  using enum RecentMatch::Operation;
  const Slot slot = Find(family, address, rule.ttl ? seen_ttl : 0);
  if (slot == kNone) {
    if (rule.operation != kSet) return rule.invert;
    Insert(family, address, seen_ttl, now);
    return !rule.invert;
  }
  switch (rule.operation) {
    case kSet:
      Stamp(slot, seen_ttl, now);
      return !rule.invert;
    case kRemove:
      Remove(slot);
      return !rule.invert;
    case kCheck:
    case kUpdate:
      break;
  }
  const int64_t oldest =
      static_cast<int64_t>(now) - static_cast<int64_t>(rule.seconds * net::kSecond);
  const bool matched = Seen(rule, slot, oldest) != rule.invert;
  const bool update = rule.operation == kUpdate && matched;
  if (rule.reap) ReapOldest(oldest, update ? slot : kNone);
  if (update) Stamp(slot, seen_ttl, now);
  return matched;
}

// Enough stamps not older than `oldest` (any age without --seconds; one is enough without
// --hitcount).
bool RecentTable::Seen(const RecentMatch& rule, Slot slot, int64_t oldest) const {
  const int64_t* stamps = StampsOf(slot);
  uint32_t hits = 0;
  for (uint32_t i = 0; i < entries_[slot].stamps; ++i) {
    if (rule.seconds != 0 && stamps[i] < oldest) continue;
    if (++hits >= rule.hitcount) return true;
  }
  return false;
}

// --reap looks at the head of the LRU list alone and spares the entry that is about to be stamped.
void RecentTable::ReapOldest(int64_t oldest, Slot spared) {
  const Slot slot = oldest_;
  if (slot == kNone || slot == spared) return;
  if (StampsOf(slot)[entries_[slot].next_stamp - 1] < oldest) Remove(slot);
}

size_t RecentTable::BucketOf(const IpAddress& address) const {
  uint32_t mixed = 0;
  for (int i = 0; i < 4; ++i) mixed = (mixed ^ address.Word(i)) * 0x9e3779b1U;
  return mixed >> 25;
}
static_assert((UINT32_MAX >> 25) + 1 == 128);

RecentTable::Slot RecentTable::Find(Family family, const IpAddress& address, uint8_t ttl) const {
  for (Slot slot = buckets_[BucketOf(address)]; slot != kNone; slot = entries_[slot].chain) {
    const Entry& entry = entries_[slot];
    if (entry.family == family && entry.address == address &&
        (ttl == 0 || entry.ttl == 0 || entry.ttl == ttl)) {
      return slot;
    }
  }
  return kNone;
}

void RecentTable::Insert(Family family, const IpAddress& address, uint8_t ttl, net::Time now) {
  if (used_ == kMaxEntries) Remove(oldest_);
  const Slot slot = free_;
  Entry& entry = entries_[slot];
  free_ = entry.chain;
  entry = Entry{};
  entry.address = address;
  entry.family = family;
  entry.ttl = ttl;
  entry.stamps = 1;
  entry.next_stamp = 1;
  StampsOf(slot)[0] = static_cast<int64_t>(now);
  // The kernel appends to the chain: of two entries that differ in their TTL the older is found.
  Slot* link = &buckets_[BucketOf(address)];
  while (*link != kNone) link = &entries_[*link].chain;
  *link = slot;
  LinkNewest(slot);
  ++used_;
}

void RecentTable::Remove(Slot slot) {
  Slot* link = &buckets_[BucketOf(entries_[slot].address)];
  while (*link != slot) link = &entries_[*link].chain;
  *link = entries_[slot].chain;
  Unlink(slot);
  entries_[slot].chain = free_;
  free_ = slot;
  --used_;
}

void RecentTable::Stamp(Slot slot, uint8_t ttl, net::Time now) {
  Entry& entry = entries_[slot];
  entry.next_stamp &= ring_ - 1;
  StampsOf(slot)[entry.next_stamp++] = static_cast<int64_t>(now);
  if (entry.next_stamp > entry.stamps) entry.stamps = entry.next_stamp;
  entry.ttl = ttl;
  Unlink(slot);
  LinkNewest(slot);
}

void RecentTable::LinkNewest(Slot slot) {
  entries_[slot].older = newest_;
  entries_[slot].newer = kNone;
  if (newest_ == kNone) {
    oldest_ = slot;
  } else {
    entries_[newest_].newer = slot;
  }
  newest_ = slot;
}

void RecentTable::Unlink(Slot slot) {
  const Entry& entry = entries_[slot];
  (entry.older == kNone ? oldest_ : entries_[entry.older].newer) = entry.newer;
  (entry.newer == kNone ? newest_ : entries_[entry.newer].older) = entry.older;
}

std::shared_ptr<RecentTable> RecentTables::Get(const std::string& name, const IpAddress& mask,
                                               uint32_t ring) {
  std::weak_ptr<RecentTable>& known = tables_[name];
  std::shared_ptr<RecentTable> table = known.lock();
  if (table == nullptr || table->ring() < ring) {
    table = std::make_shared<RecentTable>(mask, ring);
    known = table;
  }
  return table;
}

}  // namespace postern::rules

#include "dataplane/route/neighbor_store.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace postern::route {
namespace {

constexpr uint32_t kVictimCandidates = 64;

int ClockOf(NeighborState state) {
  switch (state) {
    case NeighborState::kIncomplete:
    case NeighborState::kProbe:
      return NeighborStore::kRetransmitClock;
    case NeighborState::kDelay:
      return NeighborStore::kDelayClock;
    case NeighborState::kFailed:
      return NeighborStore::kHoldClock;
    default:
      return -1;
  }
}

// The smaller, the sooner an entry gives way. A scan of a subnet must not drive out neighbours that
// are alive, so what never answered goes before them.
int Worth(NeighborState state) {
  switch (state) {
    case NeighborState::kFailed:
      return 0;
    case NeighborState::kStale:
      return 1;
    case NeighborState::kIncomplete:
      return 2;
    case NeighborState::kProbe:
      return 3;
    default:
      return 4;
  }
}

}  // namespace

NeighborStore::NeighborStore(uint32_t capacity, uint64_t hash_key)
    : hash_key_(hash_key),
      entries_(std::max<uint32_t>(capacity, 1)),
      heads_(std::bit_ceil(std::max<uint32_t>(capacity, 1)), kNoNeighbor) {
  free_.reserve(entries_.size());
  for (size_t i = entries_.size(); i-- > 0;) free_.push_back(static_cast<uint32_t>(i));
}

uint32_t* NeighborStore::ChainOf(net::PortId port, net::Family family,
                                 const net::IpAddress& address) {
  uint64_t hash = hash_key_ ^ (uint64_t{port} << 8) ^ static_cast<uint64_t>(family);
  for (const uint64_t word : address.Words()) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  }
  return &heads_[hash & (heads_.size() - 1)];
}

Neighbor* NeighborStore::Find(net::PortId port, net::Family family, const net::IpAddress& address) {
  const std::array<uint64_t, 2> wanted = address.Words();
  for (uint32_t i = *ChainOf(port, family, address); i != kNoNeighbor; i = entries_[i].chain) {
    Neighbor& entry = entries_[i];
    if (entry.port == port && entry.family == family && entry.address.Words() == wanted) {
      return &entry;
    }
  }
  return nullptr;
}

Neighbor* NeighborStore::Create(net::PortId port, net::Family family, const net::IpAddress& address,
                                net::Time now) {
  if (free_.empty()) return nullptr;
  const uint32_t index = free_.back();
  free_.pop_back();
  ++size_;
  Neighbor& entry = entries_[index];
  entry = Neighbor{};
  entry.address = address;
  entry.family = family;
  entry.port = port;
  entry.state = NeighborState::kStale;
  entry.confirmed = entry.updated = entry.used = now;
  uint32_t* head = ChainOf(port, family, address);
  entry.chain = *head;
  *head = index;
  return &entry;
}

Neighbor* NeighborStore::Victim() {
  Neighbor* victim = nullptr;
  const uint32_t candidates = std::min(kVictimCandidates, capacity());
  for (uint32_t i = 0; i < candidates; ++i) {
    Neighbor& entry = entries_[hand_];
    hand_ = hand_ + 1 == capacity() ? 0 : hand_ + 1;
    if (entry.state == NeighborState::kFree || entry.state == NeighborState::kStatic) continue;
    const int worth = Worth(entry.state);
    if (victim == nullptr || worth < Worth(victim->state) ||
        (worth == Worth(victim->state) && entry.used < victim->used)) {
      victim = &entry;
    }
  }
  return victim;
}

void NeighborStore::Erase(Neighbor* entry) {
  Unlink(entry);
  const uint32_t index = IndexOf(*entry);
  uint32_t* link = ChainOf(entry->port, entry->family, entry->address);
  while (*link != index) link = &entries_[*link].chain;
  *link = entry->chain;
  entry->state = NeighborState::kFree;
  free_.push_back(index);
  --size_;
}

void NeighborStore::SetState(Neighbor* entry, NeighborState state, net::Time now, net::Time wait) {
  Unlink(entry);
  entry->state = state;
  const int clock = ClockOf(state);
  if (clock < 0) return;
  entry->deadline = now + wait;
  List& list = lists_[static_cast<size_t>(clock)];
  const uint32_t index = IndexOf(*entry);
  entry->before = list.tail;
  (list.tail == kNoNeighbor ? list.head : entries_[list.tail].after) = index;
  list.tail = index;
}

void NeighborStore::Unlink(Neighbor* entry) {
  const int clock = ClockOf(entry->state);
  if (clock < 0) return;
  List& list = lists_[static_cast<size_t>(clock)];
  (entry->before == kNoNeighbor ? list.head : entries_[entry->before].after) = entry->after;
  (entry->after == kNoNeighbor ? list.tail : entries_[entry->after].before) = entry->before;
  entry->before = entry->after = kNoNeighbor;
}

Neighbor* NeighborStore::Due(Clock clock, net::Time now) {
  const uint32_t head = lists_[clock].head;
  if (head == kNoNeighbor || entries_[head].deadline > now) return nullptr;
  return &entries_[head];
}

}  // namespace postern::route

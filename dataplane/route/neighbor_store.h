// The neighbours of one worker in memory of fixed size: found by address, timed by state.
//
// Overview: entries lie in one array and are chained in a hash table keyed by a random number. An
// entry whose state ends at a known time hangs in the list of that state's clock. All entries of a
// clock wait equally long, so its list is in order of deadline and only its head is looked at.
//
// Life-cycle: Create (evicting the least useful entry when full) -> SetState ... -> Erase. Threads:
// one. Invariants: an entry is in a clock's list exactly while its state has one; free entries have
// state kFree and are in the free list.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataplane/net/address.h"
#include "dataplane/net/packet.h"
#include "dataplane/net/time.h"

namespace postern::route {

enum class NeighborState : uint8_t {
  kFree,
  kIncomplete,  // asked for, packets wait
  kReachable,
  kStale,    // known, but nothing has been heard for a while
  kDelay,    // stale and used again
  kProbe,    // asked by unicast, still used
  kFailed,   // didn't answer
  kStatic,   // from the configuration
  kAssumed,  // made up, for replay
};

// Its MAC may be used.
constexpr bool HasMac(NeighborState state) {
  return state != NeighborState::kFree && state != NeighborState::kIncomplete &&
         state != NeighborState::kFailed;
}

inline constexpr uint32_t kNoNeighbor = 0xffffffff;

struct Neighbor {
  net::IpAddress address;
  net::Family family = net::Family::kIpv4;
  NeighborState state = NeighborState::kFree;
  net::PortId port = 0;
  net::MacAddress mac;
  uint8_t probes = 0;       // solicitations sent in this state
  net::Time confirmed = 0;  // last sign of life
  net::Time updated = 0;    // last change of state or MAC by a message
  net::Time used = 0;       // last packet sent
  net::Time deadline = 0;   // of the state's clock
  // Packets that wait: a queue in NeighborTable's pool.
  uint32_t queue_head = kNoNeighbor;
  uint32_t queue_tail = kNoNeighbor;
  uint32_t queued = 0;

 private:
  friend class NeighborStore;
  uint32_t chain = kNoNeighbor;
  uint32_t before = kNoNeighbor;
  uint32_t after = kNoNeighbor;
};

class NeighborStore {
 public:
  enum Clock : uint8_t { kRetransmitClock, kDelayClock, kHoldClock, kClockCount };

  NeighborStore(uint32_t capacity, uint64_t hash_key);

  Neighbor* Find(net::PortId port, net::Family family, const net::IpAddress& address);
  // A new entry in state kStale without a MAC yet, or null when the table is full (look for a
  // Victim() then).
  Neighbor* Create(net::PortId port, net::Family family, const net::IpAddress& address,
                   net::Time now);
  // The least useful of some entries: failed, then stale, then unanswered, then reachable ones,
  // and of equal ones that used longest ago. Null when all of them are static.
  Neighbor* Victim();
  void Erase(Neighbor* entry);
  // `wait`: how long the state's clock runs; without meaning for a state that has none.
  void SetState(Neighbor* entry, NeighborState state, net::Time now, net::Time wait);
  // The entry whose deadline of this clock comes first and has passed, or null.
  Neighbor* Due(Clock clock, net::Time now);

  // Any entry by its index, to walk over all; may be free.
  Neighbor& At(uint32_t index) { return entries_[index]; }
  uint32_t capacity() const { return static_cast<uint32_t>(entries_.size()); }
  uint32_t size() const { return size_; }

 private:
  struct List {
    uint32_t head = kNoNeighbor;
    uint32_t tail = kNoNeighbor;
  };

  uint32_t IndexOf(const Neighbor& entry) const {
    return static_cast<uint32_t>(&entry - entries_.data());
  }
  uint32_t* ChainOf(net::PortId port, net::Family family, const net::IpAddress& address);
  void Unlink(Neighbor* entry);

  const uint64_t hash_key_;
  uint32_t size_ = 0;
  uint32_t hand_ = 0;  // where Victim() goes on
  std::vector<Neighbor> entries_;
  std::vector<uint32_t> heads_;
  std::vector<uint32_t> free_;
  std::array<List, kClockCount> lists_;
};

}  // namespace postern::route

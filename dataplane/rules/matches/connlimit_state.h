// What a connlimit rule has listed (nf_conncount): for each masked address the tuples that it met.
//
// Overview. The kernel keeps a list of tuples for each key and, when it looks the list over, throws
// out those that no connection has or whose connection is closed. When it looks and when it only
// adds decides what is counted, so the same is done here, but no connection is ever looked up: the
// worker that owns a connection tells of its confirmation, closing and end (Change), and what a
// look would throw out stands on a second chain of the list, ready to be taken away.
//
// Life-cycle. A state belongs to a rule and goes from one rule set to the next with it. A list that
// has become empty stays, as in the kernel, until a new list of the same chain takes its place.
//
// Threads. Any worker. Tuples and lists are spread over stripes with a flag each, spun on for a few
// instructions; the order is: a tuple's stripe, a list's stripe, the free chains. An entry taken
// off its list is `dead` and leaves its tuple's chain after the list's flag is given back. The
// number of lists and tuples is fixed: when they are used up the match drops the packet, as the
// kernel does without memory.
//
// Invariants. Indices begin at 1, 0 is none. An entry is on its list's stale chain exactly if it
// is not dead and its standing isn't kOpen. List::count counts the entries that aren't dead.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "dataplane/net/tuple.h"
#include "dataplane/rules/limiters.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

class ConnlimitState {
 public:
  MatchCounts counts;

  struct Key {
    IpAddress address;  // masked
    Family family = Family::kIpv4;
    uint16_t zone = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  // The packet's connection, or what can be said without one.
  struct Seen {
    net::Tuple tuple;  // the connection's original one, or the packet's own
    Standing standing = Standing::kAbsent;
    bool confirmed = false;
    bool assured = false;
    uint64_t tick = 0;    // the kernel looks a list over at most once a tick
    uint32_t worker = 0;  // any number that tells workers apart
  };

  // Room for `keys` addresses and twice as many tuples. The memory is touched only as far as it is
  // used. `hash_seed` should be random: with it a sender can't choose addresses that fall into one
  // chain.
  explicit ConnlimitState(uint32_t keys, uint64_t hash_seed = 0);
  ConnlimitState(const ConnlimitState&) = delete;
  ConnlimitState& operator=(const ConnlimitState&) = delete;

  // What the kernel counts for the key when this packet meets the rule; 0: drop the packet.
  uint32_t Count(const Key& key, const Seen& seen);
  // A connection with this tuple (either of its two) was confirmed, closed or ended.
  void Change(const net::Tuple& tuple, Standing standing);

  // What is held now, a little late; from any thread. An address stays while its chain has room, as
  // in the kernel, even with nothing left to count.
  uint32_t addresses() const { return lists_.InUse(); }
  uint32_t max_addresses() const { return lists_.capacity; }
  uint32_t listed() const { return entries_.InUse(); }  // tuples
  uint32_t max_listed() const { return entries_.capacity; }
  // Of the memory that has been touched.
  size_t bytes() const;

 private:
  static constexpr uint32_t kNone = 0;
  static constexpr uint32_t kStripes = 256;
  // What one look throws out at most (CONNCOUNT_GC_MAX_COLLECT and the one that exceeds it).
  static constexpr uint32_t kMaxCollect = 64;

  struct Entry {
    net::Tuple tuple;  // immutable while the entry is in use, as are worker, tick and stripe
    uint32_t worker = 0;
    uint32_t tick = 0;
    // The tuple's stripe protects these.
    uint32_t next = kNone;
    Standing standing = Standing::kAbsent;
    // The list's stripe protects these.
    bool dead = false;
    Standing listed_as = Standing::kOpen;
    uint8_t stripe = 0;
    uint32_t list = kNone;
    uint32_t serial = 0;  // its place in the list
    uint32_t stale_next = kNone;
    uint32_t stale_previous = kNone;
  };
  struct List {
    Key key;
    uint32_t next = kNone;
    uint32_t count = 0;
    uint32_t stale = kNone;  // the chain's first
    uint32_t serial = 0;     // of the next entry
    uint32_t last_look_count = 0;
    uint64_t last_look = 0;  // tick
  };
  // Taken off a list, not yet off their tuples' chains.
  struct Evicted {
    std::array<uint32_t, kMaxCollect + 1> entries;
    uint32_t count = 0;
    bool full() const { return count > kMaxCollect; }
  };
  struct alignas(64) Flag {
    std::atomic_flag busy = ATOMIC_FLAG_INIT;
  };
  template <typename T>
  struct Pool {
    explicit Pool(uint32_t room);
    uint32_t Take();
    void Give(uint32_t index);
    T& operator[](uint32_t index) { return items[index]; }
    const uint32_t capacity;
    const std::unique_ptr<T[], void (*)(void*)> items;
    // For metrics, from any thread.
    uint32_t InUse() const { return used.load(std::memory_order_relaxed); }
    size_t TouchedBytes() const { return fresh.load(std::memory_order_relaxed) * sizeof(T); }
    Flag flag;
    // Written by whoever holds the flag.
    uint32_t free = kNone;
    std::atomic<uint32_t> fresh{1};  // from here on they were never used
    std::atomic<uint32_t> used{0};
  };

  uint64_t HashOf(const Key& key) const;
  uint64_t HashOf(const net::Tuple& tuple) const;
  uint32_t CountLocked(const Key& key, uint64_t list_hash, const Seen& seen, uint64_t tuple_hash,
                       Evicted* evicted);
  uint32_t CountListed(uint32_t index, const Seen& seen, uint8_t stripe, uint64_t tuple_hash,
                       Evicted* evicted);
  uint32_t AddList(const Key& key, uint64_t list_hash, const Seen& seen, Evicted* evicted);
  bool AddEntry(uint32_t list, uint8_t stripe, const Seen& seen, uint64_t tuple_hash);
  // The first listed entry for the packet's own connection, or none.
  uint32_t FindOwn(uint32_t list, const Seen& seen, uint8_t stripe, uint64_t tuple_hash);
  // Takes stale entries that stand before `before` off the list.
  void Look(List* list, const Seen& seen, uint32_t before, Evicted* evicted);
  void FreeEmptyLists(uint32_t* head, const Seen& seen, Evicted* evicted);
  void SetListedAs(uint32_t index, Standing standing);
  void Unchain(uint32_t index);

  static bool IsYoung(const Entry& entry, const Seen& seen);
  uint32_t& ListHead(uint64_t hash) { return list_heads_[hash & list_mask_]; }
  uint32_t& TupleHead(uint64_t hash) { return tuple_heads_[hash & tuple_mask_]; }
  static uint8_t StripeOf(uint64_t hash) { return static_cast<uint8_t>(hash); }

  const uint64_t hash_seed_;
  Pool<List> lists_;
  Pool<Entry> entries_;
  const uint64_t list_mask_;
  const uint64_t tuple_mask_;
  const std::unique_ptr<uint32_t[]> list_heads_;
  const std::unique_ptr<uint32_t[]> tuple_heads_;
  const std::unique_ptr<Flag[]> list_flags_;
  const std::unique_ptr<Flag[]> tuple_flags_;
};

}  // namespace postern::rules

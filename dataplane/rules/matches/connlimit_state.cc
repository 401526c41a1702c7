#include "dataplane/rules/matches/connlimit_state.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>
#include <type_traits>

namespace postern::rules {

namespace {

// Held for a few instructions that call nothing.
class Spin {
 public:
  explicit Spin(std::atomic_flag& flag) : flag_(flag) {
    while (flag_.test_and_set(std::memory_order_acquire)) {
      while (flag_.test(std::memory_order_relaxed)) __builtin_ia32_pause();
    }
  }
  ~Spin() { flag_.clear(std::memory_order_release); }
  Spin(const Spin&) = delete;
  Spin& operator=(const Spin&) = delete;

 private:
  std::atomic_flag& flag_;
};

template <typename T>
T* Reserve(uint32_t count) {
  // Nodes are given up without ceremony.
  static_assert(std::is_trivially_destructible_v<T>);
  constexpr size_t kAlignment = 64;
  const size_t rounded = ((size_t{count} + 1) * sizeof(T) / kAlignment + 1) * kAlignment;
  // The allocator maps large blocks, so the pages come when they are first touched.
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  return static_cast<T*>(memory);
}

uint64_t Mix(uint64_t hash, uint64_t word, uint64_t seed) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
  hash = (hash ^ (hash >> 32) ^ seed) * 0xd6e8feb86659fd93U;
  return hash ^ (hash >> 29);
}

}  // namespace

template <typename T>
ConnlimitState::Pool<T>::Pool(uint32_t room) : capacity(room), items(Reserve<T>(room), std::free) {}

template <typename T>
uint32_t ConnlimitState::Pool<T>::Take() {
  const Spin spin(flag.busy);
  uint32_t index = free;
  if (index != kNone) {
    free = items[index].next;
  } else {
    index = fresh.load(std::memory_order_relaxed);
    if (index > capacity) return kNone;
    fresh.store(index + 1, std::memory_order_relaxed);
  }
  used.store(used.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  new (&items[index]) T();
  return index;
}

template <typename T>
void ConnlimitState::Pool<T>::Give(uint32_t index) {
  const Spin spin(flag.busy);
  items[index].next = free;
  free = index;
  used.store(used.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

// As many chains as the tables are to have entries, within reason: a chain is a word.
ConnlimitState::ConnlimitState(uint32_t keys, uint64_t hash_seed)
    : hash_seed_(hash_seed),
      lists_(keys),
      entries_(2 * keys),
      list_mask_(std::clamp(std::bit_ceil(keys), kStripes, 1U << 20) - 1),
      tuple_mask_(list_mask_),
      list_heads_(std::make_unique<uint32_t[]>(list_mask_ + 1)),
      tuple_heads_(std::make_unique<uint32_t[]>(tuple_mask_ + 1)),
      list_flags_(std::make_unique<Flag[]>(kStripes)),
      tuple_flags_(std::make_unique<Flag[]>(kStripes)) {}

size_t ConnlimitState::bytes() const {
  return sizeof(*this) + (list_mask_ + 1 + tuple_mask_ + 1) * sizeof(uint32_t) +
         2 * kStripes * sizeof(Flag) + lists_.TouchedBytes() + entries_.TouchedBytes();
}

uint64_t ConnlimitState::HashOf(const Key& key) const {
  uint64_t hash = hash_seed_ ^ ((uint64_t{key.zone} << 8) | static_cast<uint8_t>(key.family));
  for (int i = 0; i < 4; ++i) hash = Mix(hash, key.address.Word(i), hash_seed_);
  return hash;
}

uint64_t ConnlimitState::HashOf(const net::Tuple& tuple) const {
  std::array<uint64_t, sizeof(tuple) / sizeof(uint64_t)> words;
  static_assert(sizeof(words) == sizeof(tuple));
  __builtin_memcpy(words.data(), &tuple, sizeof(tuple));
  uint64_t hash = hash_seed_;
  for (const uint64_t word : words) hash = Mix(hash, word, hash_seed_);
  return hash;
}

uint32_t ConnlimitState::Count(const Key& key, const Seen& seen) {
  const uint64_t list_hash = HashOf(key);
  const uint64_t tuple_hash = HashOf(seen.tuple);
  Evicted evicted;
  uint32_t count = 0;
  {
    const Spin tuple(tuple_flags_[StripeOf(tuple_hash)].busy);
    const Spin list(list_flags_[StripeOf(list_hash)].busy);
    count = CountLocked(key, list_hash, seen, tuple_hash, &evicted);
  }
  for (uint32_t i = 0; i < evicted.count; ++i) Unchain(evicted.entries[i]);
  return count;
}

uint32_t ConnlimitState::CountLocked(const Key& key, uint64_t list_hash, const Seen& seen,
                                     uint64_t tuple_hash, Evicted* evicted) {
  uint32_t index = ListHead(list_hash);
  while (index != kNone && lists_[index].key != key) index = lists_[index].next;
  const uint8_t stripe = StripeOf(list_hash);
  if (index != kNone) return CountListed(index, seen, stripe, tuple_hash, evicted);
  index = AddList(key, list_hash, seen, evicted);
  if (index == kNone || !AddEntry(index, stripe, seen, tuple_hash)) return 0;
  return 1;
}

// __nf_conncount_add and what count_tree and insert_tree make of it.
uint32_t ConnlimitState::CountListed(uint32_t index, const Seen& seen, uint8_t stripe,
                                     uint64_t tuple_hash, Evicted* evicted) {
  List& list = lists_[index];
  constexpr uint32_t kAll = UINT32_MAX;
  const bool looked = list.last_look == seen.tick;
  if (seen.assured) {
    // Listed long ago, if ever. The look may leave nothing to count, and 0 is a drop.
    if (list.count != 0 && !looked) {
      Look(&list, seen, kAll, evicted);
      list.last_look = seen.tick;
      list.last_look_count = list.count;
    }
    return list.count;
  }
  if (seen.confirmed || !looked || list.count - list.last_look_count >= kMaxCollect) {
    const uint32_t own = FindOwn(index, seen, stripe, tuple_hash);
    Look(&list, seen, own == kNone ? kAll : entries_[own].serial, evicted);
    if (own != kNone) return list.count;
    list.last_look = seen.tick;
    list.last_look_count = list.count;
  }
  return AddEntry(index, stripe, seen, tuple_hash) ? list.count : 0;
}

uint32_t ConnlimitState::AddList(const Key& key, uint64_t list_hash, const Seen& seen,
                                 Evicted* evicted) {
  uint32_t& head = ListHead(list_hash);
  FreeEmptyLists(&head, seen, evicted);
  const uint32_t index = lists_.Take();
  if (index == kNone) return kNone;
  List& list = lists_[index];
  list.key = key;
  list.last_look = seen.tick;
  list.next = head;
  head = index;
  return index;
}

bool ConnlimitState::AddEntry(uint32_t list, uint8_t stripe, const Seen& seen,
                              uint64_t tuple_hash) {
  const uint32_t index = entries_.Take();
  if (index == kNone) return false;
  Entry& entry = entries_[index];
  entry.tuple = seen.tuple;
  entry.worker = seen.worker;
  entry.tick = static_cast<uint32_t>(seen.tick);
  entry.stripe = stripe;
  entry.standing = seen.standing;
  entry.list = list;
  entry.serial = lists_[list].serial++;
  ++lists_[list].count;
  SetListedAs(index, seen.standing);
  uint32_t& head = TupleHead(tuple_hash);
  entry.next = head;
  head = index;
  return true;
}

uint32_t ConnlimitState::FindOwn(uint32_t list, const Seen& seen, uint8_t stripe,
                                 uint64_t tuple_hash) {
  uint32_t own = kNone;
  for (uint32_t i = TupleHead(tuple_hash); i != kNone; i = entries_[i].next) {
    const Entry& entry = entries_[i];
    // Only with the same stripe is the rest of the entry under a flag that is held.
    if (entry.stripe != stripe || entry.dead || entry.list != list) continue;
    if (entry.standing == Standing::kAbsent && !IsYoung(entry, seen)) continue;
    if (entry.tuple != seen.tuple) continue;
    if (own == kNone || entry.serial < entries_[own].serial) own = i;
  }
  return own;
}

// Another worker may be about to confirm what it listed just now.
bool ConnlimitState::IsYoung(const Entry& entry, const Seen& seen) {
  return entry.worker != seen.worker && static_cast<uint32_t>(seen.tick) - entry.tick < 2;
}

void ConnlimitState::Look(List* list, const Seen& seen, uint32_t before, Evicted* evicted) {
  uint32_t looked_at = 0;
  for (uint32_t i = list->stale; i != kNone && !evicted->full() && looked_at < 2 * kMaxCollect;
       ++looked_at) {
    Entry& entry = entries_[i];
    const uint32_t index = i;
    i = entry.stale_next;
    if (entry.serial >= before) continue;
    if (entry.listed_as == Standing::kAbsent && IsYoung(entry, seen)) continue;
    SetListedAs(index, Standing::kOpen);
    entry.dead = true;
    --list->count;
    evicted->entries[evicted->count++] = index;
  }
}

// What insert_tree does on its way: lists that a look leaves empty make room.
void ConnlimitState::FreeEmptyLists(uint32_t* head, const Seen& seen, Evicted* evicted) {
  constexpr uint32_t kMaxLists = 8;
  uint32_t freed = 0;
  for (uint32_t* link = head; *link != kNone && freed < kMaxLists;) {
    const uint32_t index = *link;
    List& list = lists_[index];
    if (list.last_look != seen.tick) {
      Look(&list, seen, UINT32_MAX, evicted);
      list.last_look = seen.tick;
      list.last_look_count = list.count;
    }
    if (list.count != 0) {
      link = &list.next;
      continue;
    }
    *link = list.next;
    lists_.Give(index);
    ++freed;
  }
}

// Puts the entry on its list's stale chain, or takes it off.
void ConnlimitState::SetListedAs(uint32_t index, Standing standing) {
  Entry& entry = entries_[index];
  List& list = lists_[entry.list];
  const bool was = entry.listed_as != Standing::kOpen;
  const bool is = standing != Standing::kOpen;
  entry.listed_as = standing;
  if (was == is) return;
  if (is) {
    entry.stale_previous = kNone;
    entry.stale_next = list.stale;
    if (list.stale != kNone) entries_[list.stale].stale_previous = index;
    list.stale = index;
    return;
  }
  if (entry.stale_next != kNone) entries_[entry.stale_next].stale_previous = entry.stale_previous;
  if (entry.stale_previous != kNone) {
    entries_[entry.stale_previous].stale_next = entry.stale_next;
  } else {
    list.stale = entry.stale_next;
  }
}

void ConnlimitState::Unchain(uint32_t index) {
  const uint64_t hash = HashOf(entries_[index].tuple);
  {
    const Spin spin(tuple_flags_[StripeOf(hash)].busy);
    uint32_t* link = &TupleHead(hash);
    while (*link != index) link = &entries_[*link].next;
    *link = entries_[index].next;
  }
  entries_.Give(index);
}

void ConnlimitState::Change(const net::Tuple& tuple, Standing standing) {
  const uint64_t hash = HashOf(tuple);
  const Spin spin(tuple_flags_[StripeOf(hash)].busy);
  for (uint32_t i = TupleHead(hash); i != kNone; i = entries_[i].next) {
    Entry& entry = entries_[i];
    if (entry.tuple != tuple) continue;
    entry.standing = standing;
    const Spin list(list_flags_[entry.stripe].busy);
    if (!entry.dead) SetListedAs(i, standing);
  }
}

}  // namespace postern::rules

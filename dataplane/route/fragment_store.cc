#include "dataplane/route/fragment_store.h"

#include <algorithm>
#include <bit>

namespace postern::route {
namespace {

uint64_t Mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15;
  return hash ^ (hash >> 32);
}

uint64_t MixAddress(uint64_t hash, const net::IpAddress& address) {
  for (int i = 0; i < 4; ++i) hash = Mix(hash, address.Word(i));
  return hash;
}

}  // namespace

FragmentStore::FragmentStore(uint32_t datagrams, uint32_t fragments, uint64_t hash_key)
    : hash_key_(hash_key),
      datagrams_(std::max<uint32_t>(datagrams, 1)),
      fragments_(std::max<uint32_t>(fragments, 1)),
      heads_(std::bit_ceil(datagrams_.size() * 2), kNoSlot),
      source_heads_(heads_.size(), kNoSlot) {
  free_datagrams_.reserve(datagrams_.size());
  free_fragments_.reserve(fragments_.size());
  for (size_t i = datagrams_.size(); i-- > 0;) {
    free_datagrams_.push_back(static_cast<uint32_t>(i));
  }
  for (size_t i = fragments_.size(); i-- > 0;) {
    free_fragments_.push_back(static_cast<uint32_t>(i));
  }
}

uint32_t* FragmentStore::ChainOf(const DatagramKey& key) {
  uint64_t hash = MixAddress(MixAddress(hash_key_, key.source), key.destination);
  hash = Mix(hash, (uint64_t{key.id} << 32) | (uint64_t{key.link} << 8) | key.protocol);
  return &heads_[hash & (heads_.size() - 1)];
}

uint32_t* FragmentStore::SourceChainOf(const DatagramKey& key) {
  return &source_heads_[MixAddress(hash_key_, key.source) & (source_heads_.size() - 1)];
}

Datagram* FragmentStore::Find(const DatagramKey& key) {
  for (uint32_t i = *ChainOf(key); i != kNoSlot; i = datagrams_[i].chain) {
    if (datagrams_[i].key == key) return &datagrams_[i];
  }
  return nullptr;
}

Datagram* FragmentStore::Create(const DatagramKey& key, net::Time deadline,
                                uint32_t max_per_source) {
  if (free_datagrams_.empty()) return nullptr;
  uint32_t* source_head = SourceChainOf(key);
  uint32_t of_source = 0;
  for (uint32_t i = *source_head; i != kNoSlot; i = datagrams_[i].source_chain) {
    const DatagramKey& other = datagrams_[i].key;
    if (other.family == key.family && other.source == key.source) ++of_source;
  }
  if (of_source >= max_per_source) return nullptr;

  const uint32_t index = free_datagrams_.back();
  free_datagrams_.pop_back();
  ++size_;
  Datagram& datagram = datagrams_[index];
  datagram = Datagram{};
  datagram.key = key;
  datagram.deadline = deadline;
  uint32_t* head = ChainOf(key);
  datagram.chain = *head;
  *head = index;
  datagram.source_chain = *source_head;
  *source_head = index;
  List& ages = AgeList(key.family);
  datagram.before = ages.tail;
  (ages.tail == kNoSlot ? ages.head : datagrams_[ages.tail].after) = index;
  ages.tail = index;
  return &datagram;
}

void FragmentStore::Erase(Datagram* datagram) {
  const uint32_t index = IndexOf(*datagram);
  uint32_t* link = ChainOf(datagram->key);
  while (*link != index) link = &datagrams_[*link].chain;
  *link = datagram->chain;
  link = SourceChainOf(datagram->key);
  while (*link != index) link = &datagrams_[*link].source_chain;
  *link = datagram->source_chain;
  List& ages = AgeList(datagram->key.family);
  (datagram->before == kNoSlot ? ages.head : datagrams_[datagram->before].after) = datagram->after;
  (datagram->after == kNoSlot ? ages.tail : datagrams_[datagram->after].before) = datagram->before;
  free_datagrams_.push_back(index);
  --size_;
}

Datagram* FragmentStore::Oldest(net::Family family) {
  const uint32_t head = AgeList(family).head;
  return head == kNoSlot ? nullptr : &datagrams_[head];
}

FragmentStore::Insertion FragmentStore::Insert(Datagram* datagram, const net::Packet& packet,
                                               uint32_t payload, uint32_t begin, uint32_t end) {
  const bool at_end = datagram->tail == kNoSlot || fragments_[datagram->tail].end < end;
  uint32_t before = datagram->tail;
  if (at_end) {
    if (before != kNoSlot && begin < fragments_[before].end) return Insertion::kOverlap;
  } else {
    before = kNoSlot;
    for (uint32_t i = datagram->head; i != kNoSlot; i = fragments_[i].next) {
      const StoredFragment& run = fragments_[i];
      if (run.run_end != 0 && begin < run.run_end) {
        if (end <= run.begin) break;
        return begin >= run.begin && end <= run.run_end ? Insertion::kDuplicate
                                                        : Insertion::kOverlap;
      }
      before = i;
    }
  }
  if (free_fragments_.empty()) return Insertion::kFull;

  const uint32_t index = free_fragments_.back();
  free_fragments_.pop_back();
  StoredFragment& fragment = fragments_[index];
  fragment.packet = packet;
  fragment.payload = payload;
  fragment.begin = begin;
  fragment.end = end;
  fragment.run_end = 0;
  uint32_t& link = before == kNoSlot ? datagram->head : fragments_[before].next;
  fragment.next = link;
  link = index;
  if (at_end && before != kNoSlot && fragments_[before].end == begin) {
    fragments_[datagram->last_run].run_end = end;
  } else {
    fragment.run_end = end;
    if (at_end) datagram->last_run = index;
  }
  if (at_end) datagram->tail = index;
  return Insertion::kDone;
}

bool FragmentStore::Pop(Datagram* datagram, StoredFragment* fragment) {
  const uint32_t index = datagram->head;
  if (index == kNoSlot) return false;
  *fragment = fragments_[index];
  datagram->head = fragment->next;
  if (datagram->head == kNoSlot) datagram->tail = kNoSlot;
  free_fragments_.push_back(index);
  return true;
}

}  // namespace postern::route

#include "dataplane/pipeline/claim_room.h"

#include <algorithm>
#include <bit>

namespace postern::pipeline {

ClaimRoom::ClaimRoom(unsigned room, const ctrack::ConnectionTable* table)
    : table_(*table),
      claims_(room),
      waiters_(room),
      by_original_(std::bit_ceil(room + 1), kNoClaim),
      by_reply_(std::bit_ceil(room + 1), kNoClaim) {
  for (unsigned i = room; i-- > 0;) {
    claims_[i].next_free = free_;
    waiters_[i].next = free_waiter_;
    free_ = free_waiter_ = static_cast<ClaimId>(i);
  }
}

ClaimId ClaimRoom::Take() {
  const ClaimId id = free_;
  if (id == kNoClaim) return kNoClaim;
  Claim& claim = claims_[id];
  free_ = claim.next_free;
  claim.used = true;
  claim.stale = false;
  claim.refusals = 0;
  return id;
}

void ClaimRoom::Free(ClaimId id) {
  Claim& claim = claims_[id];
  if (claim.granted) GaveBack(id);
  claim.used = false;
  claim.next_free = free_;
  free_ = id;
  if (claim.first_waiting == kNoClaim) return;
  if (freed_last_ == kNoClaim) {
    freed_first_ = claim.first_waiting;
  } else {
    waiters_[freed_last_].next = claim.first_waiting;
  }
  freed_last_ = claim.last_waiting;
  claim.first_waiting = claim.last_waiting = kNoClaim;
}

void ClaimRoom::Asked(ClaimId id) {
  Claim& claim = claims_[id];
  claim.asked = true;
  claim.original_hash = table_.Hash(claim.flight.ct.connection->original());
  claim.reply_hash = table_.Hash(claim.reply);
  ClaimId& original = Head(by_original_, claim.original_hash);
  claim.next_by_original = original;
  original = id;
  ClaimId& reply = Head(by_reply_, claim.reply_hash);
  claim.next_by_reply = reply;
  reply = id;
  ++asked_;
  ++listed_;
}

void ClaimRoom::Unlist(Heads* heads, uint32_t hash, ClaimId Claim::*next, ClaimId id) {
  ClaimId* link = &Head(*heads, hash);
  while (*link != id) link = &(claims_[*link].*next);
  *link = claims_[id].*next;
}

void ClaimRoom::Granted(ClaimId id) {
  Claim& claim = claims_[id];
  claim.asked = false;
  claim.granted = true;
  Unlist(&by_original_, claim.original_hash, &Claim::next_by_original, id);
  --asked_;
}

void ClaimRoom::Refused(ClaimId id) {
  Granted(id);
  GaveBack(id);
  Claim& claim = claims_[id];
  if (claim.refusals < Claim::kMostQuestions) claim.refused[claim.refusals++] = claim.reply_hash;
}

void ClaimRoom::GaveBack(ClaimId id) {
  Claim& claim = claims_[id];
  claim.granted = false;
  Unlist(&by_reply_, claim.reply_hash, &Claim::next_by_reply, id);
  --listed_;
}

ClaimId ClaimRoom::FindOriginal(const net::Tuple& original) const {
  const uint32_t hash = table_.Hash(original);
  ClaimId id = Head(by_original_, hash);
  while (id != kNoClaim && !(claims_[id].original_hash == hash &&
                             claims_[id].flight.ct.connection->original() == original)) {
    id = claims_[id].next_by_original;
  }
  return id;
}

bool ClaimRoom::Taken(const net::Tuple& reply, ClaimId own) const {
  if (own != kNoClaim && WasRefused(reply, own)) return true;
  if (listed_ == 0) return false;
  const uint32_t hash = table_.Hash(reply);
  for (ClaimId id = Head(by_reply_, hash); id != kNoClaim; id = claims_[id].next_by_reply) {
    if (id != own && claims_[id].reply_hash == hash && claims_[id].reply == reply) return true;
  }
  return false;
}

bool ClaimRoom::WasRefused(const net::Tuple& reply, ClaimId id) const {
  const Claim& claim = claims_[id];
  if (claim.granted && claim.reply == reply) return false;
  if (claim.refusals == Claim::kMostQuestions) return true;
  const auto end = claim.refused.begin() + claim.refusals;
  return std::find(claim.refused.begin(), end, table_.Hash(reply)) != end;
}

bool ClaimRoom::Wait(ClaimId id, const net::Packet& packet, Source source) {
  const uint16_t place = free_waiter_;
  if (place == kNoClaim) return false;
  free_waiter_ = waiters_[place].next;
  waiters_[place] = {packet, source, kNoClaim};
  Claim& claim = claims_[id];
  if (claim.last_waiting == kNoClaim) {
    claim.first_waiting = place;
  } else {
    waiters_[claim.last_waiting].next = place;
  }
  claim.last_waiting = place;
  return true;
}

bool ClaimRoom::PopFreed(net::Packet* packet, Source* source) {
  const uint16_t place = freed_first_;
  if (place == kNoClaim) return false;
  Waiter& waiter = waiters_[place];
  *packet = waiter.packet;
  *source = waiter.source;
  freed_first_ = waiter.next;
  if (freed_first_ == kNoClaim) freed_last_ = kNoClaim;
  waiter.next = free_waiter_;
  free_waiter_ = place;
  return true;
}

}  // namespace postern::pipeline

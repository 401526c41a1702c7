// Where a packet waits until another worker has said whether its connection may have a reply tuple.
//
// Overview. A translation may give a connection a reply tuple that another worker owns (DESIGN.md
// section 3). Only the owner knows whether somebody has it already, so the first packet stops at
// the hook that has chosen the tuple, in a *claim*, until the owner's answer comes (claim.cc).
// Where the tuple is taken another one is chosen, as get_unique_tuple would; the claim remembers
// what was refused. Packets of the same connection that come meanwhile wait behind it, in their
// order.
//
// Life of a claim:
//
//   Take -> Asked -> (Granted -> ... | Refused -> Asked ...) -> Free
//
// Free() sets the packets that waited behind the claim free: PopFreed() gives them back, for the
// pipeline to take in once more from the beginning.
//
// Threads: one; each worker has its own.
// Invariants: room is bounded and reserved at the start; whoever finds none loses his packet. A
// claim has at most one question under way, so that no more answers than claims can come. `asked`
// and `granted` are never both set; in the index by original are those that are asked, in the one
// by reply those that are asked or granted.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ctrack/table.h"
#include "dataplane/net/nat_range.h"
#include "dataplane/pipeline/flight.h"

namespace postern::pipeline {

struct Claim {
  // Questions that one packet may cost; with them all refused, every other worker's tuple counts as
  // taken.
  static constexpr unsigned kMostQuestions = 16;

  // The flight as it stood at `hook`, where its translation is to be decided within `range`.
  Flight flight;
  net::Packet packet;  // none where the flight is the operator's
  rules::PathBuilder path;
  net::Hook hook = net::Hook::kPostrouting;
  net::NatRange range;
  // The rules have changed since: the packet begins anew.
  bool stale = false;

  net::Tuple translated;  // what the original direction becomes
  net::Tuple reply;       // its mirror: what is asked for
  bool asked = false;
  bool granted = false;
  std::array<uint32_t, kMostQuestions> refused;  // hashes of replies
  unsigned refusals = 0;

 private:
  friend class ClaimRoom;
  uint32_t original_hash = 0;
  uint32_t reply_hash = 0;
  ClaimId next_by_original = kNoClaim;
  ClaimId next_by_reply = kNoClaim;
  ClaimId next_free = kNoClaim;
  bool used = false;
  uint16_t first_waiting = kNoClaim;
  uint16_t last_waiting = kNoClaim;
};

class ClaimRoom {
 public:
  // Room for so many claims, and as many packets behind them; 0: nobody will ask. Tuples are hashed
  // as `table` does. Throws std::bad_alloc.
  ClaimRoom(unsigned room, const ctrack::ConnectionTable* table);

  // A fresh claim, or kNoClaim when there is no room.
  ClaimId Take();
  Claim& At(ClaimId id) { return claims_[id]; }
  // The claim is over. What waited behind it comes out of PopFreed().
  void Free(ClaimId id);

  // translated, reply and flight.ct are set; the question is under way.
  void Asked(ClaimId id);
  // The answer to it.
  void Granted(ClaimId id);
  void Refused(ClaimId id);
  // A granted tuple isn't wanted any more.
  void GaveBack(ClaimId id);

  // Claims whose question is under way.
  unsigned asked() const { return asked_; }
  // The one of them whose connection begins with `original`, or kNoClaim.
  ClaimId FindOriginal(const net::Tuple& original) const;
  // Another claim than `own` has the tuple or asks for it; or it was refused to `own`.
  bool Taken(const net::Tuple& reply, ClaimId own) const;
  // The tuple was refused to this claim.
  bool WasRefused(const net::Tuple& reply, ClaimId id) const;

  // Puts a packet behind a claim. False when there is no room.
  bool Wait(ClaimId id, const net::Packet& packet, Source source);
  // Gives back what a freed claim had kept waiting, the first to come first.
  bool PopFreed(net::Packet* packet, Source* source);

  // Calls `visit` for every claim that is in use.
  template <typename Visit>
  void ForEach(Visit visit) {
    for (Claim& claim : claims_) {
      if (claim.used) visit(claim);
    }
  }
  // Every packet that is kept, to be freed.
  template <typename Visit>
  void ForEachPacket(Visit visit) {
    ForEach([&](Claim& claim) {
      if (claim.asked && claim.flight.packet != nullptr) visit(&claim.packet);
      for (uint16_t i = claim.first_waiting; i != kNoClaim; i = waiters_[i].next) {
        visit(&waiters_[i].packet);
      }
    });
  }

 private:
  struct Waiter {
    net::Packet packet;
    Source source = Source::kPort;
    uint16_t next = kNoClaim;
  };
  using Heads = std::vector<ClaimId>;

  ClaimId& Head(Heads& heads, uint32_t hash) { return heads[hash & (heads.size() - 1)]; }
  ClaimId Head(const Heads& heads, uint32_t hash) const { return heads[hash & (heads.size() - 1)]; }
  void Unlist(Heads* heads, uint32_t hash, ClaimId Claim::*next, ClaimId id);

  const ctrack::ConnectionTable& table_;
  std::vector<Claim> claims_;
  std::vector<Waiter> waiters_;
  Heads by_original_;
  Heads by_reply_;
  ClaimId free_ = kNoClaim;
  uint16_t free_waiter_ = kNoClaim;
  uint16_t freed_first_ = kNoClaim;
  uint16_t freed_last_ = kNoClaim;
  unsigned asked_ = 0;
  unsigned listed_ = 0;  // claims in the index by reply
};

}  // namespace postern::pipeline

// -m connlimit (xt_connlimit, nf_conncount): how many living connections a source has.
//
// Overview. Each connlimit match has a ConnlimitState: a hash of masked addresses with a count
// each. When the match meets a connection that it hasn't counted yet, it raises the count of the
// packet's address and leaves a reference in the connection's Extension; ReleaseConnlimit() takes
// it back when the connection closes or ends. So a connection counts once a rule and address, and
// the count is exact without looking at any other connection. (The kernel keeps tuples and looks
// each of them up again; what can be observed is the same.)
//
// A connection in TIME_WAIT or CLOSE doesn't count, but its own packet counts itself, as does a
// packet without a connection: the kernel adds the tuple first and throws it away later.
//
// Life-cycle. States belong to ConnlimitStates (one a daemon); a rule set has them by shared_ptr.
// When the rule set is gone, connections may still refer to counts: the control thread frees a
// state (Collect) when nothing has it and nothing counts in it.
//
// Threads. Any worker counts and releases. A key belongs to one of kStripes stripes, whose
// atomic_flag is spun on while the holder follows one short chain; free nodes have a flag of their
// own, held for a few instructions. Nothing is called while one is held. The number of keys is
// fixed: when they are used up the match drops the packet, as the kernel does without memory.
//
// Invariants. A node in a chain has count > 0. living() is the sum of all counts.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "ctrack/extension.h"
#include "dataplane/rules/matches/answer.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

class ConnlimitState {
 public:
  struct Key {
    IpAddress address;  // masked
    Family family = Family::kIpv4;
    uint16_t zone = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  // One address with its count; what a ConnlimitRef points to.
  struct Node {
    Key key;
    uint32_t count = 0;
    uint32_t next = 0;
    ConnlimitState* state = nullptr;
  };

  // Room for `keys` addresses with a living connection at one time. The memory is touched only as
  // far as it is used. `hash_seed` should be random: with it a sender can't choose addresses that
  // fall into one chain.
  explicit ConnlimitState(uint32_t keys, uint64_t hash_seed = 0);
  ConnlimitState(const ConnlimitState&) = delete;
  ConnlimitState& operator=(const ConnlimitState&) = delete;

  // Raises the key's count; null when there is no room for another key. *count: after that.
  Node* Add(const Key& key, uint32_t* count);
  // The key's count now.
  uint32_t Count(const Key& key);
  // The count of a node that the caller holds a reference to.
  static uint32_t CountOf(const Node* node);
  static void Release(Node* node);

  uint64_t living() const { return living_.load(std::memory_order_acquire); }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kStripes = 256;
  static constexpr uint32_t kHeads = 64;  // chains a stripe
  struct alignas(64) Stripe {
    std::atomic_flag busy = ATOMIC_FLAG_INIT;
    std::array<uint32_t, kHeads> heads;
  };

  static Node* Reserve(uint32_t nodes);
  uint64_t Hash(const Key& key) const;
  Stripe& StripeOf(uint64_t hash) { return stripes_[hash % kStripes]; }
  static uint32_t& HeadOf(Stripe& stripe, uint64_t hash) {
    return stripe.heads[(hash >> 32) % kHeads];
  }
  Node* Find(uint32_t head, const Key& key);
  uint32_t TakeNode();
  void GiveNode(uint32_t index);
  void ReleaseNode(Node* node);

  const uint32_t capacity_;
  const uint64_t hash_seed_;
  // Immutable after construction; capacity_ of them.
  const std::unique_ptr<Node[], void (*)(void*)> nodes_;
  std::unique_ptr<Stripe[]> stripes_;
  std::atomic_flag free_busy_ = ATOMIC_FLAG_INIT;
  uint32_t free_ = kNone;
  uint32_t fresh_ = 0;  // nodes from here on were never used
  std::atomic<uint64_t> living_{0};
};

// Every connlimit state of a daemon. Control thread only.
class ConnlimitStates {
 public:
  std::shared_ptr<ConnlimitState> Make(uint32_t keys, uint64_t hash_seed);
  // Frees the states that no rule set has and no connection counts in.
  void Collect();
  size_t size() const { return states_.size(); }

 private:
  std::vector<std::shared_ptr<ConnlimitState>> states_;
};

struct CompiledConnlimit {
  const ConnlimitMatch* match = nullptr;
  ConnlimitState* state = nullptr;
};

Answer Matches(const CompiledConnlimit& compiled, const WalkContext& context, uint16_t* depends);

}  // namespace postern::rules

#include "dataplane/rules/matches/connlimit.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <type_traits>

#include "dataplane/net/wire.h"
#include "dataplane/rules/worker_rules.h"

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

bool IsClosed(const ctrack::Connection& connection) {
  if (connection.original().protocol != net::kProtoTcp) return false;
  const ctrack::TcpState state = connection.protocol.tcp.state;
  return state == ctrack::TcpState::kTimeWait || state == ctrack::TcpState::kClose;
}

ConnlimitState::Node* NodeOf(const ctrack::ConnlimitRef& ref) {
  return static_cast<ConnlimitState::Node*>(ref.counter);
}

}  // namespace

// Nodes are given up without ceremony.
static_assert(std::is_trivially_destructible_v<ConnlimitState::Node>);

ConnlimitState::Node* ConnlimitState::Reserve(uint32_t nodes) {
  constexpr size_t kAlignment = 64;
  const size_t rounded = (size_t{nodes} * sizeof(Node) / kAlignment + 1) * kAlignment;
  // The allocator maps large blocks, so the pages come when they are first touched.
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  return static_cast<Node*>(memory);
}

ConnlimitState::ConnlimitState(uint32_t keys, uint64_t hash_seed)
    : capacity_(keys),
      hash_seed_(hash_seed),
      nodes_(Reserve(keys), std::free),
      stripes_(std::make_unique<Stripe[]>(kStripes)) {
  for (uint32_t i = 0; i < kStripes; ++i) stripes_[i].heads.fill(kNone);
}

uint64_t ConnlimitState::Hash(const Key& key) const {
  uint64_t hash = hash_seed_ ^ ((uint64_t{key.zone} << 8) | static_cast<uint8_t>(key.family));
  for (int i = 0; i < 4; ++i) {
    hash = (hash ^ key.address.Word(i)) * 0x9e3779b97f4a7c15U;
    hash = (hash ^ (hash >> 32) ^ hash_seed_) * 0xd6e8feb86659fd93U;
    hash ^= hash >> 29;
  }
  return hash;
}

ConnlimitState::Node* ConnlimitState::Find(uint32_t head, const Key& key) {
  for (uint32_t i = head; i != kNone; i = nodes_[i].next) {
    if (nodes_[i].key == key) return &nodes_[i];
  }
  return nullptr;
}

ConnlimitState::Node* ConnlimitState::Add(const Key& key, uint32_t* count) {
  const uint64_t hash = Hash(key);
  Stripe& stripe = StripeOf(hash);
  const Spin spin(stripe.busy);
  uint32_t& head = HeadOf(stripe, hash);
  Node* node = Find(head, key);
  if (node == nullptr) {
    const uint32_t index = TakeNode();
    if (index == kNone) return nullptr;
    node = &nodes_[index];
    node->key = key;
    node->count = 0;
    node->state = this;
    node->next = head;
    head = index;
  }
  *count = ++node->count;
  living_.fetch_add(1, std::memory_order_relaxed);
  return node;
}

uint32_t ConnlimitState::Count(const Key& key) {
  const uint64_t hash = Hash(key);
  Stripe& stripe = StripeOf(hash);
  const Spin spin(stripe.busy);
  const Node* node = Find(HeadOf(stripe, hash), key);
  return node == nullptr ? 0 : node->count;
}

uint32_t ConnlimitState::CountOf(const Node* node) {
  const Spin spin(node->state->StripeOf(node->state->Hash(node->key)).busy);
  return node->count;
}

void ConnlimitState::Release(Node* node) { node->state->ReleaseNode(node); }

void ConnlimitState::ReleaseNode(Node* node) {
  const uint64_t hash = Hash(node->key);
  {
    Stripe& stripe = StripeOf(hash);
    const Spin spin(stripe.busy);
    if (--node->count == 0) {
      const auto index = static_cast<uint32_t>(node - nodes_.get());
      uint32_t* link = &HeadOf(stripe, hash);
      while (*link != index) link = &nodes_[*link].next;
      *link = node->next;
      GiveNode(index);
    }
  }
  // The last thing that touches the state: the control thread may free it when this is 0.
  living_.fetch_sub(1, std::memory_order_release);
}

uint32_t ConnlimitState::TakeNode() {
  const Spin spin(free_busy_);
  if (free_ == kNone) return fresh_ < capacity_ ? fresh_++ : kNone;
  const uint32_t index = free_;
  free_ = nodes_[index].next;
  return index;
}

void ConnlimitState::GiveNode(uint32_t index) {
  const Spin spin(free_busy_);
  nodes_[index].next = free_;
  free_ = index;
}

std::shared_ptr<ConnlimitState> ConnlimitStates::Make(uint32_t keys, uint64_t hash_seed) {
  Collect();
  states_.push_back(std::make_shared<ConnlimitState>(keys, hash_seed));
  return states_.back();
}

void ConnlimitStates::Collect() {
  std::erase_if(states_, [](const std::shared_ptr<ConnlimitState>& state) {
    return state.use_count() == 1 && state->living() == 0;
  });
}

namespace {

// Whether the kernel can make a tuple of a packet that has no connection: its ports or its ICMP
// header are there. Other protocols need nothing.
bool HasTuple(const net::ParsedPacket& ip) {
  constexpr uint32_t kPorts = 4;
  if (ip.fragment_offset != 0) return false;
  switch (ip.protocol) {
    case net::kProtoTcp:
    case net::kProtoUdp:
    case net::kProtoUdpLite:
    case net::kProtoSctp:
      return ip.L4Length() >= kPorts;
    case net::kProtoGre:
      return ip.l4_valid;
    case net::kProtoIcmp:
      return ip.family != Family::kIpv4 || ip.L4Length() >= sizeof(net::IcmpHeader);
    case net::kProtoIcmpv6:
      return ip.family != Family::kIpv6 || ip.L4Length() >= sizeof(net::IcmpHeader);
    default:
      return true;
  }
}

// The count with this packet's connection in it; 0 when that can't be had.
uint32_t CountWith(ConnlimitState* state, const ConnlimitState::Key& key,
                   const WalkContext& context) {
  ctrack::Connection* connection = context.ct->connection;
  if (connection == nullptr || IsClosed(*connection)) return state->Count(key) + 1;
  if (connection->extension == nullptr) {
    if (context.extensions == nullptr) return 0;
    if (context.extensions->AllocateExtension(connection) == nullptr) return 0;
  }
  ctrack::ConnlimitRef* vacant = nullptr;
  for (ctrack::ConnlimitRef& ref : connection->extension->connlimit) {
    const ConnlimitState::Node* node = NodeOf(ref);
    if (node == nullptr) {
      vacant = &ref;
    } else if (node->state == state && node->key == key) {
      return ConnlimitState::CountOf(node);
    }
  }
  // More connlimit rules than a connection can refer to: it counts for this packet alone.
  if (vacant == nullptr) return state->Count(key) + 1;
  uint32_t count = 0;
  vacant->counter = state->Add(key, &count);
  return count;
}

}  // namespace

Answer Matches(const CompiledConnlimit& compiled, const WalkContext& context, uint16_t* depends) {
  *depends |= kDependsTime | kDependsSideEffect;
  const ConnlimitMatch& match = *compiled.match;
  const net::ParsedPacket& ip = context.packet->ip;
  const ctrack::Connection* connection = context.ct->connection;
  if (connection == nullptr && !HasTuple(ip)) return Answer::kHotdrop;
  ConnlimitState::Key key;
  key.address = (match.destination ? ip.destination : ip.source) & match.mask;
  key.family = ip.family;
  key.zone = connection == nullptr ? uint16_t{0} : connection->original().zone;
  const uint32_t count = CountWith(compiled.state, key, context);
  if (count == 0) return Answer::kHotdrop;
  return AnswerOf((count > match.limit) != match.invert);
}

void ReleaseConnlimit(ctrack::Connection& connection) {
  if (connection.extension == nullptr) return;
  for (ctrack::ConnlimitRef& ref : connection.extension->connlimit) {
    if (ref.counter == nullptr) continue;
    ConnlimitState::Release(NodeOf(ref));
    ref.counter = nullptr;
  }
}

}  // namespace postern::rules

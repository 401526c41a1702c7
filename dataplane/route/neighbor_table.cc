// The states of a neighbour and what moves them, as Linux' neighbour.c, arp.c and ndisc.c do.
//
// Overview: NeighborStore holds the entries, arp.h and neighbor_discovery.h read and write the
// messages; here is what they mean. Packets that wait lie in a pool of their own, so an unanswered
// neighbour costs no entry more than its own.
//
// Life-cycle: Send() makes an entry and asks; an answer makes it reachable; time makes it stale;
// use of a stale entry leads over delay to probes; Tick() retransmits, fails and forgets.
//
// Threads: one, the worker's. Sink calls may come back into Send() (an ICMP error about a packet
// that waited), so queues are detached before the sink sees their packets and no entry is touched
// after such a call.
//
// Invariants: a queue isn't empty only in state kIncomplete; `generation` changes whenever a MAC
// that Find() gave may not be used any longer.
#include "dataplane/route/neighbor_table.h"

#include <algorithm>

#include "dataplane/net/wire.h"
#include "dataplane/route/neighbor_table_impl.h"

namespace postern::route {
namespace {

using net::Packet;
using net::Time;

constexpr unsigned kStepsPerTick = 16;
constexpr unsigned kSweepPerTick = 64;
constexpr Time kSweepInterval = 10 * net::kMillisecond;

MacAddress AssumedMac(Family family, const IpAddress& address) {
  const uint8_t* last = address.bytes.data() + (family == Family::kIpv4 ? 0 : 12);
  return {{0x02, 0x00, last[0], last[1], last[2], last[3]}};
}

}  // namespace

// ---- entries ----

Neighbor* NeighborTable::Impl::FindOrCreate(PortId port, Family family, const IpAddress& address,
                                            Time now) {
  Neighbor* entry = store.Find(port, family, address);
  if (entry != nullptr) return entry;
  if (store.size() == store.capacity()) {
    Neighbor* victim = store.Victim();
    if (victim == nullptr) return nullptr;
    DropWaiting(victim);
    Forget(victim);
  }
  entry = store.Create(port, family, address, now);
  if (entry != nullptr) store.SetState(entry, NeighborState::kFailed, now, 0);
  return entry;
}

void NeighborTable::Impl::SetState(Neighbor* entry, NeighborState state, Time now) {
  Time wait = settings.retransmit;
  if (state == NeighborState::kDelay) wait = settings.delay;
  if (state == NeighborState::kFailed) wait = settings.failed_hold;
  store.SetState(entry, state, now, wait);
}

// Reachability ends by the clock alone; it is noticed when somebody looks.
void NeighborTable::Impl::Refresh(Neighbor* entry, Time now) {
  if (entry->state != NeighborState::kReachable || settings.assume_reachable) return;
  if (now >= entry->confirmed + settings.reachable) {
    SetState(entry, NeighborState::kStale, now);
    ++generation;  // who remembers the MAC must come back, so that its use is seen
  }
}

// The MAC to send to, or null. Use of a stale entry starts its way to being probed.
const MacAddress* NeighborTable::Impl::Use(Neighbor* entry, Time now) {
  if (!HasMac(entry->state)) return nullptr;
  entry->used = now;
  Refresh(entry, now);
  if (entry->state == NeighborState::kStale && !settings.assume_reachable) {
    SetState(entry, NeighborState::kDelay, now);
  }
  return &entry->mac;
}

// neigh_update(): `mac` null: the message had none.
void NeighborTable::Impl::Update(Neighbor* entry, const MacAddress* mac, bool reachable,
                                 Override may, Time now) {
  if (entry->state == NeighborState::kStatic) return;
  Refresh(entry, now);
  const bool known = HasMac(entry->state);
  if (mac == nullptr && !known) return;
  const bool other = known && mac != nullptr && *mac != entry->mac;
  NeighborState next = reachable ? NeighborState::kReachable : NeighborState::kStale;
  if (other && may != Override::kYes && entry->state != NeighborState::kAssumed) {
    if (may != Override::kWeak || entry->state != NeighborState::kReachable) return;
    next = NeighborState::kStale;
    mac = nullptr;
  } else if (known && !other && !reachable) {
    next = entry->state;  // nothing new
  }
  if (next != entry->state || other) entry->updated = now;
  if (next == NeighborState::kReachable) entry->confirmed = now;
  if (known && (other || (next != entry->state && next == NeighborState::kStale))) ++generation;
  if (mac != nullptr) entry->mac = *mac;
  if (next != entry->state) SetState(entry, next, now);
  if (!known) SendWaiting(entry);
}

void NeighborTable::Impl::Forget(Neighbor* entry) {
  if (HasMac(entry->state)) ++generation;
  store.Erase(entry);
}

// ---- packets that wait ----

void NeighborTable::Impl::Queue(Neighbor* entry, Packet* packet) {
  // The newest packets are the likeliest to be still wanted.
  if (entry->queued >= settings.queue || free_waiting == kNoNeighbor) {
    if (entry->queue_head == kNoNeighbor) {
      sink->Drop(packet, net::DropReason::kNeighborQueueFull);
      return;
    }
    const uint32_t oldest = entry->queue_head;
    Packet lost = waiting[oldest].packet;
    entry->queue_head = waiting[oldest].next;
    if (entry->queue_head == kNoNeighbor) entry->queue_tail = kNoNeighbor;
    --entry->queued;
    waiting[oldest].next = free_waiting;
    free_waiting = oldest;
    sink->Drop(&lost, net::DropReason::kNeighborQueueFull);
  }
  const uint32_t slot = free_waiting;
  free_waiting = waiting[slot].next;
  waiting[slot].packet = *packet;
  waiting[slot].next = kNoNeighbor;
  (entry->queue_tail == kNoNeighbor ? entry->queue_head : waiting[entry->queue_tail].next) = slot;
  entry->queue_tail = slot;
  ++entry->queued;
}

uint32_t NeighborTable::Impl::Detach(Neighbor* entry) {
  const uint32_t chain = entry->queue_head;
  entry->queue_head = entry->queue_tail = kNoNeighbor;
  entry->queued = 0;
  return chain;
}

// Takes the first packet of a detached queue.
bool NeighborTable::Impl::Pop(uint32_t* chain, Packet* packet) {
  if (*chain == kNoNeighbor) return false;
  const uint32_t slot = *chain;
  *packet = waiting[slot].packet;
  *chain = waiting[slot].next;
  waiting[slot].next = free_waiting;
  free_waiting = slot;
  return true;
}

void NeighborTable::Impl::SendWaiting(Neighbor* entry) {
  const MacAddress mac = entry->mac;
  uint32_t chain = Detach(entry);
  Packet packet;
  while (Pop(&chain, &packet)) Transmit(&packet, mac);
}

void NeighborTable::Impl::DropWaiting(Neighbor* entry) {
  uint32_t chain = Detach(entry);
  Packet packet;
  while (Pop(&chain, &packet)) sink->Drop(&packet, net::DropReason::kNeighborQueueFull);
}

void NeighborTable::Impl::Transmit(Packet* packet, const MacAddress& destination) {
  const uint32_t at = packet->ip.l3_offset - uint32_t{sizeof(net::EthernetHeader)};
  auto* ethernet = packet->ip.l3_offset < sizeof(net::EthernetHeader)
                       ? nullptr
                       : packet->At<net::EthernetHeader>(at);
  if (ethernet == nullptr) {
    sink->Drop(packet, net::DropReason::kFrameTooShort);
    return;
  }
  ethernet->destination = destination;
  ethernet->source = routes->port(packet->out_port).mac;
  ethernet->type = packet->ip.family == Family::kIpv4 ? net::kEtherTypeIpv4 : net::kEtherTypeIpv6;
  sink->SendFrame(packet);
}

// ---- asking ----

void NeighborTable::Impl::Ask(Neighbor* entry, bool unicast, Time now) {
  ++entry->probes;
  SetState(entry, unicast ? NeighborState::kProbe : NeighborState::kIncomplete, now);
  if (entry->family == Family::kIpv4) {
    AskArp(*entry, unicast);
  } else {
    AskNd(*entry, unicast);
  }
}

void NeighborTable::Impl::Send(Packet* packet, Family family, const IpAddress& next_hop, Time now) {
  if (routes == nullptr || !routes->HasPort(packet->out_port)) {
    sink->Drop(packet, net::DropReason::kNeighborUnresolved);
    return;
  }
  Neighbor* entry = store.Find(packet->out_port, family, next_hop);
  const bool fresh = entry == nullptr;
  if (fresh) entry = FindOrCreate(packet->out_port, family, next_hop, now);
  if (entry == nullptr) {
    sink->Drop(packet, net::DropReason::kNeighborQueueFull);
    return;
  }
  if (const MacAddress* mac = Use(entry, now)) {
    Transmit(packet, *mac);
    return;
  }
  if (settings.assume_reachable) {
    entry->mac = AssumedMac(family, next_hop);
    SetState(entry, NeighborState::kAssumed, now);
    Transmit(packet, entry->mac);
    return;
  }
  if (entry->state == NeighborState::kFailed && !fresh && now < entry->deadline) {
    sink->Unresolved(packet);
    return;
  }
  Queue(entry, packet);
  if (entry->state == NeighborState::kIncomplete) return;
  entry->probes = 0;
  entry->used = now;
  Ask(entry, false, now);
}

// ---- time ----

void NeighborTable::Impl::Fail(Neighbor* entry, Time now) {
  if (HasMac(entry->state)) ++generation;
  SetState(entry, NeighborState::kFailed, now);
  uint32_t chain = Detach(entry);
  Packet packet;
  while (Pop(&chain, &packet)) sink->Unresolved(&packet);
}

// One step of what is due; false when nothing is.
bool NeighborTable::Impl::Retransmit(Time now) {
  if (Neighbor* entry = store.Due(NeighborStore::kRetransmitClock, now)) {
    if (entry->probes >= settings.solicitations) {
      Fail(entry, now);
    } else {
      Ask(entry, entry->state == NeighborState::kProbe, now);
    }
    return true;
  }
  if (Neighbor* entry = store.Due(NeighborStore::kDelayClock, now)) {
    entry->probes = 0;
    Ask(entry, true, now);
    return true;
  }
  if (Neighbor* entry = store.Due(NeighborStore::kHoldClock, now)) {
    Forget(entry);
    return true;
  }
  return false;
}

void NeighborTable::Impl::Sweep(Time now) {
  if (now < next_sweep && next_sweep - now <= kSweepInterval) return;
  next_sweep = now + kSweepInterval;
  const uint32_t steps = std::min<uint32_t>(kSweepPerTick, store.capacity());
  for (uint32_t i = 0; i < steps; ++i) {
    Neighbor& entry = store.At(sweep_at);
    sweep_at = sweep_at + 1 == store.capacity() ? 0 : sweep_at + 1;
    Refresh(&entry, now);
    if (entry.state == NeighborState::kStale && !settings.assume_reachable &&
        now >= std::max(entry.used, entry.updated) + settings.gone) {
      Forget(&entry);
    }
  }
}

// ---- public ----

NeighborTable::NeighborTable(const NeighborSettings& settings, net::BufferPool* pool,
                             NeighborSink* sink, uint64_t seed)
    : impl_(std::make_unique<Impl>(settings, pool, sink, seed)) {}

NeighborTable::~NeighborTable() {
  for (uint32_t i = 0; i < impl_->store.capacity(); ++i) {
    uint32_t chain = impl_->Detach(&impl_->store.At(i));
    Packet packet;
    while (impl_->Pop(&chain, &packet)) impl_->pool->Free(&packet);
  }
}

void NeighborTable::Configure(const RouteTable* routes,
                              const std::vector<StaticNeighbor>& neighbors) {
  impl_->routes = routes;
  ++impl_->generation;
  for (uint32_t i = 0; i < impl_->store.capacity(); ++i) {
    Neighbor& entry = impl_->store.At(i);
    if (entry.state == NeighborState::kFree) continue;
    if (entry.state == NeighborState::kStatic || !routes->HasPort(entry.port)) {
      impl_->DropWaiting(&entry);
      impl_->Forget(&entry);
    }
  }
  for (const StaticNeighbor& fixed : neighbors) {
    Neighbor* entry = impl_->FindOrCreate(fixed.port, fixed.family, fixed.address, 0);
    if (entry == nullptr) continue;
    entry->mac = fixed.mac;
    impl_->SetState(entry, NeighborState::kStatic, 0);
    impl_->SendWaiting(entry);
  }
}

void NeighborTable::Send(Packet* packet, Family family, const IpAddress& next_hop, Time now) {
  impl_->Send(packet, family, next_hop, now);
}

const MacAddress* NeighborTable::Find(PortId port, Family family, const IpAddress& next_hop,
                                      Time now) {
  Neighbor* entry = impl_->store.Find(port, family, next_hop);
  return entry == nullptr ? nullptr : impl_->Use(entry, now);
}

uint32_t NeighborTable::generation() const { return impl_->generation; }

void NeighborTable::Tick(Time now) {
  for (unsigned i = 0; i < kStepsPerTick; ++i) {
    if (!impl_->Retransmit(now)) break;
  }
  impl_->Sweep(now);
}

size_t NeighborTable::size() const { return impl_->store.size(); }

}  // namespace postern::route

// NeighborTable's inside, shared by neighbor_table.cc (states and time) and neighbor_messages.cc
// (what ARP and ND messages mean).
#pragma once

#include <algorithm>
#include <vector>

#include "dataplane/net/packet.h"
#include "dataplane/net/random.h"
#include "dataplane/route/arp.h"
#include "dataplane/route/neighbor_discovery.h"
#include "dataplane/route/neighbor_store.h"
#include "dataplane/route/neighbor_table.h"

namespace postern::route {

// How a message may change a MAC that is known already (neigh_update).
enum class Override : uint8_t {
  kNo,
  kWeak,  // it may not, but makes a reachable neighbour stale
  kYes,
};

struct NeighborTable::Impl {
  struct Waiting {
    net::Packet packet;
    uint32_t next = kNoNeighbor;
  };

  Impl(const NeighborSettings& s, net::BufferPool* p, NeighborSink* k, uint64_t seed)
      : settings(s),
        pool(p),
        sink(k),
        store(s.capacity, net::Rng(seed).Next()),
        waiting(std::max(s.queued_total, 1U)) {
    for (uint32_t i = 0; i < waiting.size(); ++i) {
      waiting[i].next = i + 1 < waiting.size() ? i + 1 : kNoNeighbor;
    }
    free_waiting = 0;
  }

  // Immutable after construction.
  const NeighborSettings settings;
  net::BufferPool* const pool;
  NeighborSink* const sink;

  NeighborStore store;
  std::vector<Waiting> waiting;
  uint32_t free_waiting = kNoNeighbor;
  const RouteTable* routes = nullptr;
  uint32_t generation = 1;
  uint32_t sweep_at = 0;
  net::Time next_sweep = 0;

  Neighbor* FindOrCreate(PortId port, Family family, const IpAddress& address, net::Time now);
  void SetState(Neighbor* entry, NeighborState state, net::Time now);
  const MacAddress* Use(Neighbor* entry, net::Time now);
  void Refresh(Neighbor* entry, net::Time now);
  void Update(Neighbor* entry, const MacAddress* mac, bool reachable, Override may, net::Time now);
  void Ask(Neighbor* entry, bool unicast, net::Time now);
  void AskArp(const Neighbor& entry, bool unicast);
  void AskNd(const Neighbor& entry, bool unicast);
  void Send(net::Packet* packet, Family family, const IpAddress& next_hop, net::Time now);

  void Queue(Neighbor* entry, net::Packet* packet);
  uint32_t Detach(Neighbor* entry);
  bool Pop(uint32_t* chain, net::Packet* packet);
  void SendWaiting(Neighbor* entry);
  void DropWaiting(Neighbor* entry);
  void Transmit(net::Packet* packet, const MacAddress& destination);

  void Fail(Neighbor* entry, net::Time now);
  void Forget(Neighbor* entry);
  bool Retransmit(net::Time now);
  void Sweep(net::Time now);

  void AnswerArp(PortId port, const ArpMessage& request);
  void LearnArp(const net::Packet& packet, const ArpMessage& message, net::Time now);
  void HandleSolicitation(PortId port, const NdMessage& message, net::Time now, bool answer);
  void HandleAdvertisement(PortId port, const NdMessage& message, net::Time now);
};

}  // namespace postern::route

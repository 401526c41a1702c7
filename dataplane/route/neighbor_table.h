// Neighbours: ARP (RFC 826) and IPv6 neighbour discovery (RFC 4861).
//
// One table a worker. Whichever worker receives an ARP or ND message hands copies
// to the others (the pipeline's job), so tables agree without being shared.
//
// States, as in Linux: incomplete (asked, packets wait) -> reachable -> stale -> delay (used again,
// waiting for a sign of life) -> probe (asked by unicast) -> failed -> gone; failed entries answer
// "unreachable" for a while so that a dead neighbour costs little. Static entries never change.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/net/packet.h"
#include "dataplane/net/random.h"
#include "dataplane/net/verdict.h"
#include "dataplane/route/route_table.h"

namespace postern::route {

class NeighborSink {
 public:
  virtual ~NeighborSink() = default;
  // A finished Ethernet frame (ARP or ND message, or a packet that waited), out_port set.
  virtual void SendFrame(net::Packet* packet) = 0;
  // A waiting packet's neighbour didn't answer: the sink sends host unreachable and frees it.
  virtual void Unresolved(net::Packet* packet) = 0;
  virtual void Drop(net::Packet* packet, net::DropReason reason) = 0;
};

struct NeighborSettings {
  net::Time retransmit = net::kSecond;  // between solicitations
  unsigned solicitations = 3;
  net::Time reachable = 30 * net::kSecond;  // then stale: used, and asked again by unicast
  net::Time gone = 60 * net::kSecond;       // a stale entry that nobody used
  net::Time failed_hold = 3 * net::kSecond;
  unsigned queue = 8;                  // packets that wait for one neighbour
  unsigned queued_total = 1024;        // packets that wait, over all neighbours
  unsigned capacity = 16384;           // neighbours
  net::Time delay = 5 * net::kSecond;  // from the use of a stale entry to its first probe
  net::Time lock = net::kSecond;       // an ARP answer this soon after another doesn't replace it
  // Replay: an unknown neighbour isn't asked but gets the MAC 02:00 + its last four address bytes.
  bool assume_reachable = false;
};

class NeighborTable {
 public:
  NeighborTable(const NeighborSettings& settings, net::BufferPool* pool, NeighborSink* sink,
                uint64_t seed);
  ~NeighborTable();

  // New ports, addresses and static entries; learned entries of ports that stay are kept.
  void Configure(const RouteTable* routes, const std::vector<StaticNeighbor>& neighbors);

  // Writes the Ethernet header of an IP packet for next_hop on packet->out_port and gives it to
  // the sink, or queues it and asks. Consumes the packet. A full queue loses its oldest packet, as
  // in Linux.
  void Send(net::Packet* packet, net::Family family, const net::IpAddress& next_hop, net::Time now);
  // The MAC of a resolved neighbour (used or not); null while unknown. For the fast path.
  const net::MacAddress* Find(net::PortId port, net::Family family, const net::IpAddress& next_hop,
                              net::Time now);
  // Changes with every change that may make a remembered MAC wrong.
  uint32_t generation() const;

  // An ARP frame: learns and answers for the appliance's addresses. Consumes the packet.
  // `copy` true: another worker has already answered it.
  void HandleArp(net::Packet* packet, net::Time now, bool copy);
  // A neighbour solicitation or advertisement (ICMPv6, hop limit 255) that arrived at the port.
  // Doesn't consume; true when it was one, valid or not.
  bool HandleNd(const net::Packet& packet, net::Time now, bool copy);

  // Retransmissions and expiry, in bounded steps; call at least every 100 ms.
  void Tick(net::Time now);
  size_t size() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::route

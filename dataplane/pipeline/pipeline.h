// A packet's life (DESIGN.md section 2): the one place that knows conntrack,
// NAT, rules and routes together.
//
// One Pipeline a worker; one thread. It owns the worker's Tracker, SourceMap, NeighborTable and
// Reassembler, and is told the Snapshot in force. It reads no clock and no randomness but what it
// is given.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "ctrack/tracker.h"
#include "dataplane/net/flow_hash.h"
#include "dataplane/net/nat_range.h"
#include "dataplane/net/packet.h"
#include "dataplane/pipeline/io.h"
#include "dataplane/pipeline/snapshot.h"
#include "dataplane/route/icmp_error.h"

namespace postern::pipeline {

// The most packets that one call takes.
inline constexpr size_t kMaxBurst = 64;

// How often Tick() is to be called, and how many places of the connection pool it looks at. So few
// that to end all of them takes some 10 µs, so often that a million places take 3 s.
inline constexpr net::Time kTickInterval = 100 * net::kMicrosecond;
inline constexpr unsigned kSweepBudget = 32;  // slots of the pool a tick, at least
// All slots are looked at in so many ticks, a second.
inline constexpr unsigned kTicksAPass = 10'000;
// Connections that end in a tick, at most: some 15 µs.
inline constexpr unsigned kMostEnds = 64;

struct PipelineStats {
  // By in port (kMaxPorts: from the host) and reason. Written by the worker, read by the control
  // thread (relaxed).
  std::array<std::array<uint64_t, net::kDropReasonCount>, net::kMaxPorts + 1> drops{};
  uint64_t packets = 0;
  uint64_t shortcuts = 0;  // packets that took the established path
  uint64_t handoffs_out = 0;
  uint64_t nat_exhausted = 0;
};

// The translation that the operator wants for a new connection.
struct NatWish {
  std::optional<net::NatRange> source, destination;
};

class Pipeline {
 public:
  struct Context {
    unsigned worker = 0;
    const net::OwnerMap* owners = nullptr;  // which worker a tuple belongs to
    ctrack::ConnectionTable* table = nullptr;
    ctrack::ConnectionPool* pool = nullptr;
    // SourceMap::BytesFor the pool's capacity, of zeros; null: ordinary memory.
    void* source_memory = nullptr;
    ctrack::SharedCount* shared = nullptr;
    route::IcmpRateLimiter* icmp_limiter = nullptr;  // shared by all workers
    PipelineIo* io = nullptr;
    EventSink* events = nullptr;
    PacketObserver* observer = nullptr;  // null in the daemon unless tracing
    uint64_t seed = 0;
    // Replay: unknown neighbours get a made-up MAC instead of being asked.
    bool assume_neighbors = false;
    // Replay: bit set of ports that accept any unicast destination MAC.
    uint64_t promiscuous_ports = 0;
  };
  explicit Pipeline(const Context& context);
  ~Pipeline();

  // Between bursts. The old snapshot isn't referred to afterwards.
  void Adopt(const Snapshot* snapshot);
  const Snapshot* snapshot() const;

  // Frames from a port, at most kMaxBurst. Consumes them.
  void Receive(std::span<const Frame> frames, net::PortId in_port, net::Time now);
  // The same for packets, each of which says what port it is from.
  void Receive(std::span<net::Packet> packets, net::Time now);
  // A packet that another worker handed over. Consumes it.
  void ReceiveHandoff(net::Packet* packet, HandoffKind kind, net::Time now);
  // Another worker holds (or no longer holds) a connection whose reply tuple this worker owns.
  void ReceiveRemoteEntry(const RemoteEntry& entry, net::Time now);
  // A frame that the host's kernel sent on the twin of packet->out_port: ARP and ND are answered
  // for any neighbour, IP goes to OUTPUT. Consumes it. Any worker may be given it; the owner gets
  // it.
  void ReceiveHost(net::Packet* packet, net::Time now);

  // Expiry, neighbours, fragments; bounded. True: many connections have ended, call again after
  // the next burst.
  bool Tick(net::Time now);

  // What the operator asks, between bursts; a snapshot is in force. The packets of this tuple come
  // to this worker, so that a connection with it must be made here.
  bool Owns(const net::Tuple& original) const;
  // A new confirmed connection: ctnetlink_create_conntrack. Nothing: another worker is being asked;
  // call again with the same until there is an outcome.
  std::optional<ctrack::RequestOutcome> Insert(const ctrack::ConnectionRequest& request,
                                               const NatWish& nat, net::Time now);
  // Events name the client that asks for what happens until the next call; 0: nobody asks.
  void SetReporter(uint32_t reporter);

  ctrack::Tracker& tracker();
  const PipelineStats& stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::pipeline

// nf_conntrack_in, confirm, expiry: the connection table's life.
//
// One Tracker a worker; it owns a ConnectionPool and uses the worker's
// ConnectionTable. Counts that hold over all workers (nf_conntrack_count against
// nf_conntrack_max) are in SharedCount.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "ctrack/connection.h"
#include "ctrack/pool.h"
#include "ctrack/settings.h"
#include "ctrack/table.h"
#include "dataplane/net/packet.h"
#include "dataplane/net/random.h"
#include "dataplane/net/verdict.h"

namespace postern::ctrack {

// Shared by all workers of a daemon.
struct SharedCount {
  std::atomic<uint32_t> entries{0};  // nf_conntrack_count
  std::atomic<uint32_t> next_id{1};
};

// A line of `conntrack -S`, with the kernel's names. Written by the worker, read by metrics.
struct TrackerStats {
  uint64_t found = 0;
  uint64_t invalid = 0;
  uint64_t insert = 0;
  uint64_t insert_failed = 0;
  uint64_t drop = 0;        // table full
  uint64_t early_drop = 0;
  uint64_t error = 0;
  uint64_t search_restart = 0;
  uint64_t clash_resolve = 0;
  uint64_t chain_toolong = 0;
  uint64_t deleted = 0;
};

enum class ConnEvent : uint8_t { kNew, kUpdate, kDestroy };
// What changed in a kUpdate (bits), as the kernel's IPCT_* events.
enum ConnChange : uint32_t {
  kChangeReply = 1U << 0,
  kChangeAssured = 1U << 1,
  kChangeProtoInfo = 1U << 2,
  kChangeMark = 1U << 3,
};

// Told of every event of the table by the worker that owns the connection. Implemented by the
// pipeline; must not allocate, lock or call the system.
class ConnectionObserver {
 public:
  virtual ~ConnectionObserver() = default;
  // kDestroy comes before the object is freed; `connection` is whole.
  virtual void OnConnection(ConnEvent event, uint32_t changes, const Connection& connection,
                            Time now) = 0;
  // The connection no longer counts as open for connlimit: its TCP state became TIME_WAIT or
  // CLOSE, or it is being destroyed. May come more than once.
  virtual void OnClosed(Connection& connection) = 0;
};

struct TrackResult {
  CtRef ct;
  // kAccept: go on with `ct`. kDrop: netfilter would drop it here (reason below).
  net::Verdict verdict = net::Verdict::kAccept;
  net::DropReason reason = net::DropReason::kNone;
  // The tuple belongs to a connection that this worker holds (>= 0) elsewhere: hand it over.
  int hand_to = -1;
};

class Tracker {
 public:
  Tracker(ConnectionTable* table, ConnectionPool* pool, SharedCount* shared,
          ConnectionObserver* observer, uint64_t seed);

  // The settings in force; may change between bursts.
  void SetSettings(const Settings* settings) { settings_ = settings; }

  // nf_conntrack_in for a packet at PREROUTING or OUTPUT that isn't marked untracked.
  // `known` is the result of a bulk lookup of TupleOf(packet) if the caller made one
  // (`looked_up` true), so that it isn't looked up twice.
  TrackResult Track(const net::Packet& packet, net::Hook hook, Time now, bool looked_up = false,
                    TableValue known = {});

  // nf_conntrack_confirm: false when the packet must be dropped (clash, table full).
  // No effect on a confirmed connection or without one.
  bool Confirm(const CtRef& ct, Time now, net::DropReason* reason);

  // The packet that held this unconfirmed connection is gone.
  void Release(const CtRef& ct);

  // Replaces the reply tuple of an unconfirmed connection (nf_conntrack_alter_reply).
  void AlterReply(Connection* connection, const Tuple& reply);

  // True if a confirmed connection other than `ignore` already uses `tuple` (either direction), or
  // a remote entry does: nf_conntrack_tuple_taken. An expired one is removed and doesn't count.
  bool TupleTaken(const Tuple& tuple, const Connection* ignore, Time now);
  // A confirmed, living connection for the tuple.
  Connection* Find(const Tuple& tuple, Direction* direction, Time now);

  void Destroy(Connection* connection, Time now);
  // Frees expired connections: looks at `budget` pool slots at most and goes on from there at the
  // next call.
  void Sweep(Time now, unsigned budget);
  // Removes every connection (conntrack -F), `budget` slots a call; true when it is through.
  bool Flush(Time now, unsigned budget, uint32_t* cursor);

  // Calls `visit` for living connections in pool slots [*cursor, *cursor + budget); true when
  // the pool is through. Visits each connection that stays exactly once.
  bool Visit(Time now, unsigned budget, uint32_t* cursor,
             const std::function<void(Connection&)>& visit);

  const TrackerStats& stats() const { return stats_; }
  size_t size() const;
  ConnectionTable& table() { return *table_; }
  const Settings& settings() const { return *settings_; }

 private:
  ConnectionTable* table_;
  ConnectionPool* pool_;
  SharedCount* shared_;
  ConnectionObserver* observer_;
  net::Rng rng_;
  const Settings* settings_ = nullptr;
  TrackerStats stats_;
};

}  // namespace postern::ctrack

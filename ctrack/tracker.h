// nf_conntrack_in, confirm, expiry: the connection table's life.
//
// One Tracker a worker; it owns what is in its ConnectionPool and uses the worker's
// ConnectionTable. Counts that hold over all workers (nf_conntrack_count against nf_conntrack_max)
// are in SharedCount.
//
// Life of a connection:
//
//   Track (first packet) -> unconfirmed -> Confirm -> in the table -> Destroy -> dying -> Reap
//                                     \-> Release
//
// An unconfirmed connection is in no table and belongs to its packet, but counts
// (nf_conntrack_count does, too). A dying one is out of the table and no longer counts, but its
// memory stays: a packet may hold a CtRef to it (the RST that ended it is still to be translated),
// or a bulk lookup may have found it. Reap frees the dying ones.
//
// Threads: one.
// Invariants: both tuples of a confirmed, not dying connection are in the table and lead to it. A
// CtRef is held no longer than the burst that it was made in, and `now` is the same throughout
// a burst: what died at an earlier `now` is held by nobody.
#pragma once

#include <array>
#include <atomic>
#include <climits>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "ctrack/connection.h"
#include "ctrack/events.h"
#include "ctrack/l4.h"
#include "ctrack/pool.h"
#include "ctrack/request.h"
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
  uint64_t drop = 0;
  uint64_t early_drop = 0;
  uint64_t error = 0;
  uint64_t search_restart = 0;
  uint64_t clash_resolve = 0;
  uint64_t chain_toolong = 0;
  uint64_t deleted = 0;
  uint64_t table_full = 0;  // of drop; for metrics
};

// ConnectionTable::Hash of a connection's tuples.
struct TupleHashes {
  uint32_t original;
  uint32_t reply;
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

  // The same for a packet, known to be valid, of a living, confirmed connection in `direction`.
  // TCP: not for a SYN without ACK, which may open another connection, and not for a RST.
  TrackResult TrackKnown(const net::Packet& packet, Connection* connection, Direction direction,
                         Time now);

  // The same for the first packet of a connection: one with ports, known to be valid, whose `tuple`
  // the table hasn't.
  TrackResult TrackFirst(const net::Packet& packet, const Tuple& tuple, Time now);

  // nf_conntrack_confirm: false when the packet must be dropped (clash).
  // No effect on a confirmed connection or without one. Where the same connection was confirmed
  // since Track (netfilter's clash resolution: UDP and the like, both tuples equal), the packet's
  // connection is released and `ct` becomes that one.
  bool Confirm(CtRef& ct, Time now, net::DropReason* reason);
  // The same for who knows that the table has neither of the connection's tuples, and their hashes.
  void ConfirmNew(Connection* connection, const TupleHashes& hashes, Time now);

  // Counts a clash as Confirm does: the caller knows of one that Confirm can't see.
  void NoteClash() {
    ++stats_.insert_failed;
    ++stats_.drop;
  }

  // The packet that held this unconfirmed connection is gone. No effect on a confirmed one.
  void Release(const CtRef& ct);

  // Replaces the reply tuple of an unconfirmed connection (nf_conntrack_alter_reply).
  void AlterReply(Connection* connection, const Tuple& reply);

  // A reset was sent in the connection's name (REJECT): its TCP state becomes CLOSE at once
  // (nf_conntrack_tcp_set_closing). No effect on an unconfirmed one and on other protocols.
  void SetClosing(Connection* connection, Time now);

  // True if a confirmed connection other than `ignore` already uses `tuple` (either direction), or
  // a remote entry does: nf_conntrack_tuple_taken. An expired one is removed and doesn't count.
  bool TupleTaken(const Tuple& tuple, const Connection* ignore, Time now);
  // The same for `reply`, asked for the unconfirmed `asker` when nearly every tuple has been tried:
  // a TCP connection with a translated source that is in TIME_WAIT or CLOSE ends for a SYN whose
  // sequence numbers are further on.
  bool TakenForGood(const Tuple& reply, const Connection& asker, Time now);
  // A confirmed, living connection for the tuple.
  Connection* Find(const Tuple& tuple, Direction* direction, Time now);

  // Takes a confirmed connection out of the table and tells the observer; the memory stays until
  // Reap. No effect on a dying one.
  void Destroy(Connection* connection, Time now);
  // Frees the connections that died. Call it between bursts, when no packet holds a CtRef.
  void Reap();
  // Between bursts: reaps, then destroys expired connections. Looks at `budget` pool slots at most,
  // ends `most` connections (to the next multiple of kTogether) and goes on from there at the next
  // call. After the table was full it also takes
  // unassured and closing connections until 5 % are free (the kernel's gc_worker).
  void Sweep(Time now, unsigned budget, unsigned most = UINT_MAX);
  // Removes every connection (conntrack -F), `budget` slots a call; true when it is through.
  bool Flush(Time now, unsigned budget, uint32_t* cursor);

  // ---- what the operator asks for (tracker_request.cc) ----

  // A connection as `request` wants it, unconfirmed, for the caller to translate and Confirm, or
  // null: *outcome says why. Neither of its tuples is taken.
  Connection* Begin(const ConnectionRequest& request, Time now, RequestOutcome* outcome);
  // Changes a confirmed connection. What comes before a refusal stays changed, as in the kernel.
  RequestOutcome Change(Connection* connection, const ConnectionRequest& request, Time now);

  // Calls `visit` for living connections in pool slots [*cursor, *cursor + budget); true when
  // the pool is through. Visits each connection that stays exactly once.
  bool Visit(Time now, unsigned budget, uint32_t* cursor,
             const std::function<void(Connection&)>& visit);

  // nf_conntrack_acct: counts a packet of `length` bytes from its IP header on, where it is on.
  void Account(Connection* connection, Direction direction, uint32_t length);

  // Why the packet of the last Track() isn't simply valid.
  const InvalidNote& note() const { return note_; }
  const TrackerStats& stats() const { return stats_; }
  // Confirmed connections of this worker.
  size_t size() const { return confirmed_; }
  ConnectionTable& table() { return *table_; }
  const Settings& settings() const { return *settings_; }

 private:
  // ---- tracker.cc ----
  TrackResult Invalid();
  TrackResult InvalidFor(InvalidWhy why);
  TrackResult Full();
  TrackResult TrackIcmpError(const net::Packet& packet, Time now);
  bool ChecksumBad(const net::Packet& packet, net::Hook hook) const;
  // A new, unconfirmed connection, or null; then *full tells why.
  Connection* Create(const Tuple& tuple, Time now, bool* full);
  // Applies the L4 tracker's answer.
  TrackResult Settle(const net::Packet& packet, Connection* connection, CtInfo info,
                     const L4Result& result, Time now);
  void Refresh(const net::Packet& packet, Connection* connection, Direction direction,
               uint32_t timeout, Time now);

  // ---- tracker_request.cc ----
  static RequestOutcome ChangeStatus(Connection* connection, uint32_t status);
  static void ChangeTcp(Connection* connection, TcpState state);

  // ---- tracker_life.cc ----
  // The connection of a local value if it is alive; an expired one is destroyed.
  Connection* Living(TableValue value, Time now);
  bool InsertBoth(Connection* connection, const TupleHashes& hashes);
  void Confirmed(Connection* connection, Time now);
  Connection* Winner(const Connection& loser, Time now);
  // Destroy() with the hashes of the connection's tuples.
  void End(Connection* connection, Time now, uint32_t original_hash, uint32_t reply_hash);
  void FreeUnconfirmed(Connection* connection);
  void ReapBefore(Time now);
  bool EarlyDrop(Time now);
  bool UnderPressure() const;
  // Connections whose ends are done side by side. More of them gained nothing that could be
  // measured.
  static constexpr size_t kTogether = 8;
  struct Lot {
    std::array<Connection*, kTogether> connections;
    std::array<uint32_t, 2 * kTogether> hashes;  // of the original's and the reply's tuples
    size_t count = 0;

    std::span<Connection* const> all() const { return {connections.data(), count}; }
  };
  bool MayEnd(const Connection* connection, Time now) const;
  void HashTuples(std::span<Connection* const> connections, std::span<uint32_t> hashes) const;
  void PrepareEnds(Lot* lot);
  void EndTogether(const Lot& lot, Time now);

  ConnectionTable* table_;
  ConnectionPool* pool_;
  SharedCount* shared_;
  ConnectionObserver* observer_;
  net::Rng rng_;
  const Settings* settings_ = nullptr;
  TrackerStats stats_;
  InvalidNote note_;

  size_t confirmed_ = 0;
  uint32_t sweep_cursor_ = 0;
  // Passes of the sweep that still begin or end under pressure, because the table was full.
  unsigned pressed_passes_ = 0;
  // Pool slots of the dying, in the order of their death. Room for all is reserved.
  std::vector<uint32_t> dying_;
  size_t died_earlier_ = 0;  // of dying_: in an earlier burst than the last ones
  Time last_death_ = 0;
};

}  // namespace postern::ctrack

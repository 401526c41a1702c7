// The part of Tracker that doesn't look at packets: confirmation, lookup for others, and every way
// for a connection to end.
#include <array>
#include <cassert>
#include <utility>

#include "ctrack/sctp_tracking.h"
#include "ctrack/tcp_tracking.h"
#include "ctrack/tracker.h"

namespace postern::ctrack {

namespace {

// Protocols of which two packets may be under way at once without being an attack or an error
// (the kernel's allow_clash).
bool MayClash(uint8_t protocol) {
  return protocol != net::kProtoTcp && protocol != net::kProtoSctp;
}

bool Expired(const Connection& connection, Time now) { return connection.expires <= now; }

// nf_conntrack_l4proto's can_early_drop.
bool IsClosing(const Connection& connection) {
  switch (connection.original().protocol) {
    case net::kProtoTcp:
      return IsClosing(connection.protocol.tcp.state);
    case net::kProtoSctp:
      return IsClosing(connection.protocol.sctp.state);
    default:
      return false;
  }
}

void PrefetchWhole(const Connection* connection) {
  if (connection == nullptr) return;
  const char* line = reinterpret_cast<const char*>(connection);
  for (size_t i = 0; i < sizeof(Connection); i += alignof(Connection)) {
    __builtin_prefetch(line + i);
  }
}

}  // namespace

Connection* Tracker::Living(TableValue value, Time now) {
  Connection* connection = value.connection();
  if (connection == nullptr || connection->Has(kDying)) return nullptr;
  if (!Expired(*connection, now)) return connection;
  Destroy(connection, now);
  return nullptr;
}

bool Tracker::InsertBoth(Connection* connection, const TupleHashes& hashes) {
  const Tuple& original = connection->original();
  const Tuple& reply = connection->reply();
  connection->KeepEnds();
  // Somebody who talks to himself has one tuple for both directions. The kernel, which puts the
  // reply's entry before the original's, then takes what follows for answers.
  const bool mirrored = reply == original;
  if (!table_->Insert(
          original, hashes.original,
          TableValue::Local(connection, mirrored ? Direction::kReply : Direction::kOriginal))) {
    return false;
  }
  if (mirrored) return true;
  if (table_->Insert(reply, hashes.reply, TableValue::Local(connection, Direction::kReply))) {
    return true;
  }
  table_->Erase(original, hashes.original);
  return false;
}

// The confirmed connection that is the same as `loser`, or null.
Connection* Tracker::Winner(const Connection& loser, Time now) {
  if (!MayClash(loser.original().protocol)) return nullptr;
  Direction direction;
  Connection* winner = Find(loser.original(), &direction, now);
  return winner != nullptr && winner->tuples == loser.tuples ? winner : nullptr;
}

bool Tracker::Confirm(CtRef& ct, Time now, net::DropReason* reason) {
  Connection* connection = ct.connection;
  if (connection == nullptr || connection->Has(kConfirmed)) return true;
  const TupleHashes hashes{table_->Hash(connection->original()), table_->Hash(connection->reply())};
  if (!InsertBoth(connection, hashes)) {
    // An expired connection may stand in the way.
    const bool taken = TupleTaken(connection->original(), nullptr, now) ||
                       TupleTaken(connection->reply(), nullptr, now);
    if (taken || !InsertBoth(connection, hashes)) {
      Connection* winner = Winner(*connection, now);
      if (winner != nullptr) {
        FreeUnconfirmed(connection);
        ct.connection = winner;
        ++stats_.insert_failed;
        ++stats_.clash_resolve;
        return true;
      }
      NoteClash();
      *reason = net::DropReason::kConntrackClash;
      return false;
    }
  }
  Confirmed(connection, now);
  return true;
}

void Tracker::ConfirmNew(Connection* connection, const TupleHashes& hashes, Time now) {
  [[maybe_unused]] const bool inserted = InsertBoth(connection, hashes);
  assert(inserted);
  Confirmed(connection, now);
}

void Tracker::Confirmed(Connection* connection, Time now) {
  connection->status |= kConfirmed;
  connection->expires += now;  // from now on, not from when the packet came
  if (connection->extension != nullptr && settings_->timestamp) connection->extension->start = now;
  ++confirmed_;
  ++stats_.insert;
  observer_->OnConnection(ConnEvent::kNew, 0, *connection, now);
}

void Tracker::Release(const CtRef& ct) {
  if (ct.connection != nullptr && !ct.connection->Has(kConfirmed)) FreeUnconfirmed(ct.connection);
}

void Tracker::FreeUnconfirmed(Connection* connection) {
  pool_->Free(connection);
  shared_->entries.fetch_sub(1, std::memory_order_relaxed);
}

void Tracker::AlterReply(Connection* connection, const Tuple& reply) {
  assert(!connection->Has(kConfirmed));
  connection->tuples[static_cast<size_t>(Direction::kReply)] = reply;
}

void Tracker::SetClosing(Connection* connection, Time now) {
  if (connection->original().protocol != net::kProtoTcp || !connection->Has(kConfirmed) ||
      connection->Has(kDying)) {
    return;
  }
  TcpState& state = connection->protocol.tcp.state;
  const bool closed_before = state == TcpState::kClose;
  state = TcpState::kClose;
  if (closed_before || connection->Has(kFixedTimeout)) return;
  const uint32_t timeout = settings_->tcp_timeout[static_cast<size_t>(TcpState::kClose)];
  connection->expires = now + timeout * net::kSecond;
  observer_->OnConnection(ConnEvent::kUpdate, kChangeProtoInfo, *connection, now);
  observer_->OnClosed(*connection);
}

bool Tracker::TupleTaken(const Tuple& tuple, const Connection* ignore, Time now) {
  const TableValue value = table_->Lookup(tuple);
  if (value.IsRemote()) {
    ++stats_.found;
    return true;
  }
  const Connection* connection = value.connection();
  if (connection == nullptr || connection == ignore) return false;
  if (Living(value, now) == nullptr) return false;
  // The same connection, confirmed in the meantime: Confirm resolves that.
  if (ignore != nullptr && connection->original() == ignore->original()) return false;
  ++stats_.found;
  return true;
}

// nf_nat_used_tuple_harder, nf_nat_may_kill, nf_seq_has_advanced.
bool Tracker::TakenForGood(const Tuple& reply, const Connection& asker, Time now) {
  const auto sent = [](const Connection& c) {
    return c.protocol.tcp.peer[static_cast<size_t>(Direction::kOriginal)].end;
  };
  if (reply.protocol != net::kProtoTcp || asker.protocol.tcp.state != TcpState::kSynSent) {
    return TupleTaken(reply, &asker, now);
  }
  const TableValue value = table_->Lookup(reply);
  if (value.IsRemote()) return true;
  Connection* holder = Living(value, now);
  if (holder == nullptr) return false;
  constexpr uint32_t kRefuse = kFixedTimeout | kDying;
  const bool may_go = value.direction() == Direction::kReply &&
                      holder->protocol.tcp.state >= TcpState::kTimeWait &&
                      (holder->status & (kRefuse | kSrcNat)) == kSrcNat &&
                      static_cast<int32_t>(sent(asker) - sent(*holder)) > 0;
  if (may_go) Destroy(holder, now);
  return !may_go;
}

Connection* Tracker::Find(const Tuple& tuple, Direction* direction, Time now) {
  const TableValue value = table_->Lookup(tuple);
  Connection* connection = Living(value, now);
  if (connection != nullptr) *direction = value.direction();
  return connection;
}

void Tracker::Destroy(Connection* connection, Time now) {
  assert(connection->Has(kConfirmed));
  if (connection->Has(kDying)) return;
  std::array<uint32_t, 2> hashes;
  HashTuples({&connection, 1}, hashes);
  End(connection, now, hashes[0], hashes[1]);
}

// Of a connection with itself there is one entry alone.
void Tracker::End(Connection* connection, Time now, uint32_t original_hash, uint32_t reply_hash) {
  connection->status |= kDying;
  table_->EraseLocal(connection, Direction::kOriginal, original_hash);
  table_->EraseLocal(connection, Direction::kReply, reply_hash);
  observer_->OnConnection(ConnEvent::kDestroy, 0, *connection, now);
  observer_->OnClosed(*connection);
  // What is left of its time stays, for the rest of the packet's way (--ctexpire).
  if (now != last_death_) died_earlier_ = dying_.size();
  last_death_ = now;
  dying_.push_back(pool_->SlotOf(connection));
  --confirmed_;
  ++stats_.deleted;
  shared_->entries.fetch_sub(1, std::memory_order_relaxed);
}

void Tracker::Reap() {
  for (const uint32_t slot : dying_) pool_->Free(pool_->At(slot));
  dying_.clear();
  died_earlier_ = 0;
}

// When the pool is used up in the middle of a burst: frees those that died in an earlier one.
void Tracker::ReapBefore(Time now) {
  const size_t freed = now == last_death_ ? died_earlier_ : dying_.size();
  for (size_t i = 0; i < freed; ++i) pool_->Free(pool_->At(dying_[i]));
  dying_.erase(dying_.begin(), dying_.begin() + static_cast<ptrdiff_t>(freed));
  died_earlier_ = 0;
}

// The kernel looks at 8 buckets from a place of the table that the new tuple's hash names. As many
// buckets as there may be connections, each with two tuples: 16 are in them when the table is full.
// Here it is as many slots of the pool, at random: neighbours came together and are alike.
bool Tracker::EarlyDrop(Time now) {
  constexpr uint32_t kRange = 16;
  const uint32_t slots = pool_->high_water();
  if (slots == 0) return false;
  std::array<uint32_t, kRange> places;
  for (uint32_t& slot : places) {
    slot = rng_.Below(slots);
    pool_->Prefetch(slot);
  }
  for (const uint32_t slot : places) {
    Connection* connection = pool_->At(slot);
    if (connection == nullptr || !connection->Has(kConfirmed) || connection->Has(kDying)) continue;
    if (!Expired(*connection, now)) {
      if (connection->Has(kAssured)) continue;
      ++stats_.early_drop;
    }
    Destroy(connection, now);
    return true;
  }
  return false;
}

bool Tracker::UnderPressure() const {
  const uint32_t most = settings_->max / 100 * 95;
  return pressed_passes_ != 0 && most != 0 &&
         shared_->entries.load(std::memory_order_relaxed) >= most;
}

// Expired, or in the way of others now. By the time that it is its turn, the pressure may be gone.
bool Tracker::MayEnd(const Connection* connection, Time now) const {
  if (connection == nullptr || !connection->Has(kConfirmed) || connection->Has(kDying))
    return false;
  if (Expired(*connection, now)) return true;
  return UnderPressure() && (!connection->Has(kAssured) || IsClosing(*connection));
}

// Two hashes a connection, at most kTogether connections. What a tuple is made of is in the line
// that says whether the connection has expired, but for IPv6 and zones.
void Tracker::HashTuples(std::span<Connection* const> connections,
                         std::span<uint32_t> hashes) const {
  std::array<net::Ipv4Key, 2 * kTogether> keys;
  for (size_t i = 0; i < connections.size(); ++i) {
    keys[2 * i] = connections[i]->Key(Direction::kOriginal);
    keys[2 * i + 1] = connections[i]->Key(Direction::kReply);
  }
  table_->HashBurst({keys.data(), 2 * connections.size()}, hashes);
  for (size_t i = 0; i < connections.size(); ++i) {
    if (connections[i]->HasKeys()) continue;
    table_->HashBurst(connections[i]->tuples, hashes.subspan(2 * i));
  }
}

// What a connection's end touches is most often out of the caches. Asked for by many together, it
// comes with the waits side by side instead of one after the other.
void Tracker::PrepareEnds(Lot* lot) {
  const std::span<uint32_t> hashes{lot->hashes.data(), 2 * lot->count};
  HashTuples(lot->all(), hashes);
  table_->Prefetch(hashes);
  observer_->OnEndsAhead(lot->all());
}

void Tracker::EndTogether(const Lot& lot, Time now) {
  for (size_t i = 0; i < lot.count; ++i) {
    Connection* connection = lot.connections[i];
    if (!Expired(*connection, now)) {
      if (!UnderPressure()) continue;
      ++stats_.early_drop;
    }
    End(connection, now, lot.hashes[2 * i], lot.hashes[2 * i + 1]);
  }
}

void Tracker::Sweep(Time now, unsigned budget, unsigned most) {
  constexpr uint32_t kAhead = 32;
  Reap();
  const uint32_t slots = pool_->high_water();
  // Two lots: while one is found, what the other will touch comes.
  std::array<Lot, 2> lots;
  Lot* found = &lots[0];
  Lot* waiting = &lots[1];
  for (unsigned i = 0, ends = 0; i < budget && i < slots && ends < most; ++i) {
    if (sweep_cursor_ >= slots) {
      sweep_cursor_ = 0;
      if (pressed_passes_ > 0) --pressed_passes_;
    }
    pool_->Prefetch(sweep_cursor_ + kAhead);
    Connection* connection = pool_->At(sweep_cursor_++);
    if (!MayEnd(connection, now)) continue;
    if (!connection->HasKeys()) {
      __builtin_prefetch(&connection->tuples);
      __builtin_prefetch(&connection->path);  // and the end of the reply's tuple
    }
    found->connections[found->count++] = connection;
    if (found->count < kTogether) continue;
    PrepareEnds(found);
    EndTogether(*waiting, now);
    ends += kTogether;
    std::swap(found, waiting);
    found->count = 0;
  }
  PrepareEnds(found);
  EndTogether(*waiting, now);
  EndTogether(*found, now);
}

bool Tracker::Flush(Time now, unsigned budget, uint32_t* cursor) {
  return Visit(now, budget, cursor, [this, now](Connection& c) { Destroy(&c, now); });
}

bool Tracker::Visit(Time now, unsigned budget, uint32_t* cursor,
                    const std::function<void(Connection&)>& visit) {
  constexpr uint32_t kAhead = 4;
  const uint32_t slots = pool_->high_water();
  for (unsigned i = 0; i < budget && *cursor < slots; ++i) {
    PrefetchWhole(pool_->At(*cursor + kAhead));
    Connection* connection = pool_->At((*cursor)++);
    if (connection == nullptr || !connection->Has(kConfirmed) || connection->Has(kDying)) continue;
    if (Expired(*connection, now)) {
      Destroy(connection, now);
    } else {
      visit(*connection);
    }
  }
  return *cursor >= slots;
}

}  // namespace postern::ctrack

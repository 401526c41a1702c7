#include "ctrack/tracker.h"

#include "ctrack/datagram_tracking.h"
#include "ctrack/icmp_tracking.h"
#include "ctrack/sctp_tracking.h"
#include "ctrack/tcp_tracking.h"
#include "dataplane/net/checksum.h"

namespace postern::ctrack {

namespace {

bool IsIcmp(const net::ParsedPacket& ip) {
  return ip.protocol == net::kProtoIcmp || ip.protocol == net::kProtoIcmpv6;
}

L4Result TrackL4(const L4Input& in) {
  switch (in.packet.ip.protocol) {
    case net::kProtoTcp:
      return TrackTcp(in);
    case net::kProtoUdp:
      return TrackUdp(in);
    case net::kProtoUdpLite:
      return TrackUdpLite(in);
    case net::kProtoIcmp:
      return TrackIcmp(in);
    case net::kProtoIcmpv6:
      return TrackIcmpv6(in);
    case net::kProtoGre:
      return TrackGre(in);
    case net::kProtoSctp:
      return TrackSctp(in);
    default:
      return TrackGeneric(in);
  }
}

// resolve_normal_ct: once there were answers, every packet is ESTABLISHED.
CtInfo InfoOf(const Connection& connection, Direction direction) {
  if (direction == Direction::kReply) return CtInfo::kEstablishedReply;
  if (connection.Has(kSeenReply)) return CtInfo::kEstablished;
  return connection.Has(kExpected) ? CtInfo::kRelated : CtInfo::kNew;
}

TrackResult HandTo(unsigned worker) {
  TrackResult result;
  result.hand_to = static_cast<int>(worker);
  return result;
}

}  // namespace

Tracker::Tracker(ConnectionTable* table, ConnectionPool* pool, SharedCount* shared,
                 ConnectionObserver* observer, uint64_t seed)
    : table_(table), pool_(pool), shared_(shared), observer_(observer), rng_(seed) {
  dying_.reserve(pool->capacity());
}

TrackResult Tracker::Track(const net::Packet& packet, net::Hook hook, Time now, bool looked_up,
                           TableValue known) {
  const net::ParsedPacket& ip = packet.ip;
  note_.why = InvalidWhy::kNone;
  if (!ip.l4_valid) return InvalidFor(WhyMalformed(packet));
  if (IsIcmp(ip)) {
    if (ChecksumBad(packet, hook)) return InvalidFor(InvalidWhy::kChecksum);
    constexpr uint8_t kHighestIcmpType = 18;  // NR_ICMP_TYPES; RFC 1122 3.2.2
    if (ip.protocol == net::kProtoIcmp && ip.icmp_type > kHighestIcmpType) {
      return InvalidFor(InvalidWhy::kIcmpType);
    }
    if (net::QuotesPacket(ip)) return TrackIcmpError(packet, now);
    if (ip.family == net::Family::kIpv6 && IsUntrackedIcmpv6(ip.icmp_type)) {
      TrackResult result;
      result.ct.info = CtInfo::kUntracked;
      return result;
    }
  }
  // The tuple is made only where it is needed: not for a packet of a connection that is known.
  std::optional<Tuple> tuple;
  // A connection that died since the caller's bulk lookup may have a successor already.
  const bool died = known.connection() != nullptr && known.connection()->Has(kDying);
  if (!looked_up || died) {
    tuple = net::TupleOf(ip);
    if (!tuple) return Invalid();
    known = table_->Lookup(*tuple);
  }
  for (;;) {
    if (known.IsRemote()) return HandTo(known.worker());
    Connection* connection = Living(known, now);
    const Direction direction = connection != nullptr ? known.direction() : Direction::kOriginal;
    if (connection == nullptr) {
      if (!tuple) tuple = net::TupleOf(ip);
      if (!tuple) return Invalid();
      bool full = false;
      connection = Create(*tuple, now, &full);
      if (connection == nullptr) return full ? Full() : Invalid();
    }
    const CtInfo info = InfoOf(*connection, direction);
    L4Result result;
    if (IsIcmp(ip) || !ChecksumBad(packet, hook)) {
      result = TrackL4({packet, *connection, direction, *settings_, now, &note_});
    } else {
      note_ = {.why = InvalidWhy::kChecksum};
    }
    if (result.decision != L4Decision::kRepeat) {
      return Settle(packet, connection, info, result, now);
    }
    // The fresh connection that comes next can't ask for a repetition.
    Destroy(connection, now);
    known = TableValue{};
  }
}

TrackResult Tracker::TrackKnown(const net::Packet& packet, Connection* connection,
                                Direction direction, Time now) {
  note_.why = InvalidWhy::kNone;
  const CtInfo info = InfoOf(*connection, direction);
  const L4Result result = TrackL4({packet, *connection, direction, *settings_, now, &note_});
  return Settle(packet, connection, info, result, now);
}

TrackResult Tracker::TrackFirst(const net::Packet& packet, const Tuple& tuple, Time now) {
  note_.why = InvalidWhy::kNone;
  bool full = false;
  Connection* connection = Create(tuple, now, &full);
  if (connection == nullptr) return full ? Full() : Invalid();
  const L4Result result =
      TrackL4({packet, *connection, Direction::kOriginal, *settings_, now, &note_});
  return Settle(packet, connection, CtInfo::kNew, result, now);
}

TrackResult Tracker::Invalid() {
  ++stats_.invalid;
  return TrackResult{};
}

TrackResult Tracker::InvalidFor(InvalidWhy why) {
  note_ = {.why = why};
  return Invalid();
}

TrackResult Tracker::Full() {
  ++stats_.drop;
  ++stats_.table_full;
  pressed_passes_ = 2;  // the rest of this one and the whole next one
  TrackResult result;
  result.verdict = net::Verdict::kDrop;
  result.reason = net::DropReason::kConntrackTableFull;
  return result;
}

// As the hardware checks received packets only, netfilter checks at PREROUTING only.
bool Tracker::ChecksumBad(const net::Packet& packet, net::Hook hook) const {
  return settings_->checksum && hook == net::Hook::kPrerouting && !packet.checksum_verified &&
         !net::TransportChecksumValid(packet);
}

// nf_conntrack_inet_error. The quoted packet was on its way to where the error comes from, so the
// error's direction is that of the quoted tuple's mirror.
TrackResult Tracker::TrackIcmpError(const net::Packet& packet, Time now) {
  const std::optional<net::QuotedPacket> quoted = net::ParseQuoted(packet);
  const std::optional<Tuple> inner = quoted ? net::Mirror(quoted->tuple) : std::nullopt;
  if (!inner) {
    ++stats_.error;
    return InvalidFor(WhyNothingQuoted(packet));
  }
  const TableValue value = table_->Lookup(*inner);
  if (value.IsRemote()) return HandTo(value.worker());
  Connection* connection = Living(value, now);
  // Whoever quotes a packet of ours but sends the error to somebody else isn't on its path.
  if (connection == nullptr) {
    ++stats_.error;
    return Invalid();
  }
  const net::IpAddress& sender = connection->tuple(value.direction()).destination;
  if (sender != packet.ip.destination) {
    ++stats_.error;
    const TrackResult result = InvalidFor(InvalidWhy::kOuterDestination);
    note_.address = sender;
    return result;
  }
  TrackResult result;
  result.ct.connection = connection;
  result.ct.info =
      value.direction() == Direction::kReply ? CtInfo::kRelatedReply : CtInfo::kRelated;
  return result;
}

Connection* Tracker::Create(const Tuple& tuple, Time now, bool* full) {
  const std::optional<Tuple> reply = net::Mirror(tuple);
  if (!reply) return nullptr;
  // Counting first keeps several workers from passing nf_conntrack_max together.
  const uint32_t count = shared_->entries.fetch_add(1, std::memory_order_relaxed) + 1;
  Connection* connection = nullptr;
  if (settings_->max == 0 || count <= settings_->max || EarlyDrop(now)) {
    connection = pool_->Allocate();
    if (connection == nullptr) {
      ReapBefore(now);
      connection = pool_->Allocate();
    }
  }
  if (connection == nullptr) {
    shared_->entries.fetch_sub(1, std::memory_order_relaxed);
    *full = true;
    return nullptr;
  }
  connection->tuples = {tuple, *reply};
  do {
    connection->id = shared_->next_id.fetch_add(1, std::memory_order_relaxed);
  } while (connection->id == 0);
  if (settings_->acct || settings_->timestamp) {
    pool_->AllocateExtension(connection)->counted = settings_->acct;
  }
  return connection;
}

TrackResult Tracker::Settle(const net::Packet& packet, Connection* connection, CtInfo info,
                            const L4Result& result, Time now) {
  const bool confirmed = connection->Has(kConfirmed);
  if (result.decision == L4Decision::kInvalid || result.decision == L4Decision::kDrop) {
    if (!confirmed) FreeUnconfirmed(connection);
    TrackResult refused = Invalid();
    if (result.decision == L4Decision::kDrop) {
      ++stats_.drop;
      refused.verdict = net::Verdict::kDrop;
      refused.reason = net::DropReason::kConntrackDrop;
    }
    return refused;
  }
  const Direction direction = DirectionOf(info);
  uint32_t changes = result.changes;
  if (result.decision == L4Decision::kAccept) {
    Refresh(packet, connection, direction, result.timeout, now);
  } else if (result.decision == L4Decision::kEnd) {
    Account(connection, direction, packet.ip.l3_length);
    Destroy(connection, now);
  }
  if (info == CtInfo::kEstablishedReply && !connection->Has(kSeenReply)) {
    connection->status |= kSeenReply;
    changes |= kChangeReply;
  }
  if (changes != 0 && confirmed && !connection->Has(kDying)) {
    observer_->OnConnection(ConnEvent::kUpdate, changes, *connection, now);
    if (result.closed) observer_->OnClosed(*connection);
  }
  TrackResult tracked;
  tracked.ct = {connection, info};
  return tracked;
}

// nf_ct_refresh_acct.
void Tracker::Refresh(const net::Packet& packet, Connection* connection, Direction direction,
                      uint32_t timeout, Time now) {
  if (!connection->Has(kFixedTimeout)) {
    const Time duration = timeout * net::kSecond;
    connection->expires = connection->Has(kConfirmed) ? now + duration : duration;
  }
  if (connection->extension != nullptr) Account(connection, direction, packet.ip.l3_length);
}

void Tracker::Account(Connection* connection, Direction direction, uint32_t length) {
  const Extension* more = connection->extension;
  if (more == nullptr || !more->counted || !settings_->acct) return;
  ++connection->extension->packets[static_cast<size_t>(direction)];
  connection->extension->bytes[static_cast<size_t>(direction)] += length;
}

}  // namespace postern::ctrack

// Packets of known connections that no shortcut says everything about (established.h): the first
// ones of each direction, and those that bring the connection to another state.
//
// Most rule sets say the same to all of them ("ctstate ESTABLISHED -j ACCEPT"), and have said it to
// others of their class already (path_classes.h). What is left is conntrack, which is asked as on
// the slow path, and the way, which is looked for once a direction and kept in the shortcut.
//
// All that doesn't depend on conntrack's answer is looked at first, and nothing is written until
// conntrack is asked. A packet that has to walk after that takes the answer along (Known::tracked):
// conntrack must not see it twice. The raw table stands before conntrack, so where it has rules no
// packet comes here.
#include "ctrack/tcp_table.h"
#include "dataplane/pipeline/lane.h"

namespace postern::pipeline {
namespace {

using ctrack::Connection;
using ctrack::Shortcut;
using net::Direction;
using net::Family;

// A segment that neither begins a connection anew nor ends one at once.
bool IsOrdinary(uint8_t tcp_flags) {
  return ctrack::TcpFlagsValid(tcp_flags) && (tcp_flags & net::kTcpRst) == 0 &&
         (tcp_flags & (net::kTcpSyn | net::kTcpAck)) != net::kTcpSyn;
}

}  // namespace

bool Pipeline::Impl::RawPassesAll(Family family) const {
  if (!HasTable(family, net::Table::kRaw)) return true;
  if (rules().HasRules(family, net::Table::kRaw, net::Hook::kPrerouting)) return false;
  const rules::Chain* chain =
      rules().model().family(family).table(net::Table::kRaw).Find("PREROUTING");
  return chain == nullptr || chain->policy == net::Verdict::kAccept;
}

// Whether all of the shortcut but its path holds: it was learned or renewed with these routes.
bool Pipeline::Impl::KnowsWay(const Shortcut& shortcut, net::PortId in_port) const {
  const uint32_t age = epoch_ - static_cast<uint32_t>(shortcut.key);
  constexpr uint64_t kInPort = uint64_t{0xff} << 48;
  return shortcut.key != 0 && age <= epoch_ - renewable_from_ &&
         ((shortcut.key ^ ShortcutKey(0, 0, in_port, 0)) & kInPort) == 0;
}

// The way of a packet whose destination is translated already. False: it isn't simply forwarded, or
// its neighbour isn't known.
bool Pipeline::Impl::FindWay(const net::Packet& packet, Direction direction, net::Time now,
                             Connection* connection) {
  const auto route = PlainWay(packet);
  if (!route) return false;
  // nf_nat_oif_changed
  if (direction == Direction::kOriginal && connection->masquerade_port != net::kNoPort &&
      connection->masquerade_port != route->port) {
    return false;
  }
  const uint16_t hop = HopTowards(*route, packet.ip.family, now);
  if (hop == NextHops::kNone) return false;
  connection->shortcut[static_cast<size_t>(direction)] = WayAlone(packet.in_port, hop);
  return true;
}

template <Family kFamily>
Pipeline::Impl::Progress Pipeline::Impl::Advance(Lane* lane, const Frame& frame,
                                                 ctrack::TableValue value,
                                                 ctrack::TrackResult* tracked) {
  constexpr uint32_t kUnusual = ctrack::kFixedTimeout | ctrack::kHelper | ctrack::kSeqAdjust |
                                ctrack::kDying | ctrack::kExpected;
  Connection* connection = value.connection();
  if (connection == nullptr || !may_advance_[IndexOf(kFamily)]) {
    return Progress::kNone;
  }
  const Direction direction = value.direction();
  if ((connection->status & kUnusual) != 0 || connection->expires <= lane->now) {
    return Progress::kNone;
  }
  // Before there is an answer, nat may still have to see it, and rules tell by addresses.
  if (direction == Direction::kOriginal && !connection->Has(ctrack::kSeenReply)) {
    return Progress::kNone;
  }
  net::Packet packet;
  if (!ReadPacket<kFamily>(*lane, frame, &packet)) return Progress::kNone;
  const net::ParsedPacket& ip = packet.ip;
  if ((ip.protocol == net::kProtoTcp && !IsOrdinary(ip.tcp_flags)) ||
      !ChecksumOk<kFamily>(*lane, frame, ip.protocol, packet.L4(), ip.L4Length())) {
    return Progress::kNone;
  }
  Shortcut& shortcut = connection->shortcut[static_cast<size_t>(direction)];
  if (!KnowsWay(shortcut, lane->in_port)) {
    const auto answers = static_cast<size_t>(Opposite(direction));
    packet.ip.destination =
        kFamily == Family::kIpv4
            ? net::IpAddress::FromWire(kFamily, &connection->ends[answers].source)
            : connection->tuples[answers].source;
    if (!FindWay(packet, direction, lane->now, connection)) return Progress::kNone;
    lane->neighbors = neighbors_.generation();
  }
  NextHop& hop = next_hops_.At(shortcut.next_hop);
  if (!HopOk(lane, &hop, ip.l3_length)) return Progress::kNone;

  const ctrack::TrackResult result = tracker_.TrackKnown(packet, connection, direction, lane->now);
  if (result.ct.connection == nullptr || tracker_.note().why != ctrack::InvalidWhy::kNone) {
    *tracked = result;
    return Progress::kTracked;
  }
  const uint64_t key = lane->key | uint64_t{connection->status} << 32;
  if (shortcut.key != key && shortcut.key != (key | uint64_t{ip.tcp_flags} << 56)) {
    const PathClasses::Path* known = classes_.Find(
        PathClasses::Key(key >> 32, hop.out_port, kFamily, ip.protocol, direction), ip.tcp_flags);
    if (known == nullptr) {
      *tracked = result;
      return Progress::kTracked;
    }
    if (!MayShorten(*connection, lane->now)) {
      Pass<kFamily>(lane, frame, connection, direction, hop, known->path, ip.l3_length);
      return Progress::kSent;
    }
    shortcut.path = known->path;
    shortcut.key = known->flags_matter ? key | uint64_t{ip.tcp_flags} << 56 : key;
  }
  Pass<kFamily>(lane, frame, connection, direction, hop, shortcut.path, ip.l3_length);
  return Progress::kSent;
}

template Pipeline::Impl::Progress Pipeline::Impl::Advance<Family::kIpv4>(Lane*, const Frame&,
                                                                         ctrack::TableValue,
                                                                         ctrack::TrackResult*);
template Pipeline::Impl::Progress Pipeline::Impl::Advance<Family::kIpv6>(Lane*, const Frame&,
                                                                         ctrack::TableValue,
                                                                         ctrack::TrackResult*);

}  // namespace postern::pipeline

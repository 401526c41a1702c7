// First packets of connections: the slow path without the walks, and without what a packet may be
// that isn't plain.
//
// A first packet meets every chain, but of most rule sets all that come between the same two ports
// for the same service meet the same rules. So the first one of each opening (openings.h) walks,
// and for the others conntrack, the way, the choice of a translation and confirmation are left,
// which are asked here as the hooks ask them (hooks.cc).
//
// The order isn't quite theirs: the way and the next hop, which depend on nothing that changes
// before them, are looked for first, and conntrack is asked when they are known. A packet that
// turns out to need the hooks after that takes conntrack's answer along (Known::tracked), and by
// then nothing has been counted or decided about it. Nothing here can drop a packet.
#include "ctrack/tcp_table.h"
#include "dataplane/pipeline/address_check.h"
#include "dataplane/pipeline/lane.h"
#include "dataplane/rules/classify/tuple_classes.h"

namespace postern::pipeline {
namespace {

using ctrack::Connection;
using net::Direction;
using net::Family;

// Of a connection's first segments only a SYN is as simple as that.
bool MayOpen(const net::ParsedPacket& ip) {
  if (ip.protocol != net::kProtoTcp) return true;
  constexpr uint8_t kNotSyn = net::kTcpAck | net::kTcpRst | net::kTcpFin;
  return (ip.tcp_flags & (net::kTcpSyn | kNotSyn)) == net::kTcpSyn &&
         ctrack::TcpFlagsValid(ip.tcp_flags);
}

}  // namespace

// What RouteInput and ForwardChecks ask of a packet before they let it be forwarded. Nothing: they
// have to say more.
std::optional<route::RouteResult> Pipeline::Impl::PlainWay(const net::Packet& packet) const {
  const net::ParsedPacket& ip = packet.ip;
  const bool v4 = ip.family == Family::kIpv4;
  if (CheckOnArrival(ip) != net::DropReason::kNone ||
      CheckOnRouting(ip) != net::DropReason::kNone ||
      !(v4 ? snapshot_->forward_ipv4 : snapshot_->forward_ipv6)) {
    return std::nullopt;
  }
  const route::RouteResult route = routes().Lookup(ip.family, ip.destination, packet.in_port);
  if (route.kind != route::RouteKind::kUnicast ||
      CheckSource(packet, route) != net::DropReason::kNone) {
    return std::nullopt;
  }
  if (!v4 && route.port != packet.in_port &&
      (net::IsLinkLocal(ip.family, ip.source) || ip.source.IsZero())) {
    return std::nullopt;
  }
  return route;
}

template <Family kFamily>
Pipeline::Impl::Progress Pipeline::Impl::Open(Lane* lane, const Frame& frame, size_t place,
                                              ctrack::TrackResult* tracked) {
  if (!may_open_[IndexOf(kFamily)] || claims_.asked() != 0) return Progress::kNone;
  const StrangerHashes& hashes = burst_.hashes[place];
  // A packet of this burst may have begun this connection.
  if (table_changes_ != lane->table_changes && tracker_.table().MayHold(hashes.tuples.original)) {
    return Progress::kNone;
  }
  net::Packet packet;
  if (!ReadPacket<kFamily>(*lane, frame, &packet)) return Progress::kNone;
  const net::ParsedPacket& ip = packet.ip;
  if (!MayOpen(ip) || !ChecksumOk<kFamily>(*lane, frame, ip.protocol, packet.L4(), ip.L4Length())) {
    return Progress::kNone;
  }
  const auto route = PlainWay(packet);
  if (!route) return Progress::kNone;
  const net::Tuple tuple = net::TupleOfPorts(ip);
  const Openings::Answer* answer = openings_.Find(OpeningOf(lane->in_port, route->port, ip, tuple));
  if (answer == nullptr) return Progress::kNone;
  const uint16_t next_hop = HopTowards(*route, kFamily, lane->now);
  if (next_hop == NextHops::kNone) return Progress::kNone;
  lane->neighbors = neighbors_.generation();
  NextHop& hop = next_hops_.At(next_hop);
  if (!HopOk(lane, &hop, ip.l3_length)) return Progress::kNone;

  const ctrack::TrackResult result = tracker_.TrackFirst(packet, tuple, lane->now);
  Connection* connection = result.ct.connection;
  if (connection == nullptr || tracker_.note().why != ctrack::InvalidWhy::kNone ||
      !Bind(*answer, hop, hashes, connection)) {
    *tracked = result;
    return Progress::kTracked;
  }
  const bool translated = connection->Has(ctrack::kSrcNat);
  ctrack::TupleHashes final = hashes.tuples;
  if (translated) final.reply = tracker_.table().Hash(connection->reply());
  tracker_.ConfirmNew(connection, final, lane->now);
  if (translated) sources_.Insert(connection->pool_index, hashes.source);
  TellOwners(connection, false);
  connection->shortcut[static_cast<size_t>(Direction::kOriginal)] =
      WayAlone(lane->in_port, next_hop);
  Pass<kFamily>(lane, frame, connection, Direction::kOriginal, hop, answer->path, ip.l3_length);
  return Progress::kSent;
}

template Pipeline::Impl::Progress Pipeline::Impl::Open<Family::kIpv4>(Lane*, const Frame&, size_t,
                                                                      ctrack::TrackResult*);
template Pipeline::Impl::Progress Pipeline::Impl::Open<Family::kIpv6>(Lane*, const Frame&, size_t,
                                                                      ctrack::TrackResult*);

// The nat table's answers for a connection that is nobody's yet and whose reply is the original's
// mirror. False, and nothing is decided: it isn't as simple as that.
bool Pipeline::Impl::Bind(const Openings::Answer& answer, const NextHop& hop,
                          const StrangerHashes& hashes, Connection* connection) {
  const ctrack::ConnectionTable& table = tracker_.table();
  const Family family = connection->original().family;
  if (table.MayHold(hashes.tuples.reply) &&
      !table.Lookup(connection->reply(), hashes.tuples.reply).empty()) {
    return false;
  }
  const auto is_ours = [this](const net::Tuple& tuple) {
    return context_.owners->OwnerOf(tuple) == context_.worker;
  };
  if (answer.source == nullptr) {
    if (!is_ours(connection->reply())) return false;
    if (HasTable(family, net::Table::kNat)) {
      connection->status |= ctrack::kSrcNatDone | ctrack::kDstNatDone;
    }
    return true;
  }
  net::NatRange range = *answer.source;
  if (answer.masquerade) {
    const auto address =
        family == Family::kIpv4
            ? hop.source
            : routes().SourceFor(hop.out_port, family, connection->original().destination);
    if (!address) return false;
    range.SetAddress(*address);
  }
  const nat::SourceMap* sources = sources_.MayHold(hashes.source) ? &sources_ : nullptr;
  const nat::Choice choice = ChooseTuple(connection, net::Manip::kSource, range,
                                         connection->original(), kNoClaim, sources, now_);
  const net::Tuple reply = net::MirrorEnds(choice.tuple);
  if (choice.exhausted || !is_ours(reply)) return false;
  connection->status |= ctrack::kDstNatDone;
  if (answer.masquerade) connection->masquerade_port = hop.out_port;
  TakeReply(connection, net::Manip::kSource, choice.tuple, reply);
  return true;
}

// A first packet has walked and is forwarded: the others of its opening needn't.
void Pipeline::Impl::LearnOpening(const Flight& f) {
  constexpr uint16_t kAllowed =
      rules::kDependsTcpFlags | rules::kDependsTuple | rules::kDependsMark;
  const Connection* connection = f.ct.connection;
  const net::ParsedPacket& ip = f.packet->ip;
  if (!may_open_[IndexOf(ip.family)] || connection == nullptr || f.confirmed_before ||
      ctrack::IsReply(f.ct.info) || f.source != Source::kPort || f.destination_answered ||
      f.path->overflow || (f.path->depends & ~kAllowed) != 0 || MightBeRefused(f) ||
      (ip.protocol != net::kProtoUdp && ip.protocol != net::kProtoTcp) || !MayOpen(ip)) {
    return;
  }
  const rules::PathId path = worker_rules().Intern({f.path->rules, f.path->size});
  if (path == rules::kNoPath || path > UINT16_MAX) return;
  openings_.Set(OpeningOf(f.packet->in_port, f.route.port, ip, connection->original()),
                {static_cast<uint16_t>(path), f.masquerade, f.source_range});
}

Openings::Key Pipeline::Impl::OpeningOf(net::PortId in_port, net::PortId out_port,
                                        const net::ParsedPacket& ip,
                                        const net::Tuple& tuple) const {
  const uint64_t tuple_class = rules().tuple_classes(ip.family).Of(
      tuple.source, tuple.destination, tuple.source_key, tuple.destination_key);
  return Openings::KeyOf(in_port, out_port, ip, tuple_class);
}

}  // namespace postern::pipeline

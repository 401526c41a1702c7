// A packet's life through the hooks, in netfilter's order (DESIGN.md section 2).
//
//   Ingress: raw, conntrack, mangle, nat PREROUTING -> route
//     for us:     mangle, filter, nat INPUT, confirm          -> twin interface
//     through us: TTL, MTU, mangle, filter FORWARD -> POSTROUTING -> wire
//   Egress (from the host): raw, conntrack, mangle, nat, filter OUTPUT -> POSTROUTING -> wire
//   POSTROUTING: mangle, nat, confirm
//
// Each step returns true when the packet goes on; otherwise it has finished the flight and
// consumed the packet.
#include "dataplane/net/checksum.h"
#include "dataplane/pipeline/address_check.h"
#include "dataplane/pipeline/ipv4_options.h"
#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {

using net::DropReason;
using net::Hook;
using net::Table;
using net::Verdict;
using route::RouteKind;

void Pipeline::Impl::Ingress(net::Packet* packet, const Known& known, net::Time now) {
  if (claims_.asked() != 0 && WaitBehindClaim(packet, Source::kPort)) return;
  Flight f;
  f.packet = packet;
  f.now = now;
  f.in = packet->in_port;
  f.path = BeginPath();

  TryRemembered(f, known);
  if (Prerouting(f, known)) RouteAndGo(f);
}

void Pipeline::Impl::RouteAndGo(Flight& f) {
  if (f.in == net::kLoopbackPort) {
    InputPath(f);
    return;
  }
  if (!RouteInput(f)) return;
  if (f.route.kind == RouteKind::kUnicast) {
    ForwardPath(f);
  } else {
    InputPath(f);
  }
}

bool Pipeline::Impl::Prerouting(Flight& f, const Known& known) {
  if (remote_entries_ != 0 && known.tracked == nullptr &&
      HandOverToHolder(f.packet, HandoffKind::kReceived, known)) {
    return false;
  }
  return Chain(f, Table::kRaw, Hook::kPrerouting) && Track(f, Hook::kPrerouting, known) &&
         StillRemembered(f) && Chain(f, Table::kMangle, Hook::kPrerouting) &&
         NatHook(f, Hook::kPrerouting);
}

bool Pipeline::Impl::Track(Flight& f, Hook hook, const Known& known) {
  f.tracked = true;
  if (f.ct.info == ctrack::CtInfo::kUntracked) return true;
  const bool fresh = known.looked_up && known.table_changes == table_changes_;
  const ctrack::TrackResult result =
      known.tracked != nullptr ? *known.tracked
                               : tracker_.Track(*f.packet, hook, f.now, fresh,
                                                fresh ? known.value : ctrack::TableValue{});
  if (result.hand_to >= 0) {
    // Another worker holds the connection, and raw has hidden that until now. What it counted will
    // be counted again by that worker, so nothing is counted here.
    HandOverToOwner(f.packet, KindOf(f), static_cast<unsigned>(result.hand_to));
    return false;
  }
  if (snapshot_->conntrack.log_invalid != 0 && tracker_.note().why != ctrack::InvalidWhy::kNone) {
    LogInvalid(f, hook);
  }
  f.ct = result.ct;
  f.unconfirmed = f.ct.connection != nullptr && !f.ct.connection->Has(ctrack::kConfirmed);
  f.confirmed_before = f.ct.connection != nullptr && !f.unconfirmed;
  if (result.verdict == Verdict::kAccept) return true;
  if (context_.events != nullptr) context_.events->OnTrouble(result.reason, f.now);
  FinishDrop(f, result.reason);
  return false;
}

// fib_validate_source, once the destination has a route: our own address can't come from outside
// (accept_local is 0), nor a broadcast one. RFC 3704: strict takes a source only by the port that
// leads back to it, loose by any way back, unless the port has no address.
DropReason Pipeline::Impl::CheckSource(const net::Packet& packet,
                                       const route::RouteResult& route) const {
  const net::ParsedPacket& ip = packet.ip;
  if (ip.family != net::Family::kIpv4 || route.kind == RouteKind::kUnreachable) {
    return DropReason::kNone;
  }
  if (ip.source.IsZero()) return DropReason::kNone;  // only where CheckOnRouting lets it
  if (routes().IsLocal(ip.family, ip.source)) return DropReason::kMartianSource;
  const ReversePath filter = snapshot_->reverse_path_filter;
  if (filter == ReversePath::kOff) return DropReason::kNone;
  const route::RouteResult back = routes().Lookup(ip.family, ip.source, packet.in_port);
  if (back.kind != RouteKind::kUnicast) return DropReason::kReversePath;
  const bool loose = filter == ReversePath::kLoose &&
                     routes().RedirectTo(packet.in_port, ip.family, ip.destination).has_value();
  return back.port == packet.in_port || loose ? DropReason::kNone : DropReason::kReversePath;
}

// ip_rcv_options: accept_source_route is 0.
bool Pipeline::Impl::OptionsOk(Flight& f) {
  const Ipv4OptionsView options = ReadIpv4Options(*f.packet);
  if (options.wrong_at) {
    SendError(f, {net::kIcmpParameterProblem, 0, *options.wrong_at});
    FinishDrop(f, DropReason::kIpHeaderInvalid);
    return false;
  }
  if (options.source_route) {
    FinishDrop(f, DropReason::kSourceRoute);
    return false;
  }
  if (f.packet->ip.family == net::Family::kIpv4) BlankBehindEnd(f.packet);
  return true;
}

// ip_route_input_slow and ip6_route_input.
bool Pipeline::Impl::RouteInput(Flight& f) {
  net::Packet& packet = *f.packet;
  const net::Family family = packet.ip.family;
  const bool v4 = family == net::Family::kIpv4;
  DropReason refused = CheckOnRouting(packet.ip);
  if (refused == DropReason::kNone) {
    f.route = routes().Lookup(family, packet.ip.destination, packet.in_port);
    if (v4 && packet.ip.source.AsV4() == 0 && packet.ip.destination.AsV4() == 0) {
      // The old broadcast.
      f.route = {RouteKind::kBroadcast, packet.in_port, packet.ip.destination};
    }
    // DNAT to ::1 leads nowhere: only lo has a route to it.
    if (net::IsLoopback(family, packet.ip.destination)) f.route = {};
    refused = CheckSource(packet, f.route);
  }
  if (refused != DropReason::kNone) {
    FinishDrop(f, refused);
    return false;
  }
  if (packet.ip.has_options && !OptionsOk(f)) return false;
  const bool forwards = v4 ? snapshot_->forward_ipv4 : snapshot_->forward_ipv6;
  if (f.route.kind == RouteKind::kUnreachable) {
    if (!v4) SendError(f, {net::kIcmpv6Unreachable, 0, 0});
    // ip_error: a host doesn't tell.
    if (v4 && forwards && context_.icmp_limiter->AllowUnroutable(packet.ip.source, f.now)) {
      SendError(f, {net::kIcmpUnreachable, 0, 0});
    }
    FinishDrop(f, DropReason::kNoRoute);
    return false;
  }
  // Only a router is its subnets' router (addrconf_join_anycast).
  const net::PortId own = f.route.port;
  const bool router = f.route.kind == RouteKind::kLocal && !v4 &&
                      routes().IsRouterAnycast(own, packet.ip.destination) &&
                      !routes().IsLocalTo(own, packet.ip.destination);
  if ((f.route.kind == RouteKind::kUnicast || router) && !forwards) {
    FinishDrop(f, DropReason::kForwardingDisabled);
    return false;
  }
  return true;
}

void Pipeline::Impl::InputPath(Flight& f) {
  if (Chain(f, Table::kMangle, Hook::kInput) && Chain(f, Table::kFilter, Hook::kInput) &&
      NatHook(f, Hook::kInput)) {
    EnterHost(f);
  }
}

void Pipeline::Impl::EnterHost(Flight& f) {
  if (!Confirm(f)) return;
  net::Packet* packet = f.packet;
  const net::PortId twin = f.twin != net::kNoPort ? f.twin : packet->in_port;
  Finish(f, Verdict::kAccept, DropReason::kNone);
  if (packet->ip.protocol == net::kProtoIcmpv6 && neighbors_.HandleNd(*packet, f.now, false)) {
    CopyToOtherWorkers(*packet);
    context_.io->pool()->Free(packet);
    return;
  }
  Deliver(packet, twin);
}

void Pipeline::Impl::ForwardPath(Flight& f) {
  f.out = f.route.port;
  if (ForwardChecks(f) && Chain(f, Table::kMangle, Hook::kForward) &&
      Chain(f, Table::kFilter, Hook::kForward) && Postrouting(f)) {
    LeaveForwarded(f);
  }
}

void Pipeline::Impl::LeaveForwarded(Flight& f) {
  if (!Confirm(f)) return;
  net::Packet* packet = f.packet;
  const route::RouteResult route = f.route;
  // It may have met rules that are gone by now (LeaveRules).
  const bool waited = f.claim != kNoClaim;
  Finish(f, Verdict::kAccept, DropReason::kNone);
  LearnShortcut(f);
  if (!waited) LearnOpening(f);
  SendOut(packet, route, f.now);
}

// ip_forward and ip6_forward: what is refused before the FORWARD hooks see the packet, and
// the TTL, which they see already lowered.
bool Pipeline::Impl::ForwardChecks(Flight& f) {
  net::Packet& packet = *f.packet;
  const bool v4 = packet.ip.family == net::Family::kIpv4;
  const auto* ethernet = packet.At<net::EthernetHeader>(0);
  if (ethernet->destination.IsMulticast()) {
    FinishDrop(f, DropReason::kBroadcast);
    return false;
  }
  if (packet.ip.ttl <= 1) {
    SendError(f, {v4 ? net::kIcmpTimeExceeded : net::kIcmpv6TimeExceeded, 0, 0});
    FinishDrop(f, DropReason::kTtlExpired);
    return false;
  }
  // What stays on its link may have a source of the link's scope.
  if (!v4 && f.route.port != packet.in_port) {
    const bool link_local = net::IsLinkLocal(packet.ip.family, packet.ip.source);
    if (link_local)
      SendError(f, {net::kIcmpv6Unreachable, 2, 0});  // beyond scope of source address
    if (link_local || packet.ip.source.IsZero()) {
      FinishDrop(f, DropReason::kMartianSource);
      return false;
    }
  }
  const uint32_t mtu = PathMtu(f.route);
  const bool reassembled = packet.largest_fragment != 0;
  if (packet.ip.l3_length > mtu) {
    const bool may_fragment =
        v4 ? !packet.ip.dont_fragment || (reassembled && packet.largest_df_fragment <= mtu)
           : reassembled && packet.largest_fragment <= mtu;
    if (!may_fragment) {
      SendError(f, v4 ? route::IcmpError{net::kIcmpUnreachable, 4, mtu}
                      : route::IcmpError{net::kIcmpv6PacketTooBig, 0, mtu});
      FinishDrop(f, DropReason::kPacketTooBig);
      return false;
    }
  }
  --packet.ip.ttl;
  if (v4) {
    auto* header = packet.At<net::Ipv4Header>(packet.ip.l3_offset);
    const uint16_t before = static_cast<uint16_t>((header->ttl << 8) | header->protocol);
    header->ttl = packet.ip.ttl;
    header->checksum =
        net::UpdateChecksum(header->checksum.Host(), before, static_cast<uint16_t>(before - 0x100));
  } else {
    packet.At<net::Ipv6Header>(packet.ip.l3_offset)->hop_limit = packet.ip.ttl;
  }
  return true;
}

bool Pipeline::Impl::Postrouting(Flight& f) {
  return Chain(f, Table::kMangle, Hook::kPostrouting) && NatHook(f, Hook::kPostrouting);
}

bool Pipeline::Impl::Confirm(Flight& f) {
  // A reply-direction packet of an unconfirmed connection is one that Postern made (an error, a
  // reset): the packet that began the connection has been refused.
  if (!f.unconfirmed || ctrack::IsReply(f.ct.info)) return true;
  DropReason reason = DropReason::kConntrackClash;
  const bool refused = f.claim != kNoClaim && WasRefused(f);
  if (refused) tracker_.NoteClash();
  if (refused || !tracker_.Confirm(f.ct, f.now, &reason)) {
    if (f.nat_exhausted) {
      reason = DropReason::kNatExhausted;
      ++stats_.nat_exhausted;
    }
    if (context_.events != nullptr) context_.events->OnTrouble(reason, f.now);
    FinishDrop(f, reason);
    return false;
  }
  f.unconfirmed = false;
  Announce(f.ct.connection, f.claim != kNoClaim && claims_.At(f.claim).granted);
  return true;
}

// What a connection that was just confirmed owes to others: its source to later translations, and
// to the owner of the answers who holds it, unless he has been asked.
void Pipeline::Impl::Announce(const ctrack::Connection* connection, bool asked) {
  // netfilter lists the sources that it leaves alone, too, but only looks for what lies in a range
  // that the source itself doesn't lie in.
  if (connection->Has(ctrack::kSrcNat)) sources_.Insert(connection->pool_index);
  TellOwners(connection, asked);
}

void Pipeline::Impl::TellOwners(const ctrack::Connection* connection, bool asked) {
  if (context_.owners->workers() == 1) return;
  const net::Tuple& reply = connection->reply();
  if (!asked && context_.owners->OwnerOf(reply) != context_.worker) {
    TellOwner(reply, RemoteEntry::Kind::kAdd);
  }
  // An answer has begun a connection anew (a SYN in TIME_WAIT), and this worker held the old one.
  if (context_.owners->OwnerOf(connection->original()) != context_.worker) {
    TellOwner(connection->original(), RemoteEntry::Kind::kAdd);
  }
}

rules::WalkResult Pipeline::Impl::Walk(Flight& f, Table table, Hook hook) {
  rules::WalkContext context;
  context.packet = f.packet;
  context.ct = &f.ct;
  context.hook = hook;
  // POSTROUTING knows where a forwarded packet came in, too (ip_output passes it on).
  context.in = hook == Hook::kOutput ? net::kNoPort : f.in;
  context.out = hook == Hook::kPrerouting || hook == Hook::kInput ? net::kNoPort : f.out;
  context.own_reset = f.source == Source::kSelf && f.packet->ip.protocol == net::kProtoTcp;
  context.now = f.now;
  context.rng = &rng_;
  context.worker = &worker_rules();
  context.log = this;
  context.finder = this;
  context.path = f.path;
  f.counted_bytes = f.packet->ip.l3_length;
  return rules().Walk(table, context);
}

bool Pipeline::Impl::Chain(Flight& f, Table table, Hook hook) {
  if (f.remembered != rules::kNoPath) return true;
  if (!HasTable(f.packet->ip.family, table)) return true;
  const rules::WalkResult result = Walk(f, table, hook);
  if (result.verdict == Verdict::kAccept) return true;
  Refused(f, hook, result);
  return false;
}

void Pipeline::Impl::Refused(Flight& f, Hook hook, const rules::WalkResult& result) {
  if (result.verdict == Verdict::kReject) {
    Reject(f, hook, result.reject);
    FinishDrop(f, DropReason::kRuleReject, Verdict::kReject);
    return;
  }
  FinishDrop(f, result.reason);
}

void Pipeline::Impl::Finish(Flight& f, Verdict verdict, DropReason reason) {
  if (f.remembered == rules::kNoPath && verdict == Verdict::kAccept) Remember(f);
  Count(f, *f.path);
  if (context_.observer != nullptr && f.source != Source::kSelf) Observe(f, verdict, reason);
  if (f.unconfirmed && f.source != Source::kSelf) {
    tracker_.Release(f.ct);
    f.ct = {};
    f.unconfirmed = false;
  }
  if (f.claim != kNoClaim) EndClaim(f);
}

void Pipeline::Impl::Count(const Flight& f, const rules::PathBuilder& path) {
  const uint64_t bytes = f.counted_bytes != 0 ? f.counted_bytes : uint64_t{f.packet->ip.l3_length};
  if (f.remembered != rules::kNoPath) {
    worker_rules().CountPath(f.remembered, 1, bytes);
  } else if (path.size > 0) {
    worker_rules().CountPacket(path, bytes);
  }
}

void Pipeline::Impl::Observe(Flight& f, Verdict verdict, DropReason reason) {
  Outcome outcome;
  outcome.verdict = verdict;
  outcome.reason = reason;
  outcome.ct = f.ct;
  outcome.tracked = f.tracked;
  outcome.remembered = f.remembered != rules::kNoPath;
  if (outcome.remembered) {
    const auto path = worker_rules().Path(f.remembered);
    f.path->Clear();
    for (const rules::RuleId rule : path) f.path->rules[f.path->size++] = rule;
  }
  context_.observer->OnOutcome(*f.packet, outcome, *f.path);
}

void Pipeline::Impl::FinishDrop(Flight& f, DropReason reason, Verdict verdict) {
  Finish(f, verdict, reason);
  Drop(f.packet, reason);
}

}  // namespace postern::pipeline

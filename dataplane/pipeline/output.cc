// What the appliance sends: from OUTPUT to the wire, or back to itself by lo.
#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {

using net::DropReason;
using net::Hook;
using net::Table;
using net::Verdict;
using route::RouteKind;

net::PortId Pipeline::Impl::OutPort(const route::RouteResult& route) {
  return route.kind == RouteKind::kLocal ? net::kLoopbackPort : route.port;
}

// ip_route_output: a loopback source leaves by no port. ip6_route_output doesn't mind.
route::RouteResult Pipeline::Impl::RouteOut(const net::ParsedPacket& ip, net::PortId link) const {
  const route::RouteResult route = routes().Lookup(ip.family, ip.destination, link);
  const bool stays = route.kind == RouteKind::kLocal || ip.family == net::Family::kIpv6;
  return stays || !net::IsLoopback(ip.family, ip.source) ? route : route::RouteResult{};
}

// ip_route_me_harder: what has been changed is routed again. False: there is no way, the packet is
// dropped.
bool Pipeline::Impl::RouteAgain(Flight& f) {
  f.route = RouteOut(f.packet->ip, f.source == Source::kHost ? f.packet->out_port : f.out);
  if (f.route.kind != RouteKind::kUnreachable) return true;
  FinishDrop(f, DropReason::kNoRoute);
  return false;
}

void Pipeline::Impl::OutputPath(Flight& f) {
  const net::IpAddress destination = f.packet->ip.destination;
  const uint32_t mark = f.packet->mark;
  if (Chain(f, Table::kMangle, Hook::kOutput) && (f.packet->mark == mark || RouteAgain(f)) &&
      NatHook(f, Hook::kOutput)) {
    OutputAfterNat(f, destination);
  }
}

// `destination`: before its translation.
void Pipeline::Impl::OutputAfterNat(Flight& f, const net::IpAddress& destination) {
  if (f.packet->ip.destination != destination && !RouteAgain(f)) return;
  // Every OUTPUT chain sees the first way.
  if (!Chain(f, Table::kFilter, Hook::kOutput)) return;
  f.out = OutPort(f.route);
  if (Postrouting(f)) LeaveFromHost(f);
}

void Pipeline::Impl::LeaveFromHost(Flight& f) {
  if (!Confirm(f)) return;
  if (f.route.kind == RouteKind::kLocal) {
    LoopBack(f);
    return;
  }
  const net::Family family = f.packet->ip.family;
  // ip_fragment, ip6_fragment: DNAT may lead what a program has sent to a port with a smaller MTU.
  const bool whole = family == net::Family::kIpv6 || f.packet->ip.dont_fragment;
  const uint32_t mtu = PathMtu(f.route);
  if (f.source == Source::kHost && whole && f.packet->ip.l3_length > mtu) {
    SendError(f, family == net::Family::kIpv4 ? route::IcmpError{net::kIcmpUnreachable, 4, mtu}
                                              : route::IcmpError{net::kIcmpv6PacketTooBig, 0, mtu});
    FinishDrop(f, DropReason::kPacketTooBig);
    return;
  }
  net::Packet* packet = f.packet;
  const route::RouteResult route = f.route;
  const net::Time now = f.now;
  Finish(f, Verdict::kAccept, DropReason::kNone);
  SendOut(packet, route, now);
}

// What the appliance sends to itself comes in again by lo, with its connection: conntrack doesn't
// see it twice.
void Pipeline::Impl::LoopBack(Flight& f) {
  f.in = net::kLoopbackPort;
  f.out = net::kNoPort;
  if (f.twin == net::kNoPort) f.twin = f.route.port;
  const bool known = f.ct.connection != nullptr;
  const bool raw =
      known ? Attached(f, Hook::kPrerouting) : Chain(f, Table::kRaw, Hook::kPrerouting);
  // What had no connection is looked at again.
  if (raw && (known || Track(f, Hook::kPrerouting, Known{})) &&
      Chain(f, Table::kMangle, Hook::kPrerouting) && NatHook(f, Hook::kPrerouting)) {
    InputPath(f);
  }
}

}  // namespace postern::pipeline

// What Postern itself sends about a packet: ICMP errors and resets.
//
// As in the kernel, such a packet is the appliance's own: it passes OUTPUT and
// POSTROUTING, and it belongs to the connection of the packet that it is about
// (nf_ct_attach), in the other direction, so that NAT translates what it quotes.
#include <utility>

#include "dataplane/net/checksum.h"
#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {
namespace {

using net::Family;

struct RejectCode {
  uint8_t type;
  uint8_t code;
};

// The ICMP type and code of a --reject-with name (RFC 792, RFC 1812, RFC 4443).
RejectCode CodeOf(rules::RejectWith with) {
  switch (with) {
    case rules::RejectWith::kIcmpNetUnreachable:
      return {net::kIcmpUnreachable, 0};
    case rules::RejectWith::kIcmpHostUnreachable:
      return {net::kIcmpUnreachable, 1};
    case rules::RejectWith::kIcmpProtoUnreachable:
      return {net::kIcmpUnreachable, 2};
    case rules::RejectWith::kIcmpPortUnreachable:
      return {net::kIcmpUnreachable, 3};
    case rules::RejectWith::kIcmpNetProhibited:
      return {net::kIcmpUnreachable, 9};
    case rules::RejectWith::kIcmpHostProhibited:
      return {net::kIcmpUnreachable, 10};
    case rules::RejectWith::kIcmpAdminProhibited:
      return {net::kIcmpUnreachable, 13};
    case rules::RejectWith::kIcmp6NoRoute:
      return {net::kIcmpv6Unreachable, 0};
    case rules::RejectWith::kIcmp6AdmProhibited:
      return {net::kIcmpv6Unreachable, 1};
    case rules::RejectWith::kIcmp6AddrUnreachable:
      return {net::kIcmpv6Unreachable, 3};
    case rules::RejectWith::kIcmp6PortUnreachable:
      return {net::kIcmpv6Unreachable, 4};
    case rules::RejectWith::kIcmp6PolicyFail:
      return {net::kIcmpv6Unreachable, 5};
    case rules::RejectWith::kIcmp6RejectRoute:
      return {net::kIcmpv6Unreachable, 6};
    case rules::RejectWith::kTcpReset:
      break;
  }
  return {net::kIcmpUnreachable, 3};
}

// nf_reject_verify_csum: what has no sum of its own kind is taken to be a plain one's complement
// sum over the whole packet (IPv6: over payload and pseudo header), whatever its protocol. An IPv4
// header's own sum is all ones, so that nothing but zeros behind it is right, too.
bool ChecksumLooksRight(const net::Packet& packet) {
  const net::ParsedPacket& ip = packet.ip;
  const bool v4 = ip.family == Family::kIpv4;
  switch (ip.protocol) {
    case net::kProtoGre:
    case net::kProtoAh:
    case net::kProtoEsp:
    case net::kProtoSctp:
    case net::kProtoUdpLite:
      return true;
    case net::kProtoTcp:
    case net::kProtoUdp:
      return net::TransportChecksumValid(packet);
    default:
      break;
  }
  const uint32_t initial =
      v4 ? 0xffff
         : net::PseudoHeaderSum(ip.family, ip.source, ip.destination, ip.protocol, ip.L4Length());
  return net::OnesSum(packet.L4(), ip.L4Length(), initial) == 0xffff;
}

// nf_send_reset: the IPv4 reset leaves its checksum to the card, so that an error which quotes it
// shows the sum of the pseudo header alone.
void LeaveSumToTheCard(net::Packet* packet) {
  const net::ParsedPacket& ip = packet->ip;
  if (ip.family != Family::kIpv4 || ip.protocol != net::kProtoTcp) return;
  uint64_t sum =
      net::PseudoHeaderSum(ip.family, ip.source, ip.destination, ip.protocol, ip.L4Length());
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  reinterpret_cast<net::TcpHeader*>(packet->L4())->checksum = static_cast<uint16_t>(sum);
}

// RFC 1191 and RFC 8201 depend on these: Linux never limits them.
bool IsPathMtuError(Family family, const route::IcmpError& what) {
  return family == Family::kIpv4 ? what.type == net::kIcmpUnreachable && what.code == 4
                                 : what.type == net::kIcmpv6PacketTooBig;
}

}  // namespace

void Pipeline::Impl::Reject(Flight& f, net::Hook hook, rules::RejectWith with) {
  if (f.source == Source::kSelf) LeaveSumToTheCard(f.packet);
  if (with == rules::RejectWith::kTcpReset) {
    SendReset(f, hook);
    return;
  }
  // nf_send_unreach: a packet with a bad checksum isn't answered.
  if (f.source != Source::kSelf && !f.packet->checksum_verified && !ChecksumLooksRight(*f.packet)) {
    return;
  }
  const RejectCode code = CodeOf(with);
  SendError(f, {code.type, code.code, 0});
}

void Pipeline::Impl::SendError(const Flight& about, const route::IcmpError& what) {
  const net::Packet& packet = *about.packet;
  if (!route::MayAnswerWithError(packet, what)) return;
  if (about.route.kind == route::RouteKind::kBroadcast) return;
  const auto source = ErrorSource(about);
  if (!source) return;
  if (!IsPathMtuError(packet.ip.family, what) && snapshot_->limit_icmp_errors &&
      !context_.icmp_limiter->Allow(packet.ip.family, packet.ip.source, what.type, about.now)) {
    return;
  }
  net::Packet error;
  if (!route::BuildIcmpError(context_.io->pool(), packet, what, *source,
                             static_cast<uint16_t>(rng_.Next()), &error)) {
    return;
  }
  SendOwn(&error, about);
}

void Pipeline::Impl::SendReset(const Flight& about, net::Hook) {
  if (about.route.kind == route::RouteKind::kBroadcast) return;  // nf_send_reset
  net::Packet reset;
  if (!route::BuildTcpReset(context_.io->pool(), *about.packet, static_cast<uint16_t>(rng_.Next()),
                            &reset)) {
    return;
  }
  const bool leaves =
      RouteOut(reset.ip, about.packet->in_port).kind != route::RouteKind::kUnreachable;
  if (leaves && about.ct.connection != nullptr) {
    tracker_.SetClosing(about.ct.connection, about.now);
  }
  SendOwn(&reset, about);
}

// icmp_send: a packet to us is answered from the address that it was for, another from the address
// towards its sender. icmp6_send takes one of the port that the packet came by.
std::optional<net::IpAddress> Pipeline::Impl::ErrorSource(const Flight& about) const {
  const net::ParsedPacket& ip = about.packet->ip;
  const route::RouteResult back = routes().Lookup(ip.family, ip.source, about.packet->in_port);
  // icmpv6_route_lookup: an anycast address is nobody's in particular.
  if (ip.family == Family::kIpv6 && back.kind == route::RouteKind::kLocal &&
      routes().IsRouterAnycast(back.port, ip.source) && !routes().IsLocalTo(back.port, ip.source)) {
    return std::nullopt;
  }
  if (routes().IsLocal(ip.family, ip.destination)) return ip.destination;
  if (back.kind == route::RouteKind::kLocal) return ip.source;
  if (back.kind != route::RouteKind::kUnicast) return std::nullopt;
  if (ip.family == Family::kIpv4) return routes().Ipv4SourceOf(back, ip.source);
  const net::PortId port = about.source == Source::kPort ? about.packet->in_port : back.port;
  return routes().SourceFor(port, ip.family, ip.source);
}

void Pipeline::Impl::SendOwn(net::Packet* packet, const Flight& about) {
  Flight f;
  f.packet = packet;
  f.now = about.now;
  f.source = Source::kSelf;
  packet->in_port = about.packet->in_port;
  // A program of the appliance hears of its packet on the twin that it sent it by.
  packet->out_port = about.source == Source::kHost ? about.packet->out_port : about.twin;
  f.attached = about.ct.connection != nullptr || about.ct.info == ctrack::CtInfo::kUntracked;
  if (about.ct.connection != nullptr) {
    f.ct.connection = about.ct.connection;
    f.ct.info =
        ctrack::IsReply(about.ct.info) ? ctrack::CtInfo::kRelated : ctrack::CtInfo::kRelatedReply;
    f.tracked = true;
    // An error about a reset goes the first packet's way and confirms the connection.
    f.unconfirmed = !f.ct.connection->Has(ctrack::kConfirmed);
  } else if (context_.owners->workers() > 1 &&
             HandOverToOwner(packet, KindOf(f), OwnerOf(*packet))) {
    return;
  }
  GoOut(f);
}

// The packet brings with it the port of what it is about and the twin; where it is attached also
// something of that one's connection (nf_ct_attach), which an INVALID packet has nothing of.
void Pipeline::Impl::GoOut(Flight& f) {
  net::Packet& packet = *f.packet;
  if (!f.tracked && remote_entries_ != 0 && HandOverToHolder(&packet, KindOf(f), Known{})) {
    return;
  }
  ++path_depth_;
  f.path = BeginPath();
  f.twin = std::exchange(packet.out_port, net::kNoPort);
  f.route = RouteOut(packet.ip, std::exchange(packet.in_port, net::kNoPort));
  f.out = OutPort(f.route);
  if (f.route.kind == route::RouteKind::kUnreachable) {
    FinishDrop(f, net::DropReason::kNoRoute);
  } else {
    const bool raw = f.attached ? Attached(f, net::Hook::kOutput)
                                : Chain(f, net::Table::kRaw, net::Hook::kOutput);
    if (raw && (f.tracked || Track(f, net::Hook::kOutput, Known{}))) OutputPath(f);
  }
  --path_depth_;
}

// The raw chain for a packet that has something of its connection with it (nf_ct_attach), even if
// only the direction: NOTRACK leaves it alone.
bool Pipeline::Impl::Attached(Flight& f, net::Hook hook) {
  const ctrack::CtRef attached = f.ct;
  if (!Chain(f, net::Table::kRaw, hook)) return false;
  f.ct = attached;
  return true;
}

// NeighborSink: arp_error_report. The packet has left its connection behind; conntrack finds it
// again by what the error quotes.
void Pipeline::Impl::Unresolved(net::Packet* packet) {
  Flight about;
  about.packet = packet;
  about.now = now_;
  about.source = packet->in_port == net::kNoPort ? Source::kHost : Source::kPort;
  about.out = packet->out_port;
  about.route.kind = route::RouteKind::kUnicast;
  SendError(about, packet->ip.family == Family::kIpv4
                       ? route::IcmpError{net::kIcmpUnreachable, 1, 0}
                       : route::IcmpError{net::kIcmpv6Unreachable, 3, 0});
  if (context_.events != nullptr) {
    context_.events->OnTrouble(net::DropReason::kNeighborUnresolved, now_);
  }
  Drop(packet, net::DropReason::kNeighborUnresolved);
}

// FragmentSink: ip_expire answers only for datagrams to the appliance itself, where conntrack has
// reassembled them; IPv6's nf_conntrack_reasm for every one.
void Pipeline::Impl::TimedOut(net::Packet* first) {
  const bool v6 = first->ip.family == Family::kIpv6;
  if (v6 || routes().IsLocal(first->ip.family, first->ip.destination)) {
    Flight about;
    about.packet = first;
    about.now = now_;
    about.route.kind = route::RouteKind::kLocal;
    SendError(about, first->ip.family == Family::kIpv4
                         ? route::IcmpError{net::kIcmpTimeExceeded, 1, 0}
                         : route::IcmpError{net::kIcmpv6TimeExceeded, 1, 0});
  }
  Drop(first, net::DropReason::kFragmentTimeout);
}

}  // namespace postern::pipeline

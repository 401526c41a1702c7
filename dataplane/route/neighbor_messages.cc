// What ARP and neighbour discovery messages say about neighbours and ask of us: arp_process,
// ndisc_recv_ns and ndisc_recv_na. State and threads: see neighbor_table.cc.
#include "dataplane/net/wire.h"
#include "dataplane/route/neighbor_table_impl.h"

namespace postern::route {

using net::Packet;
using net::Time;

void NeighborTable::Impl::AskArp(const Neighbor& entry, bool unicast) {
  ArpMessage request;
  request.request = true;
  request.sender_mac = routes->port(entry.port).mac;
  request.sender =
      routes->SourceFor(entry.port, Family::kIpv4, entry.address).value_or(IpAddress{});
  request.target = entry.address;
  Packet frame;
  if (!BuildArp(pool, request, unicast ? entry.mac : MacAddress::Broadcast(), &frame)) return;
  frame.out_port = entry.port;
  sink->SendFrame(&frame);
}

void NeighborTable::Impl::AskNd(const Neighbor& entry, bool unicast) {
  const MacAddress own = routes->port(entry.port).mac;
  NdMessage message;
  message.solicitation = true;
  message.source = LinkLocalAddress(own);
  message.destination = unicast ? entry.address : SolicitedNodeAddress(entry.address);
  message.target = entry.address;
  message.link_layer = own;
  Packet frame;
  if (!BuildNeighborMessage(pool, message, own,
                            unicast ? entry.mac : MulticastMac(message.destination), &frame)) {
    return;
  }
  frame.out_port = entry.port;
  sink->SendFrame(&frame);
}

// arp_process: a request for an address of ours is answered, whichever port has it (arp_ignore=0).
void NeighborTable::Impl::AnswerArp(PortId port, const ArpMessage& request) {
  ArpMessage reply;
  reply.sender_mac = routes->port(port).mac;
  reply.sender = request.target;
  reply.target_mac = request.sender_mac;
  reply.target = request.sender;
  Packet frame;
  if (!BuildArp(pool, reply, request.sender_mac, &frame)) return;
  frame.out_port = port;
  sink->SendFrame(&frame);
}

// arp_accept=0: what wasn't asked for updates neighbours that are known, and makes no new ones.
void NeighborTable::Impl::LearnArp(const Packet& packet, const ArpMessage& message, Time now) {
  Neighbor* entry = store.Find(packet.in_port, Family::kIpv4, message.sender);
  if (entry == nullptr) return;
  const auto* ethernet = packet.At<net::EthernetHeader>(0);
  const bool to_us = ethernet->destination == routes->port(packet.in_port).mac;
  // Of several answers the first counts; a later one may be a proxy's.
  const bool locked = now < entry->updated + settings.lock;
  Update(entry, &message.sender_mac, !message.request && to_us,
         locked ? Override::kNo : Override::kYes, now);
}

// ndisc_recv_ns.
void NeighborTable::Impl::HandleSolicitation(PortId port, const NdMessage& message, Time now,
                                             bool answer) {
  const bool anycast = routes->IsRouterAnycast(port, message.target);
  if (!anycast && !routes->IsLocalTo(port, message.target)) return;
  const MacAddress own = routes->port(port).mac;
  NdMessage reply;
  reply.source = message.target;
  reply.target = message.target;
  reply.router = true;
  Packet frame;
  if (message.source.IsZero()) {  // duplicate detection: all nodes hear that the address is taken
    if (!answer || anycast) return;
    reply.destination = *net::ParseAddress(Family::kIpv6, "ff02::1");
    reply.override_flag = true;
    reply.link_layer = own;
    if (!BuildNeighborMessage(pool, reply, own, MulticastMac(reply.destination), &frame)) return;
    frame.out_port = port;
    sink->SendFrame(&frame);
    return;
  }
  if (routes->IsLocal(Family::kIpv6, message.source)) return;  // somebody else claims to be us
  const bool multicast = net::IsMulticast(Family::kIpv6, message.destination);
  if (message.link_layer && routes->IsOnLink(port, Family::kIpv6, message.source)) {
    Neighbor* entry = FindOrCreate(port, Family::kIpv6, message.source, now);
    if (entry != nullptr) Update(entry, &*message.link_layer, false, Override::kYes, now);
  } else if (multicast) {
    return;  // RFC 4861 4.3: a multicast solicitation must carry the option
  }
  if (!answer) return;
  reply.destination = message.source;
  reply.solicited = true;
  reply.override_flag = multicast && !anycast;  // RFC 4861 4.4
  if (multicast) reply.link_layer = own;
  if (!BuildNeighborMessage(pool, reply, own, MacAddress{}, &frame)) return;
  frame.out_port = port;
  Send(&frame, Family::kIpv6, message.source, now);
}

// ndisc_recv_na: only neighbours that are known learn from it.
void NeighborTable::Impl::HandleAdvertisement(PortId port, const NdMessage& message, Time now) {
  if (routes->IsLocalTo(port, message.target)) return;
  Neighbor* entry = store.Find(port, Family::kIpv6, message.target);
  if (entry == nullptr || entry->state == NeighborState::kFailed) return;
  Update(entry, message.link_layer ? &*message.link_layer : nullptr, message.solicited,
         message.override_flag ? Override::kYes : Override::kWeak, now);
}

void NeighborTable::HandleArp(Packet* packet, Time now, bool copy) {
  Impl& impl = *impl_;
  const auto message = ReadArp(*packet);
  if (!message || impl.routes == nullptr || !impl.routes->HasPort(packet->in_port)) {
    impl.sink->Drop(packet, net::DropReason::kArpMalformed);
    return;
  }
  const PortId port = packet->in_port;
  const bool for_us = message->request && impl.routes->IsLocal(Family::kIpv4, message->target);
  if (message->sender.IsZero()) {  // RFC 5227: a probe before an address is taken
    if (for_us && !copy) impl.AnswerArp(port, *message);
  } else if (!impl.routes->IsLocal(Family::kIpv4, message->sender)) {
    if (for_us) {
      // Who asks for us is about to talk to us.
      Neighbor* entry = impl.routes->IsOnLink(port, Family::kIpv4, message->sender)
                            ? impl.FindOrCreate(port, Family::kIpv4, message->sender, now)
                            : nullptr;
      if (entry != nullptr) impl.Update(entry, &message->sender_mac, false, Override::kYes, now);
      if (!copy) impl.AnswerArp(port, *message);
    } else {
      impl.LearnArp(*packet, *message, now);
    }
  }
  impl.pool->Free(packet);
}

bool NeighborTable::HandleNd(const Packet& packet, Time now, bool copy) {
  if (!IsNeighborMessage(packet)) return false;
  if (impl_->routes == nullptr || !impl_->routes->HasPort(packet.in_port)) return true;
  const auto message = ReadNeighborMessage(packet);
  if (!message) return true;
  if (message->solicitation) {
    impl_->HandleSolicitation(packet.in_port, *message, now, !copy);
  } else {
    impl_->HandleAdvertisement(packet.in_port, *message, now);
  }
  return true;
}

}  // namespace postern::route

// After the hooks: fragmentation, neighbours, ports, twins, and every loss.
#include <algorithm>
#include <cstring>

#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {
namespace {

// RFC 1112 6.4 and RFC 2464 7: a group's Ethernet address comes from the group.
net::MacAddress GroupMac(net::Family family, const net::IpAddress& group) {
  const auto& b = group.bytes;
  if (family == net::Family::kIpv6) return {{0x33, 0x33, b[12], b[13], b[14], b[15]}};
  return {{0x01, 0x00, 0x5e, static_cast<uint8_t>(b[1] & 0x7f), b[2], b[3]}};
}

void WriteEthernet(net::Packet* packet, const net::MacAddress& destination,
                   const net::MacAddress& source) {
  auto* ethernet =
      packet->At<net::EthernetHeader>(packet->ip.l3_offset - sizeof(net::EthernetHeader));
  ethernet->destination = destination;
  ethernet->source = source;
  ethernet->type =
      packet->ip.family == net::Family::kIpv4 ? net::kEtherTypeIpv4 : net::kEtherTypeIpv6;
}

}  // namespace

uint32_t Pipeline::Impl::PathMtu(const route::RouteResult& route) const {
  return routes().port(route.port).mtu;
}

void Pipeline::Impl::SendOut(net::Packet* packet, const route::RouteResult& route, net::Time now) {
  now_ = now;
  packet->out_port = route.port;
  uint32_t mtu = PathMtu(route);
  // ip_finish_output, ip6_finish_output: a datagram that came in fragments leaves in fragments no
  // larger, though it might fit whole; an IPv6 one that was no larger than its fragments stays
  // whole.
  const bool reassembled = packet->largest_fragment != 0;
  if (reassembled) mtu = std::min<uint32_t>(mtu, packet->largest_fragment);
  if (packet->ip.l3_length > mtu || (reassembled && packet->ip.family == net::Family::kIpv4)) {
    fragment_route_ = route;
    fragment_to_host_ = false;
    if (!route::Fragment(context_.io->pool(), packet, static_cast<uint16_t>(mtu),
                         static_cast<uint32_t>(rng_.Next()), this)) {
      Drop(packet, net::DropReason::kNoBuffer);
    }
    return;
  }
  if (route.kind == route::RouteKind::kMulticast || route.kind == route::RouteKind::kBroadcast) {
    WriteEthernet(packet,
                  route.kind == route::RouteKind::kMulticast
                      ? GroupMac(packet->ip.family, packet->ip.destination)
                      : net::MacAddress::Broadcast(),
                  routes().port(route.port).mac);
    context_.io->Transmit(packet);
    return;
  }
  neighbors_.Send(packet, packet->ip.family, route.next_hop, now);
}

// To the twin interface in the host's kernel.
void Pipeline::Impl::Deliver(net::Packet* packet, net::PortId twin) {
  const route::PortConfig* port = twin == net::kNoPort ? nullptr : &routes().port(twin);
  if (port == nullptr || !port->host) {
    Drop(packet, net::DropReason::kNoHostInterface);
    return;
  }
  if (packet->ip.l3_length > port->mtu) {
    fragment_to_host_ = true;
    fragment_route_.port = twin;
    if (!route::Fragment(context_.io->pool(), packet, port->mtu, static_cast<uint32_t>(rng_.Next()),
                         this)) {
      Drop(packet, net::DropReason::kNoBuffer);
    }
    return;
  }
  const auto* ethernet = packet->At<net::EthernetHeader>(0);
  const bool group = ethernet->destination.IsMulticast() && packet->in_port == twin;
  WriteEthernet(packet, group ? ethernet->destination : port->host_mac, port->mac);
  context_.io->ToHost(twin, packet);
}

void Pipeline::Impl::Emit(net::Packet* fragment) {
  if (fragment_to_host_) {
    const route::PortConfig& port = routes().port(fragment_route_.port);
    WriteEthernet(fragment, port.host_mac, port.mac);
    context_.io->ToHost(fragment_route_.port, fragment);
    return;
  }
  fragment->largest_fragment = 0;
  SendOut(fragment, fragment_route_, now_);
}

void Pipeline::Impl::SendFrame(net::Packet* packet) { context_.io->Transmit(packet); }

void Pipeline::Impl::Drop(net::Packet* packet, net::DropReason reason) {
  const size_t port = std::min<size_t>(packet->in_port, net::kMaxPorts);
  ++stats_.drops[port][static_cast<size_t>(reason)];
  if (context_.observer != nullptr) context_.observer->OnDrop(*packet, reason);
  context_.io->pool()->Free(packet);
}

}  // namespace postern::pipeline

// What the host's kernel sends through a twin interface.
//
// The kernel believes that every neighbour is on the twin's link and asks for their MACs; Postern
// answers for all of them with the port's own MAC, routes the packets itself and asks the real
// neighbours. So the kernel's ARP and ND never reach the wire.
#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {
namespace {

constexpr uint8_t kOptionTargetLinkLayer = 2;  // RFC 4861 4.6.1
constexpr uint8_t kNaRouter = 0x80, kNaSolicited = 0x40, kNaOverride = 0x20;

struct NeighborMessage {
  net::IcmpHeader icmp;  // id and sequence are the flags / reserved word
  uint8_t target[16];
};
static_assert(sizeof(NeighborMessage) == 24);

}  // namespace

void Pipeline::Impl::ReceiveHost(net::Packet* packet, net::Time now) {
  now_ = now;
  packet->in_port = net::kNoPort;
  const net::ParseResult parsed = net::Parse(packet);
  if (parsed.kind == net::FrameKind::kArp) {
    AnswerHostArp(packet);
    return;
  }
  if (parsed.kind == net::FrameKind::kInvalid) {
    Drop(packet, parsed.reason);
    return;
  }
  packet->length = packet->ip.l3_offset + packet->ip.l3_length;
  if (AnswerHostNd(packet)) return;
  if (packet->ip.fragment && !reassembler_.Add(packet, now)) return;
  if (context_.owners->workers() > 1 &&
      HandOverToOwner(packet, HandoffKind::kFromHost, OwnerOf(*packet))) {
    return;
  }
  Egress(packet, Known{}, now);
}

void Pipeline::Impl::Egress(net::Packet* packet, const Known& known, net::Time now) {
  if (claims_.asked() != 0 && WaitBehindClaim(packet, Source::kHost)) return;
  if (remote_entries_ != 0 && HandOverToHolder(packet, HandoffKind::kFromHost, known)) return;
  Flight f;
  f.packet = packet;
  f.now = now;
  f.source = Source::kHost;
  f.path = BeginPath();
  f.route = routes().Lookup(packet->ip.family, packet->ip.destination, packet->out_port);
  if (f.route.kind == route::RouteKind::kMulticast ||
      (f.route.kind == route::RouteKind::kBroadcast && f.route.port == net::kNoPort)) {
    f.route.port = packet->out_port;
  }
  f.out = OutPort(f.route);
  if (f.route.kind == route::RouteKind::kUnreachable || f.out == net::kNoPort) {
    f.out = packet->out_port;
    SendError(f, packet->ip.family == net::Family::kIpv4
                     ? route::IcmpError{net::kIcmpUnreachable, 0, 0}
                     : route::IcmpError{net::kIcmpv6Unreachable, 0, 0});
    FinishDrop(f, net::DropReason::kNoRoute);
    return;
  }
  if (Chain(f, net::Table::kRaw, net::Hook::kOutput) && Track(f, net::Hook::kOutput, known)) {
    OutputPath(f);
  }
}

void Pipeline::Impl::AnswerHostArp(net::Packet* packet) {
  const net::PortId twin = packet->out_port;
  const route::PortConfig& port = routes().port(twin);
  auto* ethernet = packet->At<net::EthernetHeader>(0);
  auto* arp = packet->At<net::ArpHeader>(sizeof(net::EthernetHeader));
  if (arp == nullptr || arp->operation.Host() != net::kArpRequest) {
    context_.io->pool()->Free(packet);
    return;
  }
  const auto target = net::IpAddress::FromWire(net::Family::kIpv4, arp->target_ip);
  // The kernel's own address: duplicate detection or an announcement. Silence is the right answer.
  if (routes().IsLocal(net::Family::kIpv4, target)) {
    context_.io->pool()->Free(packet);
    return;
  }
  arp->operation = net::kArpReply;
  arp->target_mac = arp->sender_mac;
  std::memcpy(arp->target_ip, arp->sender_ip, sizeof(arp->target_ip));
  arp->sender_mac = port.mac;
  target.ToWire(net::Family::kIpv4, arp->sender_ip);
  ethernet->destination = arp->target_mac;
  ethernet->source = port.mac;
  context_.io->ToHost(twin, packet);
}

// True when the packet was a neighbour message of the kernel's own and has been consumed.
bool Pipeline::Impl::AnswerHostNd(net::Packet* packet) {
  const net::ParsedPacket& ip = packet->ip;
  if (ip.family != net::Family::kIpv6 || ip.protocol != net::kProtoIcmpv6 || !ip.l4_valid) {
    return false;
  }
  const bool advert = ip.icmp_type == net::kIcmpv6NeighborAdvert;
  if (ip.icmp_type != net::kIcmpv6NeighborSolicit && !advert) return false;
  const auto* message = packet->At<NeighborMessage>(ip.l4_offset);
  const bool unspecified = ip.source.IsZero();  // duplicate detection
  if (advert || message == nullptr || unspecified) {
    context_.io->pool()->Free(packet);
    return true;
  }
  const auto target = net::IpAddress::FromWire(net::Family::kIpv6, message->target);
  net::Packet answer;
  constexpr uint32_t kLength =
      sizeof(net::EthernetHeader) + sizeof(net::Ipv6Header) + sizeof(NeighborMessage) + 8;
  if (!routes().IsLocal(net::Family::kIpv6, target) &&
      context_.io->pool()->Allocate(kLength, &answer)) {
    const route::PortConfig& port = routes().port(packet->out_port);
    std::memset(answer.data, 0, kLength);
    auto* ethernet = answer.At<net::EthernetHeader>(0);
    ethernet->destination = packet->At<net::EthernetHeader>(0)->source;
    ethernet->source = port.mac;
    ethernet->type = net::kEtherTypeIpv6;
    auto* header = answer.At<net::Ipv6Header>(sizeof(net::EthernetHeader));
    header->version_class_flow = 0x60000000U;
    header->payload_length = static_cast<uint16_t>(sizeof(NeighborMessage) + 8);
    header->next_header = net::kProtoIcmpv6;
    header->hop_limit = 255;
    target.ToWire(net::Family::kIpv6, header->source);
    ip.source.ToWire(net::Family::kIpv6, header->destination);
    const uint32_t at = sizeof(net::EthernetHeader) + sizeof(net::Ipv6Header);
    auto* na = answer.At<NeighborMessage>(at);
    na->icmp.type = net::kIcmpv6NeighborAdvert;
    na->icmp.id.bytes[0] = kNaRouter | kNaSolicited | kNaOverride;
    target.ToWire(net::Family::kIpv6, na->target);
    uint8_t* option = answer.data + at + sizeof(NeighborMessage);
    option[0] = kOptionTargetLinkLayer;
    option[1] = 1;  // units of 8 bytes
    std::memcpy(option + 2, port.mac.bytes.data(), port.mac.bytes.size());
    net::Parse(&answer);
    net::SetTransportChecksum(&answer);
    context_.io->ToHost(packet->out_port, &answer);
  }
  context_.io->pool()->Free(packet);
  return true;
}

}  // namespace postern::pipeline

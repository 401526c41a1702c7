#include "dataplane/route/arp.h"

#include "dataplane/net/wire.h"

namespace postern::route {
namespace {

using net::Family;

constexpr uint16_t kEthernetHardware = 1;
constexpr uint32_t kArpOffset = sizeof(net::EthernetHeader);

}  // namespace

std::optional<ArpMessage> ReadArp(const net::Packet& packet) {
  const auto* arp = packet.At<net::ArpHeader>(kArpOffset);
  if (arp == nullptr) return std::nullopt;
  const uint16_t operation = arp->operation.Host();
  if (operation != net::kArpRequest && operation != net::kArpReply) return std::nullopt;
  ArpMessage message;
  message.request = operation == net::kArpRequest;
  message.sender_mac = arp->sender_mac;
  message.target_mac = arp->target_mac;
  message.sender = net::IpAddress::FromWire(Family::kIpv4, arp->sender_ip);
  message.target = net::IpAddress::FromWire(Family::kIpv4, arp->target_ip);
  if (net::IsMulticast(Family::kIpv4, message.target) ||
      net::IsLoopback(Family::kIpv4, message.target)) {
    return std::nullopt;
  }
  if (message.sender_mac.IsMulticast() || message.sender_mac == net::MacAddress{}) {
    return std::nullopt;
  }
  return message;
}

bool BuildArp(net::BufferPool* pool, const ArpMessage& message, const net::MacAddress& destination,
              net::Packet* packet) {
  net::Packet fresh;
  if (!pool->Allocate(kArpOffset + sizeof(net::ArpHeader), &fresh)) return false;
  auto* ethernet = fresh.At<net::EthernetHeader>(0);
  ethernet->destination = destination;
  ethernet->source = message.sender_mac;
  ethernet->type = net::kEtherTypeArp;
  auto* arp = fresh.At<net::ArpHeader>(kArpOffset);
  arp->hardware_type = kEthernetHardware;
  arp->protocol_type = net::kEtherTypeIpv4;
  arp->hardware_length = 6;
  arp->protocol_length = 4;
  arp->operation = message.request ? net::kArpRequest : net::kArpReply;
  arp->sender_mac = message.sender_mac;
  message.sender.ToWire(Family::kIpv4, arp->sender_ip);
  arp->target_mac = message.target_mac;
  message.target.ToWire(Family::kIpv4, arp->target_ip);
  *packet = fresh;
  return true;
}

}  // namespace postern::route

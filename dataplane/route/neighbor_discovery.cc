#include "dataplane/route/neighbor_discovery.h"

#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/net/wire.h"

namespace postern::route {
namespace {

using net::Family;

constexpr uint8_t kHopLimit = 255;
constexpr uint8_t kOptionSource = 1;
constexpr uint8_t kOptionTarget = 2;
constexpr uint8_t kFlagRouter = 0x80, kFlagSolicited = 0x40, kFlagOverride = 0x20;
constexpr uint32_t kOptionLength = 8;  // one unit: type, length, six bytes of MAC

struct NeighborHeader {
  uint8_t type;
  uint8_t code;
  net::Be16 checksum;
  uint8_t flags;
  uint8_t reserved[3];
  uint8_t target[16];
};
static_assert(sizeof(NeighborHeader) == 24);

// Walks the options; false where one is malformed. The first link-layer address of the wanted kind
// counts, as in Linux.
bool ReadOptions(const uint8_t* options, uint32_t length, uint8_t wanted, NdMessage* message) {
  while (length != 0) {
    if (length < 2) return false;
    const uint32_t size = uint32_t{options[1]} * 8;
    if (size == 0 || size > length) return false;
    if (options[0] == wanted && !message->link_layer) {
      if (size != kOptionLength) return false;
      net::MacAddress mac;
      std::memcpy(mac.bytes.data(), options + 2, mac.bytes.size());
      if (mac.IsMulticast()) return false;
      message->link_layer = mac;
    }
    options += size;
    length -= size;
  }
  return true;
}

// RFC 4861 7.1.1 and 7.1.2, what concerns the addresses.
bool AddressesAreRight(const NdMessage& message) {
  if (net::IsMulticast(Family::kIpv6, message.target) ||
      net::IsMulticast(Family::kIpv6, message.source)) {
    return false;
  }
  if (!message.solicitation) {
    return !(message.solicited && net::IsMulticast(Family::kIpv6, message.destination));
  }
  if (!message.source.IsZero()) return true;
  const auto& group = SolicitedNodeAddress(message.target).bytes;
  return !message.link_layer &&
         std::memcmp(group.data(), message.destination.bytes.data(), 13) == 0;
}

}  // namespace

bool IsNeighborMessage(const net::Packet& packet) {
  const net::ParsedPacket& ip = packet.ip;
  return ip.family == Family::kIpv6 && ip.protocol == net::kProtoIcmpv6 && ip.l4_header &&
         (ip.icmp_type == net::kIcmpv6NeighborSolicit ||
          ip.icmp_type == net::kIcmpv6NeighborAdvert);
}

std::optional<NdMessage> ReadNeighborMessage(const net::Packet& packet) {
  const net::ParsedPacket& ip = packet.ip;
  if (!IsNeighborMessage(packet) || ip.ttl != kHopLimit || ip.icmp_code != 0) return std::nullopt;
  if (ip.fragment || packet.largest_fragment != 0) return std::nullopt;
  const uint32_t length = ip.L4Length();
  const auto* header = packet.At<NeighborHeader>(ip.l4_offset);
  if (header == nullptr || length < sizeof(NeighborHeader)) return std::nullopt;
  if (!packet.checksum_verified && !net::TransportChecksumValid(packet)) return std::nullopt;

  NdMessage message;
  message.solicitation = ip.icmp_type == net::kIcmpv6NeighborSolicit;
  message.source = ip.source;
  message.destination = ip.destination;
  message.target = net::IpAddress::FromWire(Family::kIpv6, header->target);
  message.router = (header->flags & kFlagRouter) != 0;
  message.solicited = (header->flags & kFlagSolicited) != 0;
  message.override_flag = (header->flags & kFlagOverride) != 0;
  if (!ReadOptions(packet.L4() + sizeof(NeighborHeader), length - uint32_t{sizeof(NeighborHeader)},
                   message.solicitation ? kOptionSource : kOptionTarget, &message) ||
      !AddressesAreRight(message)) {
    return std::nullopt;
  }
  return message;
}

net::IpAddress SolicitedNodeAddress(const net::IpAddress& target) {
  net::IpAddress group;
  group.bytes = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff};
  for (size_t i = 13; i < 16; ++i) group.bytes[i] = target.bytes[i];
  return group;
}

net::MacAddress MulticastMac(const net::IpAddress& group) {
  const auto& b = group.bytes;
  return {{0x33, 0x33, b[12], b[13], b[14], b[15]}};
}

bool BuildNeighborMessage(net::BufferPool* pool, const NdMessage& message,
                          const net::MacAddress& source_mac, const net::MacAddress& destination_mac,
                          net::Packet* packet) {
  constexpr uint32_t kL4 = sizeof(net::EthernetHeader) + sizeof(net::Ipv6Header);
  const uint32_t option = message.link_layer ? kOptionLength : 0;
  const uint32_t payload = uint32_t{sizeof(NeighborHeader)} + option;
  net::Packet fresh;
  if (!pool->Allocate(kL4 + payload, &fresh)) return false;
  std::memset(fresh.data, 0, fresh.length);
  auto* ethernet = fresh.At<net::EthernetHeader>(0);
  ethernet->destination = destination_mac;
  ethernet->source = source_mac;
  ethernet->type = net::kEtherTypeIpv6;
  auto* ip = fresh.At<net::Ipv6Header>(sizeof(net::EthernetHeader));
  ip->version_class_flow = 0x60000000;
  ip->payload_length = static_cast<uint16_t>(payload);
  ip->next_header = net::kProtoIcmpv6;
  ip->hop_limit = kHopLimit;
  message.source.ToWire(Family::kIpv6, ip->source);
  message.destination.ToWire(Family::kIpv6, ip->destination);
  auto* header = fresh.At<NeighborHeader>(kL4);
  header->type = message.solicitation ? net::kIcmpv6NeighborSolicit : net::kIcmpv6NeighborAdvert;
  header->flags = static_cast<uint8_t>((message.router ? kFlagRouter : 0) |
                                       (message.solicited ? kFlagSolicited : 0) |
                                       (message.override_flag ? kFlagOverride : 0));
  message.target.ToWire(Family::kIpv6, header->target);
  if (message.link_layer) {
    uint8_t* bytes = fresh.data + kL4 + sizeof(NeighborHeader);
    bytes[0] = message.solicitation ? kOptionSource : kOptionTarget;
    bytes[1] = 1;
    std::memcpy(bytes + 2, message.link_layer->bytes.data(), message.link_layer->bytes.size());
  }
  net::Parse(&fresh);
  net::SetTransportChecksum(&fresh);
  *packet = fresh;
  return true;
}

}  // namespace postern::route

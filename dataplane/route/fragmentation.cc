// Cutting datagrams as ip_do_fragment and ip6_fragment do.
#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/net/wire.h"
#include "dataplane/route/fragment.h"
#include "dataplane/route/received_lengths.h"

namespace postern::route {
namespace {

using net::Family;
using net::Packet;

constexpr uint16_t kMinIpv4Mtu = 68;    // RFC 791 3.2
constexpr uint16_t kMinIpv6Mtu = 1280;  // RFC 8200 5
constexpr size_t kBatch = 64;
constexpr uint8_t kOptionEnd = 0, kOptionNop = 1, kOptionCopied = 0x80;

// How a datagram is cut.
struct Plan {
  uint32_t header = 0;           // bytes of l3 that every fragment repeats
  uint32_t fragment_header = 0;  // bytes put behind them (IPv6)
  uint32_t room = 0;             // payload that a fragment has room for
  uint32_t payload = 0;
  uint32_t next_header_at = 0;  // IPv6: which byte of the header names the fragment header
  bool as_received = false;     // in the pieces it came in, whatever the room
};

// ip6_find_1stfragopt: hop-by-hop, routing and the destination options before it stay in front.
void FindIpv6Split(const Packet& packet, Plan* plan) {
  const uint8_t* l3 = packet.L3();
  uint8_t next = packet.At<net::Ipv6Header>(packet.ip.l3_offset)->next_header;
  const uint32_t end = packet.ip.l4_offset - packet.ip.l3_offset;
  bool routing = false;
  plan->header = sizeof(net::Ipv6Header);
  plan->next_header_at = offsetof(net::Ipv6Header, next_header);
  while (plan->header + 8 <= end) {
    if (next == net::kProtoRouting) {
      routing = true;
    } else if (next != net::kProtoHopByHop && (next != net::kProtoDestinationOptions || routing)) {
      return;
    }
    const uint32_t length = (uint32_t{l3[plan->header + 1]} + 1) * 8;
    if (plan->header + length > end) return;
    plan->next_header_at = plan->header;
    next = l3[plan->header];
    plan->header += length;
  }
}

// tcp_v4_early_demux and tcp_v6_early_demux: Linux has moved the whole TCP header into the first
// piece, whose length is then no multiple of 8.
bool HeaderWasPulled(const Packet& packet, const Plan& plan, uint32_t first_payload) {
  const uint32_t before_l4 = packet.ip.l4_offset - packet.ip.l3_offset;
  return packet.ip.protocol == net::kProtoTcp && before_l4 == plan.header &&
         (packet.ip.family == Family::kIpv4 || before_l4 == sizeof(net::Ipv6Header)) &&
         first_payload < sizeof(net::TcpHeader);
}

// The fast path of ip_do_fragment and ip6_fragment: whether each piece that the datagram came in
// can be sent again as it was.
bool FitAsReceived(const Packet& packet, const Plan& plan, uint32_t mtu) {
  const ReceivedLengths lengths(packet);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < lengths.count(); ++i) {
    const uint32_t header = i == 0 ? plan.header : 0;
    if (lengths[i] <= header) return false;
    const uint32_t payload = lengths[i] - header;
    if (payload + plan.header + plan.fragment_header > mtu) return false;
    if (i == 0 && HeaderWasPulled(packet, plan, payload)) return false;
    if (payload % 8 != 0 && i + 1 != lengths.count()) return false;
    sum += lengths[i];
  }
  return sum == packet.ip.l3_length;
}

Plan MakePlan(const Packet& packet, uint16_t mtu) {
  Plan plan;
  if (packet.ip.family == Family::kIpv4) {
    // Fragments that came smaller leave smaller.
    if (packet.largest_fragment == 0) mtu = std::max(mtu, kMinIpv4Mtu);
    plan.header = packet.ip.l4_offset - packet.ip.l3_offset;
  } else {
    mtu = std::max(mtu, kMinIpv6Mtu);
    FindIpv6Split(packet, &plan);
    plan.fragment_header = sizeof(net::Ipv6FragmentHeader);
  }
  plan.payload = packet.ip.l3_length - plan.header;
  const uint32_t overhead = plan.header + plan.fragment_header;
  plan.room = mtu > overhead ? mtu - overhead : 0;
  plan.as_received = FitAsReceived(packet, plan, mtu);
  return plan;
}

// The payload of fragment `index`, which begins at `offset`.
uint32_t PieceLength(const Packet& packet, const Plan& plan, uint32_t index, uint32_t offset) {
  if (plan.as_received) {
    return ReceivedLengths(packet)[index] - (index == 0 ? plan.header : 0);
  }
  const uint32_t left = plan.payload - offset;
  // The last may fill the MTU to the byte.
  return left <= plan.room ? left : plan.room & ~7U;
}

// ip_options_fragment: in later fragments an option without the copied bit becomes no-operations,
// so that the header keeps its length.
void BlankUncopiedOptions(uint8_t* options, uint32_t length) {
  uint32_t at = 0;
  while (at < length && options[at] != kOptionEnd) {
    if (options[at] == kOptionNop) {
      ++at;
      continue;
    }
    if (length - at < 2 || options[at + 1] < 2 || options[at + 1] > length - at) return;
    const uint32_t size = options[at + 1];
    if ((options[at] & kOptionCopied) == 0) std::memset(options + at, kOptionNop, size);
    at += size;
  }
}

void FixIpv4(const Packet& datagram, const Plan& plan, uint32_t offset, uint32_t length,
             Packet* fragment) {
  auto* header = fragment->At<net::Ipv4Header>(datagram.ip.l3_offset);
  const bool last = offset + length == plan.payload && !datagram.ip.more_fragments;
  const uint32_t position = (datagram.ip.fragment_offset + offset) / 8;
  header->total_length = static_cast<uint16_t>(plan.header + length);
  header->fragment = static_cast<uint16_t>(
      position | (last ? 0 : net::kIpv4MoreFragments) |
      (datagram.ip.dont_fragment && !plan.as_received ? net::kIpv4DontFragment : 0));
  if (offset != 0) {
    BlankUncopiedOptions(reinterpret_cast<uint8_t*>(header) + sizeof(net::Ipv4Header),
                         plan.header - uint32_t{sizeof(net::Ipv4Header)});
  }
  net::SetIpv4Checksum(header);
}

void FixIpv6(const Packet& datagram, const Plan& plan, uint32_t offset, uint32_t length,
             uint32_t id, Packet* fragment) {
  uint8_t* l3 = fragment->data + datagram.ip.l3_offset;
  auto* header = reinterpret_cast<net::Ipv6Header*>(l3);
  header->payload_length =
      static_cast<uint16_t>(plan.header + plan.fragment_header + length - sizeof(net::Ipv6Header));
  auto* own = reinterpret_cast<net::Ipv6FragmentHeader*>(l3 + plan.header);
  own->next_header = l3[plan.next_header_at];
  own->reserved = 0;
  own->offset_flags = static_cast<uint16_t>(offset | (offset + length == plan.payload ? 0U : 1U));
  own->id = id;
  l3[plan.next_header_at] = net::kProtoFragment;
}

// One fragment in a buffer of its own; false: no buffer.
bool Cut(net::BufferPool* pool, const Packet& datagram, const Plan& plan, uint32_t offset,
         uint32_t length, uint32_t ipv6_id, Packet* fragment) {
  const uint32_t l3 = datagram.ip.l3_offset;
  const uint32_t front = l3 + plan.header;
  Packet fresh;
  if (!pool->Allocate(front + plan.fragment_header + length, &fresh)) return false;
  std::memcpy(fresh.data, datagram.data, front);
  std::memcpy(fresh.data + front + plan.fragment_header, datagram.data + front + offset, length);
  const bool v4 = datagram.ip.family == Family::kIpv4;
  if (v4) {
    FixIpv4(datagram, plan, offset, length, &fresh);
  } else {
    FixIpv6(datagram, plan, offset, length, ipv6_id, &fresh);
  }
  fresh.in_port = datagram.in_port;
  fresh.out_port = datagram.out_port;
  fresh.mark = datagram.mark;
  fresh.ip.l3_offset = datagram.ip.l3_offset;
  net::ParseIp(&fresh, v4 ? net::kEtherTypeIpv4 : net::kEtherTypeIpv6);
  *fragment = fresh;
  return true;
}

}  // namespace

bool Fragment(net::BufferPool* pool, net::Packet* packet, uint16_t mtu, uint32_t ipv6_id,
              FragmentEmitter* emitter) {
  const Plan plan = MakePlan(*packet, mtu);
  if (plan.room < 8) return false;  // headers alone fill the MTU (ip6_fragment: fail_toobig)
  std::array<Packet, kBatch> batch;
  uint32_t index = 0;
  uint32_t offset = 0;
  // The first batch is made before anything is sent: almost every datagram is whole then.
  do {
    const uint32_t start = offset;
    size_t count = 0;
    while (count < kBatch && offset < plan.payload) {
      const uint32_t length = PieceLength(*packet, plan, index, offset);
      if (!Cut(pool, *packet, plan, offset, length, ipv6_id, &batch[count])) break;
      ++count;
      ++index;
      offset += length;
    }
    const bool dry = count < kBatch && offset < plan.payload;
    if (dry && start == 0) {
      for (size_t i = 0; i < count; ++i) pool->Free(&batch[i]);
      return false;
    }
    for (size_t i = 0; i < count; ++i) emitter->Emit(&batch[i]);
    if (dry) break;  // as with a lost fragment, the receiver asks again
  } while (offset < plan.payload);
  pool->Free(packet);
  return true;
}

}  // namespace postern::route

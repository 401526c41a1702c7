// What holds for a burst on the established path, and what is gathered in it; the end of the way
// that its steps (established.cc, advance.cc) share.
#pragma once

#include <array>

#include "dataplane/net/plain.h"
#include "dataplane/pipeline/established.h"
#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {

struct Pipeline::Impl::Lane {
  const ctrack::Settings& settings;
  rules::WorkerRules& rules;
  const net::PortId in_port;
  const net::Time now;
  const net::Time udp_until;     // when a UDP connection ends that isn't a stream
  const net::Time stream_until;  // when one ends that is
  uint64_t key = 0;              // ShortcutKey without status and flags
  uint32_t neighbors = 0;        // their generation
  uint64_t table_changes = 0;    // when the burst was looked up

  // A run of packets of one path.
  rules::PathId path = rules::kNoPath;
  uint64_t packets = 0;
  uint64_t bytes = 0;

  // Frames for one port.
  net::PortId out_port = net::kNoPort;
  size_t ready = 0;
  std::array<Frame, kMaxBurst> frames;
};

inline void WriteEthernet(uint8_t* frame, const NextHop& hop) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&hop.ethernet);
  std::memcpy(frame, bytes, 8);
  std::memcpy(frame + 6, bytes + 6, 8);
}

// A plain frame as a packet. False: its transport header makes no sense.
template <net::Family kFamily>
inline bool Pipeline::Impl::ReadPacket(const Lane& lane, const Frame& frame, net::Packet* packet) {
  packet->data = frame.data;
  packet->in_port = lane.in_port;
  if (!net::ReadPlainHeaders<kFamily>(packet)) return false;
  packet->length = net::kPlainL3 + packet->ip.l3_length;  // without Ethernet's padding
  return true;
}

// The next hop may be used for a packet of `l3_length` bytes.
inline bool Pipeline::Impl::HopOk(Lane* lane, NextHop* hop, uint32_t l3_length) {
  if (l3_length > hop->mtu) return false;
  if (hop->generation != lane->neighbors) [[unlikely]] {
    if (!RefreshHop(hop, lane->now)) return false;
    lane->neighbors = hop->generation;
  }
  return true;
}

// The frame's transport checksum is right, or nobody wants to know.
template <net::Family kFamily>
inline bool Pipeline::Impl::ChecksumOk(const Lane& lane, const Frame& frame, uint8_t protocol,
                                       const uint8_t* l4, uint32_t l4_length) {
  if (!lane.settings.checksum || frame.checksum_verified) return true;
  const uint8_t* l3 = frame.data + net::kPlainL3;
  const uint64_t sum =
      kFamily == net::Family::kIpv4
          ? net::RawWords(net::LoadRaw<uint64_t>(l3 + offsetof(net::Ipv4Header, source)))
          : net::RawSum(l3 + offsetof(net::Ipv6Header, source), 32);
  return PlainChecksumValid(sum, protocol, l4, l4_length);
}

// Nothing can go wrong any more: translates the packet, counts it and has it sent.
template <net::Family kFamily>
inline void Pipeline::Impl::Pass(Lane* lane, const Frame& frame, ctrack::Connection* connection,
                                 net::Direction direction, const NextHop& hop, rules::PathId path,
                                 uint32_t l3_length) {
  uint8_t* l3 = frame.data + net::kPlainL3;
  const bool translated = (connection->status & (ctrack::kSrcNat | ctrack::kDstNat)) != 0;
  if constexpr (kFamily == net::Family::kIpv4) {
    auto* ipv4 = reinterpret_cast<net::Ipv4Header*>(l3);
    if (translated) {
      TranslateIpv4(l3, ipv4->protocol, connection->ends[static_cast<size_t>(Opposite(direction))]);
    } else {
      LowerTtl(ipv4);
    }
  } else {
    auto* ipv6 = reinterpret_cast<net::Ipv6Header*>(l3);
    if (translated) {
      TranslateIpv6(l3, ipv6->next_header,
                    connection->tuples[static_cast<size_t>(Opposite(direction))]);
    } else {
      --ipv6->hop_limit;
    }
  }
  WriteEthernet(frame.data, hop);

  if (lane->path != path || lane->out_port != hop.out_port) {
    Flush(lane);
    lane->path = path;
    lane->out_port = hop.out_port;
  }
  ++lane->packets;
  lane->bytes += l3_length;
  lane->frames[lane->ready++] = {frame.data, frame.buffer, net::kPlainL3 + l3_length, false};
  if (context_.observer != nullptr) [[unlikely]] {
    Observe(*lane,
            {connection, direction == net::Direction::kReply   ? ctrack::CtInfo::kEstablishedReply
                         : connection->Has(ctrack::kSeenReply) ? ctrack::CtInfo::kEstablished
                                                               : ctrack::CtInfo::kNew},
            path);
  }
}

}  // namespace postern::pipeline

// TCP's part of the established path: segments that change no state.
//
// What TrackTcp does with a plain ACK of a connection that is ESTABLISHED and ASSURED, in a
// straight line. It steps back before it has changed anything as soon as something is unusual; then
// TrackTcp judges the segment. Where it doesn't, both leave the same connection behind.
#pragma once

#include "ctrack/tcp_segment.h"
#include "ctrack/tcp_tracking.h"
#include "ctrack/tcp_window.h"

namespace postern::ctrack {

// `header` begins `length` bytes of TCP with a right checksum, 20 at least. The connection has seen
// a reply and is ASSURED. The timeout in seconds from now, or 0: TrackTcp must see it.
inline uint32_t TrackEstablishedTcp(TcpTracking* tcp, Direction direction,
                                    const net::TcpHeader* header, uint32_t length,
                                    const Settings& settings) {
  constexpr uint8_t kOther = net::kTcpSyn | net::kTcpFin | net::kTcpRst | net::kTcpAck;
  const uint32_t header_length = header->HeaderLength();
  if (tcp->state != TcpState::kEstablished || (header->flags & kOther) != net::kTcpAck ||
      header_length < sizeof(net::TcpHeader) || header_length > length) {
    return 0;
  }
  TcpPeer* sender = &tcp->peer[static_cast<size_t>(direction)];
  TcpPeer* receiver = &tcp->peer[static_cast<size_t>(net::Opposite(direction))];
  const TcpSegment segment = ReadSegment(header, length);
  if (sender->max_window == 0) return 0;
  // SACK edges would count beside the ACK.
  if ((receiver->flags & kTcpPeerSackPermitted) != 0 && !AtMostTimestamp(segment.options)) return 0;
  const TcpNumbers n{segment.seq, segment.end, segment.ack, segment.ack};
  if (!InsideWindow(*sender, *receiver, n)) return 0;
  LearnWindow(sender, receiver, segment, n);
  CountRetransmission(tcp, direction, segment, n);
  tcp->last_index = static_cast<uint8_t>(TcpEvent::kAck);
  tcp->last_dir = static_cast<uint8_t>(direction);
  return ChooseTcpTimeout(settings, *tcp, TcpEvent::kAck);
}

}  // namespace postern::ctrack

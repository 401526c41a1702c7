// Is a segment within the windows that both ends have announced?
//
// After Guido van Rooij, 'Real Stateful TCP Packet Filtering in IP Filter', with the bounds that
// netfilter chose: a segment need only touch the window, and the receiver may acknowledge
// what lies behind it. With sack = the highest of ACK and SACK edges:
//   I    seq <= sender.max_end                          (not over the receiver's window)
//   II   end >= sender.end - receiver.max_window        (not wholly acknowledged long ago)
//   III  sack <= receiver.end                           (acknowledges what was sent)
//   IV   sack >= receiver.end - max(66000, sender.max_window)
#pragma once

#include <algorithm>

#include "ctrack/connection.h"
#include "ctrack/invalid.h"
#include "ctrack/tcp_segment.h"

namespace postern::ctrack {

enum class WindowVerdict : uint8_t {
  kInside,
  kIgnore,   // late or early in a way that honest ends produce: let it pass, learn nothing
  kOutside,  // INVALID
};

// Updates both peers from a segment in `direction` that is inside. `be_liberal`:
// nf_conntrack_tcp_be_liberal, what would be outside counts as inside. `receiver_offset`: by how
// much the numbers that the segment acknowledges differ from those that the other side sent
// (a helper changed a payload's length). `note`, may be null: why it isn't inside.
WindowVerdict CheckWindow(TcpTracking* tcp, Direction direction, const TcpSegment& segment,
                          bool be_liberal, int32_t receiver_offset, InvalidNote* note = nullptr);

// A SYN's or SYN/ACK's sender as its segment describes it.
void InitSender(TcpPeer* sender, TcpPeer* receiver, const TcpSegment& segment, Direction direction);

// Takes over scale and SACK permission from a SYN's options, if it has any.
void AdoptSynOptions(TcpPeer* peer, const SynOptions& options);

// ---- the steps of CheckWindow, which the established path takes one by one ----

// The numbers of one segment as they are judged, after the adjustments.
struct TcpNumbers {
  uint32_t seq;
  uint32_t end;
  uint32_t ack;
  uint32_t sack;
};

inline uint32_t LowestAck(const TcpPeer& sender, const TcpPeer& receiver) {
  constexpr uint32_t kMinAckWindow = 66000;  // netfilter's MAXACKWINCONST
  return receiver.end - std::max(sender.max_window, kMinAckWindow) - 1;
}

// II
inline bool TouchesWindow(const TcpPeer& sender, const TcpPeer& receiver, const TcpNumbers& n) {
  return receiver.max_window == 0 || After(n.end, sender.end - receiver.max_window - 1);
}

// I to IV
inline bool InsideWindow(const TcpPeer& sender, const TcpPeer& receiver, const TcpNumbers& n) {
  return Before(n.seq, sender.max_end + 1) && TouchesWindow(sender, receiver, n) &&
         Before(n.sack, receiver.end + 1) && After(n.sack, LowestAck(sender, receiver));
}

// What a segment that is inside says of both ends.
inline void LearnWindow(TcpPeer* sender, TcpPeer* receiver, const TcpSegment& segment,
                        const TcpNumbers& n) {
  uint32_t window = segment.window;
  if (!segment.Has(net::kTcpSyn)) window <<= sender->scale;  // RFC 7323 2.2: never in a SYN

  sender->max_window = std::max(sender->max_window, window + (n.sack - n.ack));
  if (After(n.end, sender->end)) {
    sender->end = n.end;
    sender->flags |= kTcpPeerDataUnacknowledged;
  }
  if (segment.Has(net::kTcpAck)) {
    if ((sender->flags & kTcpPeerMaxAckSet) == 0 || After(n.ack, sender->max_ack)) {
      sender->max_ack = n.ack;
      sender->flags |= kTcpPeerMaxAckSet;
    }
  }

  if (receiver->max_window != 0 && After(n.end, sender->max_end)) {
    receiver->max_window += n.end - sender->max_end;
  }
  if (After(n.sack + window, receiver->max_end - 1)) {
    // A zero window still lets a probe of one byte through.
    receiver->max_end = n.sack + std::max(window, uint32_t{1});
  }
  if (n.ack == receiver->end) {
    receiver->flags &= static_cast<uint8_t>(~kTcpPeerDataUnacknowledged);
  }
}

inline void CountRetransmission(TcpTracking* tcp, Direction direction, const TcpSegment& segment,
                                const TcpNumbers& n) {
  if (segment.event != TcpEvent::kAck) return;
  if (tcp->last_dir == static_cast<uint8_t>(direction) && tcp->last_seq == n.seq &&
      tcp->last_ack == n.ack && tcp->last_end == n.end && tcp->last_window == segment.window) {
    ++tcp->retransmissions;
    return;
  }
  tcp->last_dir = static_cast<uint8_t>(direction);
  tcp->last_seq = n.seq;
  tcp->last_ack = n.ack;
  tcp->last_end = n.end;
  tcp->last_window = segment.window;
  tcp->retransmissions = 0;
}

}  // namespace postern::ctrack

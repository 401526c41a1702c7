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

#include "ctrack/connection.h"
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
// (a helper changed a payload's length).
WindowVerdict CheckWindow(TcpTracking* tcp, Direction direction, const TcpSegment& segment,
                          bool be_liberal, int32_t receiver_offset);

// A SYN's or SYN/ACK's sender as its segment describes it.
void InitSender(TcpPeer* sender, TcpPeer* receiver, const TcpSegment& segment, Direction direction);

// Takes over scale and SACK permission from a SYN's options, if it has any.
void AdoptSynOptions(TcpPeer* peer, const SynOptions& options);

}  // namespace postern::ctrack

#include "ctrack/tcp_window.h"

#include <algorithm>

namespace postern::ctrack {

namespace {

// Picked up in the middle: this side's history is unknown, so the segment is believed.
void PickUpSender(TcpPeer* sender, TcpPeer* receiver, const TcpSegment& segment, uint32_t sack) {
  const uint32_t window = uint32_t{segment.window} << sender->scale;
  sender->end = segment.end;
  sender->max_window = std::max(window, uint32_t{1});
  sender->max_end = segment.end + sender->max_window;
  if (receiver->max_window == 0) {
    // Nothing from the other side yet; bounds III and IV have to hold until there is.
    receiver->end = receiver->max_end = sack;
  } else if (sack == receiver->end + 1) {
    // The answer to a keepalive, which repeats the last byte.
    ++receiver->end;
  }
}

// Sees to a sender that is unknown or starts anew. True: the segment is a SYN that stands for
// itself (simultaneous open) and needs no check.
bool PrepareSender(TcpTracking* tcp, Direction direction, const TcpSegment& segment,
                   uint32_t sack) {
  TcpPeer* sender = &tcp->peer[static_cast<size_t>(direction)];
  TcpPeer* receiver = &tcp->peer[static_cast<size_t>(net::Opposite(direction))];
  const bool syn = segment.Has(net::kTcpSyn);
  const bool ack = segment.Has(net::kTcpAck);
  if (sender->max_window == 0) {
    if (!syn) {
      PickUpSender(sender, receiver, segment, sack);
      return false;
    }
    InitSender(sender, receiver, segment, direction);
    return !ack;
  }
  const bool opening = tcp->state == TcpState::kSynSent || tcp->state == TcpState::kSynRecv;
  if (syn && opening && After(segment.end, sender->end)) {
    // RFC 9293 3.4.3: whoever starts anew needs only a higher sequence number.
    InitSender(sender, receiver, segment, direction);
    return direction == Direction::kReply && !ack;
  }
  return false;
}

// Over the window by no more than the window: some ends do send so. What follows would all
// be 'over the upper bound' if the peer acknowledged these bytes and we hadn't counted them.
bool HonestOvershoot(const TcpPeer& sender, const TcpPeer& receiver, const TcpNumbers& n) {
  return receiver.max_window != 0 && TouchesWindow(sender, receiver, n) &&
         After(n.sack, LowestAck(sender, receiver)) &&
         n.end - sender.max_end + 1 <= receiver.max_window && Before(n.sack, receiver.end + 1);
}

struct Judgement {
  WindowVerdict verdict = WindowVerdict::kInside;
  InvalidWhy why = InvalidWhy::kNone;
  uint32_t number = 0;  // the bound, or by how much it was passed
};

Judgement CheckBounds(TcpPeer* sender, const TcpPeer& receiver, const TcpNumbers& n) {
  if (!Before(n.seq, sender->max_end + 1)) {  // I
    if (!HonestOvershoot(*sender, receiver, n)) {
      return {WindowVerdict::kOutside, InvalidWhy::kTcpSeqOver, sender->max_end + 1};
    }
    sender->end = n.end;
    sender->flags |= kTcpPeerDataUnacknowledged;
    return {WindowVerdict::kIgnore, InvalidWhy::kTcpOvershoot, n.end - sender->max_end + 1};
  }
  if (!Before(n.sack, receiver.end + 1)) {  // III
    return {WindowVerdict::kOutside, InvalidWhy::kTcpAckOver, receiver.end + 1};
  }
  if (!TouchesWindow(*sender, receiver, n)) {  // II
    return {WindowVerdict::kIgnore, InvalidWhy::kTcpSeqUnder,
            sender->end - receiver.max_window - 1};
  }
  if (!After(n.sack, LowestAck(*sender, receiver))) {  // IV
    return {WindowVerdict::kIgnore, InvalidWhy::kTcpAckUnder, LowestAck(*sender, receiver)};
  }
  return {};
}

}  // namespace

void AdoptSynOptions(TcpPeer* peer, const SynOptions& options) {
  if (!options.present) return;
  peer->scale = options.scale;
  peer->flags &= kTcpPeerBeLiberal;
  if (options.window_scale) peer->flags |= kTcpPeerWindowScale;
  if (options.sack_permitted) peer->flags |= kTcpPeerSackPermitted;
}

void InitSender(TcpPeer* sender, TcpPeer* receiver, const TcpSegment& segment,
                Direction direction) {
  sender->end = sender->max_end = segment.end;
  sender->max_window = std::max(uint32_t{segment.window}, uint32_t{1});
  AdoptSynOptions(sender, ReadSynOptions(segment.options));
  // RFC 7323 2.2: scaling is in force only if both sides offered it.
  if (direction == Direction::kReply &&
      (sender->flags & receiver->flags & kTcpPeerWindowScale) == 0) {
    sender->scale = receiver->scale = 0;
  }
}

WindowVerdict CheckWindow(TcpTracking* tcp, Direction direction, const TcpSegment& segment,
                          bool be_liberal, int32_t receiver_offset, InvalidNote* note) {
  TcpPeer* sender = &tcp->peer[static_cast<size_t>(direction)];
  TcpPeer* receiver = &tcp->peer[static_cast<size_t>(net::Opposite(direction))];
  TcpNumbers n{segment.seq, segment.end, segment.ack, segment.ack};
  if ((receiver->flags & kTcpPeerSackPermitted) != 0) n.sack = HighestSack(segment.options, n.ack);
  n.ack -= static_cast<uint32_t>(receiver_offset);
  n.sack -= static_cast<uint32_t>(receiver_offset);

  if (PrepareSender(tcp, direction, segment, n.sack)) return WindowVerdict::kInside;

  // Without an ACK bit, or in a RST of a stack that leaves the field zero, the field says nothing.
  const bool empty_rst = segment.Has(net::kTcpRst) && n.ack == 0;
  if (!segment.Has(net::kTcpAck) || empty_rst) n.ack = n.sack = receiver->end;
  // RFC 9293 3.5.2: a RST that answers a SYN without ACK has the sequence number zero.
  if (segment.Has(net::kTcpRst) && n.seq == 0 && tcp->state == TcpState::kSynSent) {
    n.seq = n.end = sender->end;
  }

  const Judgement judgement = CheckBounds(sender, *receiver, n);
  if (judgement.verdict != WindowVerdict::kInside) {
    // A liberal sender's stray segments count as inside, but nothing is learned from them.
    const bool liberal = be_liberal || (sender->flags & kTcpPeerBeLiberal) != 0;
    if (liberal) return WindowVerdict::kInside;
    if (note != nullptr) *note = {.why = judgement.why, .number = judgement.number};
    return judgement.verdict;
  }
  LearnWindow(sender, receiver, segment, n);
  CountRetransmission(tcp, direction, segment, n);
  return WindowVerdict::kInside;
}

}  // namespace postern::ctrack

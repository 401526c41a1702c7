#include "ctrack/tcp_tracking.h"

#include <algorithm>

#include "ctrack/tcp_segment.h"
#include "ctrack/tcp_table.h"
#include "ctrack/tcp_window.h"

namespace postern::ctrack {

namespace {

constexpr L4Result kIgnored{L4Decision::kIgnore, 0, 0, false};
constexpr L4Result kRepeated{L4Decision::kRepeat, 0, 0, false};

constexpr size_t Index(Direction direction) { return static_cast<size_t>(direction); }

// One segment on its way through the machine.
struct Step {
  const L4Input& in;
  TcpTracking& tcp;
  const TcpSegment segment;
  TcpState old_state;
  TcpState new_state;
  bool reset_closes = false;  // a RST that needs no window check

  Direction direction() const { return in.direction; }
  bool Is(TcpEvent event) const { return segment.event == event; }
  TcpPeer& sender() const { return tcp.peer[Index(direction())]; }
  TcpPeer& receiver() const { return tcp.peer[Index(net::Opposite(direction()))]; }
  TcpEvent last_event() const { return static_cast<TcpEvent>(tcp.last_index); }
  bool LastWasSameDirection() const { return tcp.last_dir == static_cast<uint8_t>(direction()); }
};

void RememberEvent(const Step& step) {
  step.tcp.last_index = static_cast<uint8_t>(step.segment.event);
  step.tcp.last_dir = static_cast<uint8_t>(step.direction());
}

// tcp_new: false where the segment can't begin a connection.
bool Begin(const L4Input& in, TcpTracking* tcp, const TcpSegment& segment) {
  const TcpMove move = NextTcpMove(Direction::kOriginal, segment.event, TcpState::kNone);
  if (move == TcpMove::kBad) {
    Explain(in, {.why = InvalidWhy::kTcpNew});
    return false;
  }
  *tcp = TcpTracking{};
  TcpPeer& sender = tcp->peer[0];
  sender.end = sender.max_end = segment.end;
  sender.max_window = std::max(uint32_t{segment.window}, uint32_t{1});
  if (move == To(TcpState::kSynSent)) {
    AdoptSynOptions(&sender, ReadSynOptions(segment.options));
  } else {
    // nf_conntrack_tcp_loose: a connection older than this table. Its scaling is unknown, so
    // windows are taken liberally and SACK is assumed.
    if (!in.settings.tcp_loose) return false;
    sender.max_end += sender.max_window;
    tcp->peer[0].flags = tcp->peer[1].flags = kTcpPeerSackPermitted | kTcpPeerBeLiberal;
  }
  tcp->last_index = static_cast<uint8_t>(TcpEvent::kNone);
  return true;
}

// A SYN in TIME_WAIT or CLOSE opens a new connection if this one was closed or reset by
// its own ends (RFC 9293 3.6.1). Otherwise the SYN is one more packet to be ignored.
bool Reopens(const Step& step) {
  const bool closed = ((step.sender().flags | step.receiver().flags) & kTcpPeerCloseInit) != 0;
  return closed || (step.LastWasSameDirection() && step.last_event() == TcpEvent::kRst);
}

// A SYN/ACK that acknowledges a SYN which was ignored: both ends are in step, this table isn't. The
// connection goes on from what the SYN said.
bool AnswersIgnoredSyn(const Step& step) {
  return step.Is(TcpEvent::kSynAck) && step.last_event() == TcpEvent::kSyn &&
         !step.LastWasSameDirection() && step.segment.ack == step.tcp.last_end;
}

void GetInStep(Step* step) {
  TcpTracking& tcp = step->tcp;
  step->old_state = TcpState::kSynSent;
  step->new_state = TcpState::kSynRecv;
  TcpPeer& client = step->receiver();
  client.end = client.max_end = tcp.last_end;
  client.max_window = std::max(uint32_t{tcp.last_window}, uint32_t{1});
  client.scale = tcp.last_wscale;
  tcp.last_flags &= static_cast<uint8_t>(~kTcpPeerChallengeAck);
  client.flags = tcp.last_flags;
  const auto liberal = static_cast<uint8_t>(step->sender().flags & kTcpPeerBeLiberal);
  step->sender() = TcpPeer{};
  step->sender().flags = liberal;
}

// What the table says of a segment that it doesn't take.
void ExplainMove(const Step& step, InvalidWhy why) {
  Explain(step.in, {.why = why,
                    .direction = static_cast<uint8_t>(step.direction()),
                    .state = static_cast<uint8_t>(step.old_state),
                    .event = static_cast<uint8_t>(step.segment.event)});
}

// Lets a segment pass that only the ends can judge, and notes what the answer to it will look like.
void Ignore(const Step& step) {
  TcpTracking& tcp = step.tcp;
  const TcpSegment& segment = step.segment;
  ExplainMove(step, InvalidWhy::kTcpIgnored);
  RememberEvent(step);
  tcp.last_seq = segment.seq;
  tcp.last_end = segment.end;
  tcp.last_window = segment.window;
  if (step.Is(TcpEvent::kSyn) && step.direction() == Direction::kOriginal) {
    const SynOptions options = ReadSynOptions(segment.options);
    tcp.last_flags = 0;
    tcp.last_wscale = options.scale;
    if (options.window_scale) tcp.last_flags |= kTcpPeerWindowScale;
    if (options.sack_permitted) tcp.last_flags |= kTcpPeerSackPermitted;
    // RFC 5961 4: the server may answer with a challenge ACK, which in LAST_ACK would look like the
    // acknowledgement of the last FIN.
    if (step.old_state == TcpState::kLastAck) tcp.last_flags |= kTcpPeerChallengeAck;
  }
  // An ACK that answers a SYN may be a challenge; the RST that it provokes repeats its number.
  if (step.old_state == TcpState::kSynSent && step.Is(TcpEvent::kAck) &&
      step.direction() == Direction::kReply) {
    tcp.last_ack = segment.ack;
  }
}

bool IsChallengeAck(const Step& step) {
  return step.old_state == TcpState::kLastAck && step.Is(TcpEvent::kAck) &&
         !step.LastWasSameDirection() && step.last_event() == TcpEvent::kSyn &&
         (step.tcp.last_flags & kTcpPeerChallengeAck) != 0;
}

// nf_conntrack_tcp_established.
bool IsEstablished(const Step& step) {
  return step.old_state == TcpState::kEstablished && step.in.connection.Has(kAssured);
}

// A RST answers the other side's SYN, or an ACK of a half-open connection, that was ignored: the
// connection that we hold is dead.
bool AnswersIgnored(const Step& step) {
  const Connection& connection = step.in.connection;
  const bool syn = connection.Has(kSeenReply) && step.last_event() == TcpEvent::kSyn &&
                   !step.LastWasSameDirection();
  const bool ack = !connection.Has(kAssured) && step.last_event() == TcpEvent::kAck;
  // Where nothing was ignored the end is 0, which is what a RST without ACK has, too.
  return (syn || ack) && step.segment.ack == step.tcp.last_end;
}

// Whether a RST is believed (RFC 5961 3.2). False: it is INVALID.
bool JudgeReset(Step* step) {
  const TcpTracking& tcp = step->tcp;
  const TcpSegment& segment = step->segment;
  if (IsClosing(step->old_state)) {
    // The tuple may be in use again already, so the numbers say nothing.
    step->reset_closes = true;
    return true;
  }
  const TcpPeer& receiver = step->receiver();
  // A SYN that was let through makes max_ack out of date.
  if ((receiver.flags & kTcpPeerMaxAckSet) != 0 && step->last_event() != TcpEvent::kSyn) {
    const bool established = IsEstablished(*step);
    // Most likely the answer to a SYN that was let through.
    if (segment.seq == 0 && !established) return true;
    if (Before(segment.seq, receiver.max_ack) && !step->in.settings.tcp_ignore_invalid_rst) {
      return false;
    }
    if (!established || segment.seq == receiver.max_ack) return true;
    // The last one of a train: data up to here came just before it.
    if (step->last_event() == TcpEvent::kAck && step->LastWasSameDirection() &&
        segment.seq == tcp.last_end) {
      return true;
    }
    // In the window but not exact: the receiver answers with a challenge ACK and stays.
    step->new_state = step->old_state;
  }
  const bool answers_challenge =
      step->old_state == TcpState::kSynSent && step->last_event() == TcpEvent::kAck &&
      tcp.last_dir == static_cast<uint8_t>(Direction::kReply) && segment.seq == tcp.last_ack;
  step->reset_closes = AnswersIgnored(*step) || answers_challenge;
  return true;
}

// A FIN or RST that is out of the window, after one from the other side that was, too: the ends
// are gone and the table is out of step, so the connection needn't stay for days.
void ShortenDoubtful(const Step& step) {
  Connection& connection = step.in.connection;
  if (!connection.Has(kAssured) || connection.Has(kFixedTimeout)) return;
  if (!step.Is(TcpEvent::kRst) && !step.Is(TcpEvent::kFin)) return;
  const bool other_side_too =
      !step.LastWasSameDirection() &&
      (step.last_event() == TcpEvent::kFin || step.last_event() == TcpEvent::kRst);
  if (!other_side_too) {
    RememberEvent(step);
    return;
  }
  const Time left = connection.expires > step.in.now ? connection.expires - step.in.now : 0;
  const Time shorter = step.in.settings.tcp_timeout_unacknowledged * net::kSecond;
  if (left < 120 * net::kSecond || left <= shorter) return;
  connection.expires = step.in.now + shorter;
  if (step.in.note != nullptr) step.in.note->then = InvalidWhy::kTcpShortened;
}

bool IsClosed(TcpState state) { return state == TcpState::kTimeWait || state == TcpState::kClose; }

// The segment is good: takes the new state.
L4Result Enter(const Step& step) {
  Connection& connection = step.in.connection;
  RememberEvent(step);
  const TcpState before = step.tcp.state;
  step.tcp.state = step.new_state;
  const bool changed = step.old_state != step.new_state;
  if (changed && step.new_state == TcpState::kFinWait) step.sender().flags |= kTcpPeerCloseInit;

  L4Result result = Accept(ChooseTcpTimeout(step.in.settings, step.tcp, step.segment.event),
                           changed ? kChangeProtoInfo : 0U);
  // Left: a SYN/ACK has answered a SYN that was ignored, and old_state is SYN_SENT's.
  result.closed = IsClosed(before) != IsClosed(step.new_state);
  if (!connection.Has(kSeenReply)) {
    if (step.segment.Has(net::kTcpRst)) {
      // Refused: nothing is left to be tracked.
      result.decision = L4Decision::kEnd;
    } else if (step.Is(TcpEvent::kSyn) && step.old_state == TcpState::kSynSent) {
      // Retransmitted SYNs keep no entry alive, or its NAT would outlive every rule change.
      result.decision = L4Decision::kIgnore;
    } else if (step.new_state == TcpState::kEstablished) {
      // Picked up and never answered: not for days.
      result.timeout = std::min(result.timeout, step.in.settings.tcp_timeout_unacknowledged);
    }
    return result;
  }
  const bool was_open =
      step.old_state == TcpState::kSynRecv || step.old_state == TcpState::kEstablished;
  if (!connection.Has(kAssured) && was_open && step.new_state == TcpState::kEstablished) {
    connection.status |= kAssured;
    result.changes |= kChangeAssured;
  }
  return result;
}

L4Result CheckAndEnter(const Step& step) {
  if (step.reset_closes) return Enter(step);
  // No connection has its sequence numbers adjusted (kSeqAdjust) until a helper changes a payload.
  constexpr int32_t kReceiverOffset = 0;
  switch (CheckWindow(&step.tcp, step.direction(), step.segment, step.in.settings.tcp_be_liberal,
                      kReceiverOffset, step.in.note)) {
    case WindowVerdict::kInside:
      return Enter(step);
    case WindowVerdict::kIgnore:
      return kIgnored;
    case WindowVerdict::kOutside:
      break;
  }
  ShortenDoubtful(step);
  return {};
}

}  // namespace

bool IsClosing(TcpState state) {
  switch (state) {
    case TcpState::kFinWait:
    case TcpState::kCloseWait:
    case TcpState::kLastAck:
    case TcpState::kTimeWait:
    case TcpState::kClose:
      return true;
    default:
      return false;
  }
}

L4Result TrackTcp(const L4Input& in) {
  if (!TcpFlagsValid(in.packet.ip.tcp_flags)) {
    Explain(in, {.why = InvalidWhy::kTcpFlags});
    return {};
  }
  TcpTracking& tcp = in.connection.protocol.tcp;
  const TcpSegment segment = ReadSegment(in.packet);
  if (in.first() && !Begin(in, &tcp, segment)) return {};

  const TcpMove move = NextTcpMove(in.direction, segment.event, tcp.state);
  Step step{in, tcp, segment, tcp.state, static_cast<TcpState>(move)};
  if (move == TcpMove::kBad) {
    ExplainMove(step, InvalidWhy::kTcpInvalid);
    return {};
  }
  if (move == TcpMove::kIgnored) {
    if (AnswersIgnoredSyn(step)) {
      GetInStep(&step);
      return CheckAndEnter(step);
    }
    Ignore(step);
    return kIgnored;
  }

  switch (step.new_state) {
    case TcpState::kSynSent:
      if (step.old_state < TcpState::kTimeWait) break;
      if (Reopens(step)) return kRepeated;
      Ignore(step);
      return kIgnored;
    case TcpState::kTimeWait:
      if (!IsChallengeAck(step)) break;
      tcp.last_flags &= static_cast<uint8_t>(~kTcpPeerChallengeAck);
      Explain(in, {.why = InvalidWhy::kTcpChallengeAck});
      return kIgnored;
    case TcpState::kSynSent2:
      tcp.last_flags |= kTcpPeerSimultaneousOpen;
      break;
    case TcpState::kSynRecv:
      // After a simultaneous open the reply's ACK completes the handshake.
      if (in.direction == Direction::kReply && step.Is(TcpEvent::kAck) &&
          (tcp.last_flags & kTcpPeerSimultaneousOpen) != 0) {
        step.new_state = TcpState::kEstablished;
      }
      break;
    case TcpState::kClose:
      if (step.Is(TcpEvent::kRst) && !JudgeReset(&step)) {
        Explain(in, {.why = InvalidWhy::kTcpReset});
        return {};
      }
      break;
    default:
      break;
  }
  return CheckAndEnter(step);
}

}  // namespace postern::ctrack

#include "ctrack/sctp_tracking.h"

#include <array>
#include <bitset>
#include <cstring>
#include <optional>

#include "ctrack/sctp_table.h"
#include "dataplane/net/byte_order.h"

namespace postern::ctrack {

namespace {

constexpr size_t kCommonHeader = 12;  // RFC 9260 section 3.1
constexpr size_t kTagOffset = 4;
constexpr uint8_t kTagReflected = 0x01;  // the T bit of ABORT and SHUTDOWN COMPLETE

// SctpTracking::flags.
constexpr uint8_t kHeartbeatTagFailed = 0x01;
constexpr uint8_t InitSeen(Direction direction) {
  return direction == Direction::kOriginal ? 0x02 : 0x04;
}
constexpr uint8_t kBothInits = InitSeen(Direction::kOriginal) | InitSeen(Direction::kReply);

constexpr size_t Index(Direction direction) { return static_cast<size_t>(direction); }

uint32_t Word(const uint8_t* at) {
  uint32_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

struct Chunk {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint16_t length = 0;
  // What follows the chunk's header, to the datagram's end.
  const uint8_t* body = nullptr;
  size_t left = 0;

  // INIT and INIT ACK (RFC 9260 section 3.3.2): the tag that the peer must use. Nothing where the
  // fixed part is cut short.
  std::optional<uint32_t> InitiateTag() const {
    constexpr size_t kFixedPart = 16;
    if (left < kFixedPart) return std::nullopt;
    return Word(body);
  }
};

// The chunks of a packet. One that isn't wholly there ends the row, as it does in netfilter: only
// its header is needed.
class Chunks {
 public:
  explicit Chunks(const net::Packet& packet)
      : at_(packet.L4() + kCommonHeader),
        left_(packet.ip.L4Length() < kCommonHeader ? 0 : packet.ip.L4Length() - kCommonHeader) {}

  bool Next(Chunk* chunk) {
    constexpr size_t kHeader = 4;
    at_ += step_;
    left_ -= step_;
    if (left_ < kHeader) return false;
    const auto length = static_cast<uint16_t>(at_[2] << 8 | at_[3]);
    *chunk = {at_[0], at_[1], length, at_ + kHeader, left_ - kHeader};
    step_ = (size_t{length} + 3) & ~size_t{3};
    if (step_ > left_) step_ = left_;
    return true;
  }

 private:
  const uint8_t* at_;
  size_t left_;
  size_t step_ = 0;
};

using ChunkSet = std::bitset<256>;

// RFC 9260 section 6.10: INIT, INIT ACK and SHUTDOWN COMPLETE stand alone; cookies come first.
bool WellComposed(const L4Input& in, ChunkSet* present) {
  Chunks chunks(in.packet);
  Chunk chunk;
  bool alone = false;
  uint32_t count = 0;
  for (; chunks.Next(&chunk); ++count) {
    alone = alone || chunk.type == kSctpInit || chunk.type == kSctpInitAck ||
            chunk.type == kSctpShutdownComplete;
    const bool cookie = chunk.type == kSctpCookieEcho || chunk.type == kSctpCookieAck;
    if (((alone || cookie) && count != 0) || chunk.length == 0) {
      Explain(in, {.why = InvalidWhy::kSctpComposition,
                   .event = chunk.type,
                   .lone = alone,
                   .length = net::ByteSwap(chunk.length),
                   .number = count});
      return false;
    }
    present->set(chunk.type);
  }
  return count != 0;
}

// One packet on its way through the machine.
struct Step {
  const L4Input& in;
  SctpTracking& sctp;
  const uint32_t tag;
  const ChunkSet present;
  bool keep_timeout = false;

  uint32_t& Own() const { return sctp.tag[Index(in.direction)]; }
  uint32_t& Peer() const { return sctp.tag[Index(net::Opposite(in.direction))]; }
};

// sctp_new: false where the packet can't begin an association.
bool Begin(const Step& step) {
  step.sctp = SctpTracking{};
  Chunks chunks(step.in.packet);
  Chunk chunk;
  while (chunks.Next(&chunk)) {
    const SctpMove move = NextSctpMove(Direction::kOriginal, chunk.type, SctpState::kNone);
    if (move == To(SctpState::kNone) || move == SctpMove::kBad) return false;
    if (chunk.type == kSctpInit) {
      const auto tag = chunk.InitiateTag();
      if (step.tag != 0 || !tag) return false;
      step.sctp.tag[Index(Direction::kReply)] = *tag;
    } else if (chunk.type == kSctpHeartbeat) {
      step.sctp.tag[Index(Direction::kOriginal)] = step.tag;
    } else if (chunk.type == kSctpShutdownAck) {
      // Out of the blue: the SHUTDOWN COMPLETE that answers repeats the tag (RFC 9260 section 8.4
      // (5)).
      step.sctp.tag[Index(Direction::kReply)] = step.tag;
    }
  }
  return true;
}

// RFC 9260 section 8.5.1 (B) and (C).
bool TagOfEnd(const Step& step, const Chunk& chunk) {
  return step.tag == ((chunk.flags & kTagReflected) != 0 ? step.Peer() : step.Own());
}

enum class TagCheck : uint8_t { kGood, kBad, kPassBy };

// A heartbeat on another path may bring a tag that this one hasn't seen: it passes, and its answer,
// from the other side, makes the tag known.
TagCheck CheckHeartbeat(Step* step, const Chunk& chunk) {
  SctpTracking& sctp = step->sctp;
  if (step->Own() == 0) {
    step->Own() = step->tag;
    return TagCheck::kGood;
  }
  if (step->tag == step->Own()) {
    sctp.flags &= static_cast<uint8_t>(~kHeartbeatTagFailed);
    return TagCheck::kGood;
  }
  if (step->present[kSctpData] || step->keep_timeout) return TagCheck::kBad;
  if (chunk.type == kSctpHeartbeat) {
    sctp.flags |= kHeartbeatTagFailed;
    sctp.last_direction = static_cast<uint8_t>(step->in.direction);
    step->keep_timeout = true;
    return TagCheck::kPassBy;
  }
  if ((sctp.flags & kHeartbeatTagFailed) == 0 ||
      sctp.last_direction == static_cast<uint8_t>(step->in.direction)) {
    return TagCheck::kBad;
  }
  sctp.flags &= static_cast<uint8_t>(~kHeartbeatTagFailed);
  step->Own() = step->tag;
  step->Peer() = 0;
  return TagCheck::kGood;
}

// The verification tag as each chunk wants it (RFC 9260 section 8.5.1).
TagCheck CheckTag(Step* step, const Chunk& chunk) {
  const auto good_if = [](bool good) { return good ? TagCheck::kGood : TagCheck::kBad; };
  switch (chunk.type) {
    case kSctpInit:
      return good_if(step->tag == 0);
    case kSctpAbort:
    case kSctpShutdownComplete:
      return good_if(TagOfEnd(*step, chunk));
    case kSctpCookieEcho:
      return good_if(step->tag == step->Own());
    case kSctpHeartbeat:
    case kSctpHeartbeatAck:
      return CheckHeartbeat(step, chunk);
    case kSctpCookieAck:
      step->sctp.flags &= static_cast<uint8_t>(~kBothInits);
      return TagCheck::kGood;
    default:
      return TagCheck::kGood;
  }
}

// What INIT and INIT ACK say about the tags. False: they contradict what is known.
bool LearnTag(Step* step, const Chunk& chunk, SctpState next) {
  const auto tag = chunk.InitiateTag();
  if (!tag) return false;
  SctpTracking& sctp = step->sctp;
  const uint8_t own = InitSeen(step->in.direction);
  const uint8_t peer = InitSeen(net::Opposite(step->in.direction));
  if (chunk.type == kSctpInit) {
    // A repeated one says nothing new about who began.
    if (sctp.state == SctpState::kNone || step->Peer() != *tag) {
      if ((sctp.flags & kBothInits) == kBothInits) sctp.flags &= static_cast<uint8_t>(~peer);
      sctp.flags |= own;
    }
    step->Peer() = *tag;
    // A repeated INIT keeps no entry alive, or its NAT would outlive every rule change.
    if (next == SctpState::kClosed && sctp.state == SctpState::kClosed && !step->in.first()) {
      step->keep_timeout = true;
    }
    return true;
  }
  const bool same = step->Peer() == *tag;
  if ((sctp.flags & peer) == 0 && step->Peer() != 0 && !same) return false;
  // Both ends have sent an INIT (RFC 9260 section 5.2.1).
  if ((sctp.flags & kBothInits) == kBothInits && !same) return false;
  step->Peer() = *tag;
  return true;
}

// Most packets carry the tag that their receiver gave out; what begins, ends or probes an
// association is judged chunk by chunk.
bool TagMatters(const ChunkSet& present) {
  constexpr auto kOwnRules =
      std::to_array<SctpChunk>({kSctpInit, kSctpShutdownComplete, kSctpCookieEcho, kSctpAbort,
                                kSctpShutdownAck, kSctpHeartbeat, kSctpHeartbeatAck});
  for (const SctpChunk chunk : kOwnRules) {
    if (present[chunk]) return false;
  }
  return true;
}

// RFC 9260 section 8.4: these answer nothing that was seen.
bool CantBegin(const ChunkSet& present) {
  return present[kSctpAbort] || present[kSctpShutdownComplete] || present[kSctpCookieAck];
}

L4Result Walk(Step* step) {
  SctpTracking& sctp = step->sctp;
  Connection& connection = step->in.connection;
  SctpState state = SctpState::kNone;
  uint32_t changes = 0;
  Chunks chunks(step->in.packet);
  Chunk chunk;
  while (chunks.Next(&chunk)) {
    const TagCheck check = CheckTag(step, chunk);
    if (check == TagCheck::kBad) return {};
    if (check == TagCheck::kPassBy) continue;
    const SctpMove move = NextSctpMove(step->in.direction, chunk.type, sctp.state);
    if (move == SctpMove::kBad) {
      Explain(step->in, {.why = InvalidWhy::kSctpInvalid,
                         .direction = static_cast<uint8_t>(step->in.direction),
                         .state = static_cast<uint8_t>(sctp.state),
                         .event = chunk.type});
      return {};
    }
    state = static_cast<SctpState>(move);
    const bool init = chunk.type == kSctpInit || chunk.type == kSctpInitAck;
    if (init && !LearnTag(step, chunk, state)) return {};
    if (state == sctp.state) continue;
    sctp.state = state;
    changes |= kChangeProtoInfo;
    if (state == SctpState::kEstablished && !connection.Has(kAssured)) {
      connection.status |= kAssured;
      changes |= kChangeAssured;
    }
  }
  L4Result result = Accept(step->in.settings.sctp_timeout[static_cast<size_t>(state)], changes);
  if (step->keep_timeout) result.decision = L4Decision::kIgnore;
  return result;
}

}  // namespace

bool IsClosing(SctpState state) {
  return state == SctpState::kShutdownSent || state == SctpState::kShutdownReceived ||
         state == SctpState::kShutdownAckSent;
}

L4Result TrackSctp(const L4Input& in) {
  ChunkSet present;
  if (!WellComposed(in, &present)) return {};
  Step step{in, in.connection.protocol.sctp, Word(in.packet.L4() + kTagOffset), present};
  if (in.first() && (CantBegin(present) || !Begin(step))) return {};
  if (TagMatters(present) && step.tag != step.Own()) {
    Explain(in, {.why = InvalidWhy::kSctpTag,
                 .direction = static_cast<uint8_t>(in.direction),
                 .number = step.tag,
                 .wanted = step.Own()});
    return {};
  }
  return Walk(&step);
}

}  // namespace postern::ctrack

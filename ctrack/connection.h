// A tracked connection.
//
// Life-cycle: Tracker::Track makes an unconfirmed connection for the first packet
// (it is in no table; the packet alone refers to it). Tracker::Confirm puts its two tuples
// into the table when that packet has passed every chain; Tracker::Release frees it
// when the packet was dropped. A confirmed connection ends by expiry, by deletion or by
// being replaced (SYN in TIME_WAIT); then both tuples leave the table and the object goes back
// to its pool.
//
// Threads: one worker owns a connection. Nobody else reads or writes it; the control
// thread asks the worker.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "dataplane/net/time.h"
#include "dataplane/net/tuple.h"

namespace postern::ctrack {

using net::Direction;
using net::Time;
using net::Tuple;

// As netfilter's ip_conntrack_info, with INVALID spelled out.
enum class CtInfo : uint8_t {
  kEstablished,  // original direction, a reply has been seen
  kRelated,      // original direction of an expected connection, or an ICMP error about one
  kNew,
  kEstablishedReply,  // reply direction
  kRelatedReply,      // an ICMP error in the reply direction
  kUntracked,
  kInvalid,
};
constexpr bool IsReply(CtInfo info) {
  return info == CtInfo::kEstablishedReply || info == CtInfo::kRelatedReply;
}
constexpr Direction DirectionOf(CtInfo info) {
  return IsReply(info) ? Direction::kReply : Direction::kOriginal;
}

// What a packet carries from conntrack to the rules: skb->_nfct.
struct Connection;
struct CtRef {
  Connection* connection = nullptr;  // null for kUntracked and kInvalid
  CtInfo info = CtInfo::kInvalid;
};

// Status bits with the kernel's values (IPS_*).
enum Status : uint32_t {
  kExpected = 1U << 0,
  kSeenReply = 1U << 1,
  kAssured = 1U << 2,
  kConfirmed = 1U << 3,
  kSrcNat = 1U << 4,
  kDstNat = 1U << 5,
  kSeqAdjust = 1U << 6,
  kSrcNatDone = 1U << 7,
  kDstNatDone = 1U << 8,
  kDying = 1U << 9,
  kFixedTimeout = 1U << 10,
  kHelper = 1U << 13,
};

enum class TcpState : uint8_t {
  kNone,
  kSynSent,
  kSynRecv,
  kEstablished,
  kFinWait,
  kCloseWait,
  kLastAck,
  kTimeWait,
  kClose,
  kSynSent2,  // simultaneous open
  kCount
};
std::string_view ToString(TcpState state);  // "SYN_SENT", as conntrack -L prints it

// One side's window (nf_ct_tcp's ip_ct_tcp_state).
struct TcpPeer {
  uint32_t end = 0;         // td_end: highest seq + length sent
  uint32_t max_end = 0;     // td_maxend: highest ack + max(window, 1) seen from the other side
  uint32_t max_window = 0;  // td_maxwin
  uint32_t max_ack = 0;     // td_maxack
  uint8_t scale = 0;        // td_scale
  uint8_t flags = 0;        // kTcpPeer*
};
enum TcpPeerFlag : uint8_t {
  kTcpPeerWindowScale = 0x01,
  kTcpPeerSackPermitted = 0x02,
  kTcpPeerCloseInit = 0x04,
  kTcpPeerBeLiberal = 0x08,
  kTcpPeerDataUnacknowledged = 0x10,
  kTcpPeerMaxAckSet = 0x20,
  kTcpPeerChallengeAck = 0x40,
  kTcpPeerSimultaneousOpen = 0x80,
};

struct TcpTracking {
  std::array<TcpPeer, 2> peer;  // by Direction
  uint32_t last_seq = 0;
  uint32_t last_ack = 0;
  uint32_t last_end = 0;
  uint16_t last_window = 0;
  uint8_t last_wscale = 0;
  uint8_t last_flags = 0;
  TcpState state = TcpState::kNone;
  uint8_t last_dir = 0;
  uint8_t last_index = 0;
  uint8_t retransmissions = 0;
};

// Aligned to 4 as its neighbours in the union, so that a line holds the union and what follows it.
struct [[gnu::packed, gnu::aligned(4)]] UdpTracking {
  Time stream_at = 0;  // when the connection becomes a stream (kernel: stream_ts)
};

enum class SctpState : uint8_t {
  kNone,
  kClosed,
  kCookieWait,
  kCookieEchoed,
  kEstablished,
  kShutdownSent,
  kShutdownReceived,
  kShutdownAckSent,
  kHeartbeatSent,
  kCount
};
std::string_view ToString(SctpState state);  // "COOKIE_WAIT", as conntrack -L prints it

struct SctpTracking {
  std::array<uint32_t, 2> tag{};  // verification tags by Direction, in wire order; 0: not known
  SctpState state = SctpState::kNone;
  uint8_t last_direction = 0;  // of the heartbeat with an unknown tag
  uint8_t flags = 0;           // sctp_tracking.cc's
};

// The remembered path through the rules, one a direction (DESIGN.md section 4). Owned
// by the pipeline; conntrack only keeps it.
struct PathMemo {
  uint32_t generation = 0;  // of everything that the path relied on
  uint32_t key = 0;         // ctinfo, TCP flags class and ports that it is valid for
  uint16_t path = 0;        // rules::PathId, 0: none
  uint16_t max_length = 0;  // bytes of l3 that pass without an MTU decision
};

// All that the established path (dataplane/pipeline/established.h) does with a packet of one
// direction beside translating it: decided once by the slow path, valid while `key` is what the
// pipeline expects. Owned by the pipeline; conntrack only keeps it.
struct [[gnu::packed, gnu::aligned(4)]] Shortcut {
  uint64_t key = 0;       // pipeline's epoch, status, in port, TCP flags; 0: none
  uint16_t path = 0;      // rules::PathId
  uint16_t next_hop = 0;  // place in the pipeline's table of next hops
};

// A tuple's addresses and ports as they stand in an IPv4 packet: the first 12 bytes of an Ipv4Key.
struct WireEnds {
  uint32_t source = 0;
  uint32_t destination = 0;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;

  WireEnds() = default;
  explicit WireEnds(const net::Ipv4Key& key) { std::memcpy(this, &key, sizeof(*this)); }
  net::Ipv4Key WithProtocol(uint16_t protocol) const {
    net::Ipv4Key key;
    key.source = source;
    key.destination = destination;
    key.source_key = source_port;
    key.destination_key = destination_port;
    key.protocol = protocol;
    return key;
  }
};
static_assert(sizeof(WireEnds) == 12);

// Things that few connections have; allocated beside the connection.
struct Extension;

struct alignas(64) Connection {
  // First line: with it alone a packet of an established connection is passed on, but for what its
  // protocol wants to know.
  //
  // Before confirmation the timeout to start with (a duration), after it the absolute time.
  Time expires = 0;
  uint16_t status = 0;
  // Of a confirmed connection: its protocol, where `ends` are all else that its tuples say (IPv4
  // without a zone); kByTuple set where they aren't.
  uint16_t kind = 0;
  uint32_t mark = 0;
  std::array<Shortcut, 2> shortcut;  // by Direction
  // Of a confirmed IPv4 connection: its tuples, by Direction. What a table compares, and what
  // packets of the other direction are translated to.
  std::array<WireEnds, 2> ends;

  // Second line.
  union Protocol {
    TcpTracking tcp;
    UdpTracking udp;
    SctpTracking sctp;
    Protocol() : tcp{} {}
  } protocol;
  uint32_t pool_index = 0;

  // The others: what is wanted at a connection's beginning and end, and by the slow path.
  std::array<Tuple, 2>
      tuples;  // by Direction; the reply is the original's mirror unless translated
  std::array<PathMemo, 2> path;
  Connection* master = nullptr;
  Extension* extension = nullptr;
  uint32_t id = 0;  // conntrack's id=, unique among the living
  // MASQUERADE: the port whose address was used; net::kNoPort else.
  net::PortId masquerade_port = net::kNoPort;

  const Tuple& original() const { return tuples[0]; }
  const Tuple& reply() const { return tuples[1]; }
  const Tuple& tuple(Direction d) const { return tuples[static_cast<size_t>(d)]; }
  bool Has(Status bit) const { return (status & bit) != 0; }
  static constexpr uint16_t kByTuple = 0x100;
  // Of a confirmed connection: Key() says what tuple() does, and reads the first line alone.
  bool HasKeys() const { return (kind & kByTuple) == 0; }
  net::Ipv4Key Key(Direction d) const { return ends[static_cast<size_t>(d)].WithProtocol(kind); }
  // The tuples are final: `ends` and `kind` follow.
  void KeepEnds() {
    const bool wire = original().family == net::Family::kIpv4 && original().zone == 0;
    kind = original().protocol;
    if (!wire) kind |= kByTuple;
    if (wire) ends = {WireEnds(net::Ipv4Key(original())), WireEnds(net::Ipv4Key(reply()))};
  }
  // After a change that rules may read and `status` doesn't show (its mark): the next packet of
  // each direction walks the rules.
  void ForgetPaths() {
    shortcut = {};
    path = {};
  }
};
static_assert(offsetof(Connection, ends) == 40 && offsetof(Connection, protocol) == 64 &&
              offsetof(Connection, tuples) == 128);
static_assert(sizeof(Connection) == 256);

}  // namespace postern::ctrack

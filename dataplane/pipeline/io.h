// The pipeline's seams to the world: ports, host interfaces, other workers, the
// operator. Implemented by dataplane/dpdk in the daemon, by the replay engine
// (pipeline/offline.h) and by tests.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "ctrack/connection.h"
#include "ctrack/invalid.h"
#include "ctrack/tracker.h"
#include "dataplane/net/packet.h"
#include "dataplane/net/verdict.h"
#include "dataplane/rules/rule_set.h"

namespace postern::pipeline {

// Why a packet is handed to another worker, and so where that worker resumes.
enum class HandoffKind : uint8_t {
  kReceived,  // a frame (or reassembled datagram) from a port: from the beginning, without a new
              // choice of owner
  kFragment,  // a fragment, to the worker that reassembles its datagram
  kFromHost,  // an IP packet of the appliance itself
  kOwn,       // an error or reset that Postern itself sends about a packet without a connection
  kAttached,  // the same, about an untracked packet: NOTRACK has no say about it
  kNeighborCopy,  // an ARP or ND message that the sender has answered: learn only
};

// A reply tuple whose owner (OwnerMap) isn't the worker that holds the connection
// (DESIGN.md section 3). The holder can't see who else answers to the tuple: the owner arbitrates.
struct RemoteEntry {
  enum class Kind : uint8_t {
    kAsk,     // to the owner: may the holder have it? A packet waits for the answer
    kGrant,   // back to the holder: it is the holder's from now on
    kTaken,   // back to the holder: somebody else has it
    kAdd,     // to the owner: the holder has it
    kRefuse,  // back to the holder, after kAdd: somebody else has had it before
    kRemove,  // to the owner: the connection is gone
  };
  net::Tuple reply;
  uint16_t holder = 0;
  uint16_t claim = 0;  // the holder's: which packet waits
  Kind kind = Kind::kAdd;

  // A packet waits for it.
  bool IsUrgent() const { return kind <= Kind::kTaken; }
};

// Questions that a worker may have under way: with as many answers to another's, the most messages
// of theirs between two workers.
constexpr unsigned MostClaims(unsigned workers) {
  constexpr unsigned kAll = 1024;
  constexpr unsigned kLeast = 32;
  return workers == 1 ? 0 : std::max(kAll / workers, kLeast);
}

// A frame of which nothing is known yet, or which is ready to be sent: a buffer and the bytes in
// it.
struct Frame {
  uint8_t* data;           // first byte of the Ethernet header
  void* buffer;            // the BufferPool's own handle
  uint32_t length;         // 0 where the bytes are in several pieces: only Adopt() knows them then
  bool checksum_verified;  // the port has checked the transport checksum
};

class PipelineIo {
 public:
  virtual ~PipelineIo() = default;
  // A Packet of a received frame. False when there is no memory for that; the frame is then counted
  // and gone.
  virtual bool Adopt(const Frame& frame, net::PortId in_port, net::Packet* packet) = 0;
  // Finished frames from one port to another, in this order. Consumes them.
  virtual void TransmitFrames(net::PortId in_port, net::PortId out_port,
                              std::span<const Frame> frames) = 0;
  // A finished frame for packet->out_port. Consumes it.
  virtual void Transmit(net::Packet* packet) = 0;
  // A frame for the twin interface of port `twin`, with its Ethernet header. Consumes it.
  virtual void ToHost(net::PortId twin, net::Packet* packet) = 0;
  // Consumes the packet; the other worker gets it through Pipeline::ReceiveHandoff.
  virtual void Handoff(unsigned worker, HandoffKind kind, net::Packet* packet) = 0;
  // Tells another worker about a reply tuple that it owns but `message.holder` holds, or answers.
  // Must be seen there before packets that are handed over or received later, and after what was
  // told it before (through Pipeline::ReceiveRemoteEntry, never from within this call). There must
  // be room for twice MostClaims() urgent messages, whatever others are on their way.
  virtual void SendRemoteEntry(unsigned worker, const RemoteEntry& message) = 0;
  virtual net::BufferPool* pool() = 0;
};

// A packet of a LOG rule, or one that nf_conntrack_log_invalid tells of (`invalid` then says why):
// enough of it to write the kernel's line later.
struct LogRecord {
  static constexpr size_t kMaxBytes = 256;
  net::Time time = 0;
  uint8_t level = 4;
  uint8_t options = 0;
  char prefix[30] = {};
  ctrack::InvalidNote invalid;
  uint8_t protocol = 0;  // with `invalid`: the packet's
  net::Hook hook = net::Hook::kInput;
  net::PortId in = net::kNoPort;
  net::PortId out = net::kNoPort;
  uint32_t mark = 0;
  uint16_t l3_offset = 0;
  uint32_t l3_length = 0;  // of the whole datagram
  net::Family family = net::Family::kIpv4;
  uint16_t captured = 0;  // bytes in `bytes`, from the Ethernet header on
  uint8_t bytes[kMaxBytes] = {};
};

struct ConnRecord {
  net::Time time = 0;
  ctrack::ConnEvent event = ctrack::ConnEvent::kNew;
  uint32_t changes = 0;
  uint32_t reporter = 0;              // the client that asked for it; 0: a packet or time
  bool counted = false;               // nf_conntrack_acct was on
  std::array<uint64_t, 2> packets{};  // by Direction
  std::array<uint64_t, 2> bytes{};
  net::Time start = 0;            // nf_conntrack_timestamp; 0: not known
  ctrack::Connection connection;  // a copy; its pointers mean nothing
};

// Things that the operator may want to know. Called by the worker: must not allocate, lock or call
// the system; an implementation that has no room counts that.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void OnLog(const LogRecord& record) = 0;
  virtual bool WantsConnections() const = 0;
  virtual void OnConnection(const ConnRecord& record) = 0;
  // Table full, NAT exhausted, dead neighbour …: counted, and logged once an interval by the
  // control thread.
  virtual void OnTrouble(net::DropReason reason, net::Time now) = 0;
};

// What became of one input packet; for replay's events and for traces.
struct Outcome {
  net::Verdict verdict = net::Verdict::kDrop;
  net::DropReason reason = net::DropReason::kNone;
  ctrack::CtRef ct;         // valid during the call
  bool tracked = false;     // conntrack saw it (ct.info means something)
  bool remembered = false;  // it followed a remembered path instead of walking
};

class PacketObserver {
 public:
  virtual ~PacketObserver() = default;
  // At the end of the way of a packet that entered by a port or from the host; its bytes may
  // be gone. `path` holds the rules that matched, in order, policies included.
  virtual void OnOutcome(const net::Packet& packet, const Outcome& outcome,
                         const rules::PathBuilder& path) = 0;
  // A packet is lost: an input packet before it met a rule (then no outcome follows), after its
  // outcome (a dead neighbour, no twin), or one that Postern had made.
  virtual void OnDrop(const net::Packet& packet, net::DropReason reason) = 0;
};

}  // namespace postern::pipeline

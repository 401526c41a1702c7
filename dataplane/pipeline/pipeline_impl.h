// The inside of Pipeline. Its methods are spread over the files by the part of a packet's life
// that they tell:
//
//   receive.cc    link layer, parsing, reassembly, whose packet is it
//   hooks.cc      the hooks in netfilter's order, from PREROUTING to confirm
//   output.cc     what the appliance sends, from OUTPUT on
//   nat_hook.cc   the nat table and the translation of packets
//   claim.cc      reply tuples that another worker owns
//   memory.cc     remembered paths (DESIGN.md section 4)
//   renewal.cc    shortcuts after a change of rules or neighbours
//   established.cc  the established path: bursts, and packets that follow a shortcut
//   advance.cc    packets of known connections that have none, or that change their state
//   opening.cc    first packets whose like have walked
//   egress.cc     fragmentation, neighbours, ports and twins
//   self.cc       what Postern itself sends: ICMP errors, resets
//   host_side.cc  what the host's kernel sends through its twin interfaces
//   operator_side.cc  what the operator asks of the connections
//
// Invariant: a Packet* that is passed to a method that "consumes" it ends in the PipelineIo, in a
// queue (neighbour, reassembly, claims) or in Drop(), exactly once. An unconfirmed connection
// belongs to the one flight that made it and is released in Finish() if it wasn't confirmed.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>

#include "dataplane/pipeline/claim_room.h"
#include "dataplane/pipeline/established.h"
#include "dataplane/pipeline/flight.h"
#include "dataplane/pipeline/next_hops.h"
#include "dataplane/pipeline/openings.h"
#include "dataplane/pipeline/path_classes.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/pipeline/pool_tuples.h"
#include "dataplane/route/fragment.h"
#include "dataplane/route/icmp_error.h"
#include "dataplane/route/neighbor_table.h"
#include "nat/binding.h"
#include "nat/source_map.h"

namespace postern::pipeline {

class Pipeline::Impl final : private ctrack::ConnectionObserver,
                             private route::NeighborSink,
                             private route::FragmentSink,
                             private route::FragmentEmitter,
                             private rules::LogSink,
                             private rules::ConnectionFinder {
 public:
  explicit Impl(const Context& context);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void Adopt(const Snapshot* snapshot);
  void Receive(std::span<const Frame> frames, net::PortId in_port, net::Time now);
  void Receive(std::span<net::Packet> packets, net::Time now);
  void ReceiveHandoff(net::Packet* packet, HandoffKind kind, net::Time now);
  void ReceiveRemoteEntry(const RemoteEntry& entry, net::Time now);
  void ReceiveHost(net::Packet* packet, net::Time now);
  bool Tick(net::Time now);
  bool Owns(const net::Tuple& original) const;
  std::optional<ctrack::RequestOutcome> Insert(const ctrack::ConnectionRequest& request,
                                               const NatWish& nat, net::Time now);
  void SetReporter(uint32_t reporter) { reporter_ = reporter; }

  const Snapshot* snapshot() const { return snapshot_; }
  ctrack::Tracker& tracker() { return tracker_; }
  const PipelineStats& stats() const { return stats_; }

 private:
  struct Lane;  // lane.h

  // Of a packet that belongs to no connection.
  struct StrangerHashes {
    ctrack::TupleHashes tuples;  // its tuple and the mirror
    uint32_t source;             // in the map of sources, where there is a nat table
  };

  // What `conntrack -I` wants, as far as it has come; the control thread has one at a time.
  struct Insertion {
    enum Step : uint8_t { kDestination, kSource, kReply };
    Flight flight;  // without a packet; its connection is null when there is nothing to do
    Step step = kDestination;  // what is to be decided
  };

  // What the table said about a packet's tuple, if it was asked.
  struct Known {
    bool looked_up = false;
    ctrack::TableValue value;
    uint64_t table_changes = 0;  // table_changes_ at the time
    // What conntrack has said of the packet already, or null.
    const ctrack::TrackResult* tracked = nullptr;
  };

  // ---- receive.cc ----
  // True: go on with the packet. False: it was consumed (dropped, queued, handed over, ARP).
  bool Admit(net::Packet* packet, net::Time now, bool choose_owner);
  bool AcceptsFrame(const net::Packet& packet) const;
  bool HopByHopOk(net::Packet* packet, net::Time now);
  // Admit() for a packet that Recognise has found plain and this worker's own.
  bool AdmitPlain(net::Packet* packet, net::Family family);
  void HandleArp(net::Packet* packet, net::Time now);
  void CopyToOtherWorkers(const net::Packet& packet);
  bool ReassembleOrPass(net::Packet* packet, net::Time now, bool choose_owner);
  unsigned OwnerOf(const net::Packet& packet) const;
  void AnswerClaim(const RemoteEntry& entry);
  void Refuse(const net::Tuple& tuple);
  // As what a packet is handed over that has gone through nothing yet but raw.
  static HandoffKind KindOf(const Flight& f) {
    if (f.source == Source::kPort) return HandoffKind::kReceived;
    if (f.source == Source::kHost) return HandoffKind::kFromHost;
    return f.attached ? HandoffKind::kAttached : HandoffKind::kOwn;
  }
  bool HandOverToOwner(net::Packet* packet, HandoffKind kind, unsigned owner);
  bool HandOverToHolder(net::Packet* packet, HandoffKind kind, const Known& known);

  // ---- established.cc ----
  template <typename Whole>
  void ReceiveBurst(std::span<const Frame> frames, net::PortId in_port, net::Time now, Whole whole);
  void Recognise(std::span<const Frame> frames, net::PortId in_port);
  void AskForBuckets(size_t first, size_t count);
  void LookUp();
  void ResolveNext();
  // Of the packets in these places; the keys are others afterwards.
  void PrefetchAnswers(std::span<net::Ipv4Key> keys, std::span<const uint8_t> places);
  template <net::Family kFamily>
  bool Follow(Lane* lane, const Frame& frame, ctrack::TableValue value);
  template <net::Family kFamily>
  static bool ReadPacket(const Lane& lane, const Frame& frame, net::Packet* packet);
  bool HopOk(Lane* lane, NextHop* hop, uint32_t l3_length);
  template <net::Family kFamily>
  static bool ChecksumOk(const Lane& lane, const Frame& frame, uint8_t protocol, const uint8_t* l4,
                         uint32_t l4_length);
  static void ProveChecksum(const Lane& lane, const Frame& frame, net::Packet* packet);
  template <net::Family kFamily>
  void Pass(Lane* lane, const Frame& frame, ctrack::Connection* connection,
            net::Direction direction, const NextHop& hop, rules::PathId path, uint32_t l3_length);
  void Observe(const Lane& lane, ctrack::CtRef ct, rules::PathId path);
  void Flush(Lane* lane);
  enum class Progress : uint8_t {
    kNone,     // nothing has been done
    kTracked,  // conntrack has seen the packet, nothing else has been done
    kSent,
  };
  template <net::Family kFamily>
  Progress TakeShort(Lane* lane, const Frame& frame, size_t place, ctrack::TrackResult* tracked);
  // ---- advance.cc ----
  template <net::Family kFamily>
  Progress Advance(Lane* lane, const Frame& frame, ctrack::TableValue value,
                   ctrack::TrackResult* tracked);
  // The next hop of `connection`'s packets of this direction alone: no packet has such a status, so
  // nobody follows it.
  ctrack::Shortcut WayAlone(net::PortId in_port, uint16_t next_hop) const {
    return {ShortcutKey(epoch_, 0, in_port, 0), rules::kNoPath, next_hop};
  }
  // The raw table lets every received packet pass to conntrack, and changes nothing about it.
  bool RawPassesAll(net::Family family) const;
  bool KnowsWay(const ctrack::Shortcut& shortcut, net::PortId in_port) const;
  bool FindWay(const net::Packet& packet, net::Direction direction, net::Time now,
               ctrack::Connection* connection);
  // ---- opening.cc ----
  // `place`: of the frame in its burst.
  template <net::Family kFamily>
  Progress Open(Lane* lane, const Frame& frame, size_t place, ctrack::TrackResult* tracked);
  std::optional<route::RouteResult> PlainWay(const net::Packet& packet) const;
  bool Bind(const Openings::Answer& answer, const NextHop& hop, const StrangerHashes& hashes,
            ctrack::Connection* connection);
  void LearnOpening(const Flight& f);
  Openings::Key OpeningOf(net::PortId in_port, net::PortId out_port, const net::ParsedPacket& ip,
                          const net::Tuple& tuple) const;
  // ---- memory.cc ----
  // Such a packet might leave its way before its last hook.
  static bool MightBeRefused(const Flight& f);
  // The connection's next packet may follow a shortcut (established.cc knows its protocol).
  static bool MayShorten(const ctrack::Connection& connection, net::Time now);
  // The place of a route's next hop; kNone: its neighbour isn't known, or there is no room.
  uint16_t InternHop(const route::RouteResult& route, net::Family family, net::Time now);
  // The same, but what is known of the neighbour may be old: for who asks HopOk().
  uint16_t HopTowards(const route::RouteResult& route, net::Family family, net::Time now) {
    const uint16_t known = next_hops_.Find(route.port, family, route.next_hop);
    return known != NextHops::kNone ? known : InternHop(route, family, now);
  }
  // After the slow path has sent a packet by `route`: the next one of its kind may take the
  // shortcut.
  void LearnShortcut(const Flight& f);
  // ---- renewal.cc ----
  // Whether `next` differs in its rules alone.
  bool OnlyRulesDiffer(const Snapshot& next) const;
  // The shortcut was learned under other rules: makes it one of the present ones if these say the
  // same to all packets like this one and have said it already. `key`: what it should be, without
  // TCP flags.
  bool Renew(ctrack::Connection* connection, net::Direction direction, uint64_t key,
             uint8_t protocol, uint8_t tcp_flags);
  // What the rules have said to a packet that has walked, for Renew and Advance.
  void NoteClass(const Flight& f, uint16_t path, bool flags_matter);
  // After a change among the neighbours: false if this one isn't known any more.
  bool RefreshHop(NextHop* hop, net::Time now);

  // ---- hooks.cc ----
  void Ingress(net::Packet* packet, const Known& known, net::Time now);
  bool Prerouting(Flight& f, const Known& known);
  bool Track(Flight& f, net::Hook hook, const Known& known);
  void LogInvalid(const Flight& f, net::Hook hook);
  bool OptionsOk(Flight& f);
  bool RouteInput(Flight& f);
  net::DropReason CheckSource(const net::Packet& packet, const route::RouteResult& route) const;
  void RouteAndGo(Flight& f);
  void InputPath(Flight& f);
  void EnterHost(Flight& f);
  void ForwardPath(Flight& f);
  bool ForwardChecks(Flight& f);
  void LeaveForwarded(Flight& f);
  bool Postrouting(Flight& f);
  bool Confirm(Flight& f);
  void Announce(const ctrack::Connection* connection, bool asked);
  void TellOwners(const ctrack::Connection* connection, bool asked);
  // Walks a built-in chain; true when the packet goes on. Otherwise the flight is finished.
  bool Chain(Flight& f, net::Table table, net::Hook hook);
  rules::WalkResult Walk(Flight& f, net::Table table, net::Hook hook);
  void Refused(Flight& f, net::Hook hook, const rules::WalkResult& result);
  // The end of a flight whose packet goes on to the wire or the host (the caller then sends it).
  void Finish(Flight& f, net::Verdict verdict, net::DropReason reason);
  void Count(const Flight& f, const rules::PathBuilder& path);
  void Observe(Flight& f, net::Verdict verdict, net::DropReason reason);
  // Finishes and drops the packet.
  void FinishDrop(Flight& f, net::DropReason reason, net::Verdict verdict = net::Verdict::kDrop);

  // ---- output.cc ----
  void OutputPath(Flight& f);
  bool RouteAgain(Flight& f);
  void OutputAfterNat(Flight& f, const net::IpAddress& destination);
  void LeaveFromHost(Flight& f);
  void LoopBack(Flight& f);
  // The way of what the appliance itself sends (not first of all: a program may send anything).
  route::RouteResult RouteOut(const net::ParsedPacket& ip, net::PortId link) const;
  // The output interface as the rules see it.
  static net::PortId OutPort(const route::RouteResult& route);

  // ---- nat_hook.cc ----
  // HOOK2MANIP: sources change on the way out (and in, to us), destinations before routing.
  static constexpr net::Manip ManipAt(net::Hook hook) {
    return hook == net::Hook::kPostrouting || hook == net::Hook::kInput ? net::Manip::kSource
                                                                        : net::Manip::kDestination;
  }
  bool NatHook(Flight& f, net::Hook hook);
  bool NatChain(Flight& f, net::Hook hook);
  bool LeaveAsItIs(ctrack::Connection* connection, net::Manip manip);
  bool SetupNat(Flight& f, net::Hook hook, const net::NatRange& range);
  nat::Choice ChooseTuple(const ctrack::Connection* connection, net::Manip manip,
                          const net::NatRange& range, const net::Tuple& current, ClaimId claim,
                          const nat::SourceMap* sources, net::Time now);
  void TakeReply(ctrack::Connection* connection, net::Manip manip, const net::Tuple& translated,
                 const net::Tuple& reply);
  bool BindingFor(Flight& f, const rules::WalkResult& result, net::NatRange* range);
  bool TranslatePacket(Flight& f, net::Hook hook);
  bool TranslateIcmpError(Flight& f, net::Hook hook);

  // ---- claim.cc ----
  bool MayHave(Flight& f, net::Hook hook, const net::NatRange& range, const nat::Choice& choice,
               const net::Tuple& reply);
  void Ask(Flight& f, net::Hook hook, const net::NatRange& range, const net::Tuple& translated,
           const net::Tuple& reply);
  void TellOwner(const net::Tuple& reply, RemoteEntry::Kind kind, ClaimId claim = kNoClaim);
  void GiveBack(ClaimId id);
  void EndClaim(Flight& f);
  bool WasRefused(const Flight& f) const;
  bool WaitBehindClaim(net::Packet* packet, Source source);
  void Resume(ClaimId id, bool granted, net::Time now);
  void TakeFreed(net::Time now);
  void Continue(Flight& f, net::Hook hook, const net::IpAddress& destination);
  void LeaveRules();
  void StartAnew(Flight& f);

  // ---- memory.cc ----
  void TryRemembered(Flight& f, const Known& known);
  bool StillRemembered(Flight& f);
  void Remember(const Flight& f);

  // ---- egress.cc ----
  void SendOut(net::Packet* packet, const route::RouteResult& route, net::Time now);
  void Deliver(net::Packet* packet, net::PortId twin);
  uint32_t PathMtu(const route::RouteResult& route) const;
  void Drop(net::Packet* packet, net::DropReason reason) override;

  // ---- self.cc ----
  void SendError(const Flight& about, const route::IcmpError& what);
  void SendReset(const Flight& about, net::Hook hook);
  void Reject(Flight& f, net::Hook hook, rules::RejectWith with);
  void SendOwn(net::Packet* packet, const Flight& about);
  void GoOut(Flight& f);
  bool Attached(Flight& f, net::Hook hook);
  std::optional<net::IpAddress> ErrorSource(const Flight& about) const;

  // ---- host_side.cc ----
  void AnswerHostArp(net::Packet* packet);
  bool AnswerHostNd(net::Packet* packet);
  void Egress(net::Packet* packet, const Known& known, net::Time now);

  // ---- operator_side.cc ----
  bool DecideTuples(const NatWish& nat);
  bool Translate(net::Hook hook, const net::NatRange& range);
  ctrack::RequestOutcome ConfirmInsertion();
  ctrack::RequestOutcome EndInsertion(ctrack::RequestOutcome outcome);

  // ---- seams (pipeline.cc) ----
  void OnConnection(ctrack::ConnEvent event, uint32_t changes, const ctrack::Connection& connection,
                    net::Time now) override;
  void TellOwnersOfEnd(const ctrack::Connection& connection);
  // Out of line: few want to know.
  [[gnu::noinline]] void Report(ctrack::ConnEvent event, uint32_t changes,
                                const ctrack::Connection& connection, net::Time now);
  void OnClosed(ctrack::Connection& connection) override;
  void OnEndsAhead(std::span<ctrack::Connection* const> connections) override;
  void SendFrame(net::Packet* packet) override;
  void Unresolved(net::Packet* packet) override;
  void TimedOut(net::Packet* first) override;
  void Emit(net::Packet* fragment) override;
  void Log(const rules::LogTarget& target, const net::Packet& packet, net::Hook hook,
           net::PortId in, net::PortId out, net::Time now) override;
  const ctrack::Connection* FindConnection(const net::Tuple& tuple, net::Time now) override;

  const rules::RuleSet& rules() const { return *snapshot_->rules; }
  static constexpr size_t IndexOf(net::Family family) {
    return family == net::Family::kIpv4 ? 0 : 1;
  }
  bool HasTable(net::Family family, net::Table table) const {
    return ((tables_[IndexOf(family)] >> static_cast<unsigned>(table)) & 1) != 0;
  }
  const route::RouteTable& routes() const { return *snapshot_->routes; }
  rules::WorkerRules& worker_rules() const { return *snapshot_->worker_rules[context_.worker]; }
  rules::PathBuilder* BeginPath();

  // A burst on its way through the stages; here because it is large and needs no initial value.
  struct Burst {
    std::array<net::Ipv4Key, kMaxBurst> ipv4;
    std::array<net::Tuple, kMaxBurst> ipv6;
    std::array<uint32_t, kMaxBurst> ipv4_hash;
    std::array<uint32_t, kMaxBurst> ipv4_candidate;
    std::array<uint8_t, kMaxBurst> ipv4_place;  // which frame a key is of
    std::array<uint8_t, kMaxBurst> ipv6_place;
    size_t ipv4_count = 0;
    size_t ipv6_count = 0;
    size_t ipv4_resolved = 0;                   // keys
    size_t ipv4_unresolved_from = 0;            // the first frame of the others
    std::array<net::Family, kMaxBurst> family;  // by frame; kNotPlain: nothing is known
    std::array<ctrack::TableValue, kMaxBurst> value;
    std::array<StrangerHashes, kMaxBurst> hashes;  // of those that have no value
  };
  static constexpr auto kNotPlain = static_cast<net::Family>(0);
  Burst burst_;
  NextHops next_hops_;
  // Shortcuts of another epoch can't be followed. 0 is what a connection has that never learned
  // one.
  uint32_t epoch_ = 0;
  uint32_t renewable_from_ = 0;  // those since this epoch are wrong in their paths at most
  PathClasses classes_;
  Openings openings_;
  std::array<uint8_t, 2> tables_{};    // by family: the rule set's tables, by bit
  std::array<bool, 2> may_advance_{};  // by family: Advance() has its chance
  std::array<bool, 2> may_open_{};     // by family: Open() has its chance
  bool has_connlimit_ = false;         // the rule set

  const Context context_;
  const Snapshot* snapshot_ = nullptr;
  net::Rng rng_;
  ctrack::Tracker tracker_;
  const PoolTuples pool_tuples_;
  nat::SourceMap sources_;
  ClaimRoom claims_;
  Insertion insertion_;
  route::NeighborTable neighbors_;
  route::Reassembler reassembler_;

  // A flight may start another one (an ICMP error about it); nothing goes deeper.
  std::array<rules::PathBuilder, 3> paths_;
  unsigned path_depth_ = 0;

  net::Time now_ = 0;  // of the current call, for the seams that aren't told
  net::Time last_tick_ = 0;
  uint32_t last_source_ = 0;  // IPv4, wire: what a source was last translated to
  uint64_t table_changes_ =
      0;  // inserts and removals: a bulk lookup's answer is good only between them
  uint32_t remote_entries_ = 0;              // in the table
  net::PortId fragment_out_ = net::kNoPort;  // while Fragment() emits
  route::RouteResult fragment_route_;
  bool fragment_to_host_ = false;
  uint32_t reporter_ = 0;  // who asks for what happens now; 0: packets and time
  PipelineStats stats_;
};

}  // namespace postern::pipeline

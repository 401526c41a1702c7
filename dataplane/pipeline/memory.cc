// Remembered paths: the fast path as a cache of the rules (DESIGN.md section 4).
//
// A connection keeps, per direction, the path that its last packet took and a key of everything
// that the path depended on. A later packet with the same key raises the path's one counter instead
// of walking. Conntrack, translation, TTL and routing are done for every packet; only the walks are
// saved.
//
// Invariant: a packet follows a remembered path only if walking would raise the same counters and
// give the same verdict. So it must belong to a confirmed connection, be no ICMP error, reach the
// same hooks (its TTL and size let it pass), and nothing that it depends on may have changed:
//   the snapshot (rules, routes, ports)  PathMemo::generation
//   in port, ctinfo, status bits         PathMemo::key
//   TCP flags, where a rule read them    PathMemo::key
#include <algorithm>

#include "dataplane/net/checksum.h"
#include "dataplane/pipeline/established.h"
#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {
namespace {

using ctrack::CtInfo;

// Key layout: in port 0-6, ctinfo 7-9, status bits 10-21, TCP flags 22-29, flags matter 30.
constexpr uint32_t kPortMask = 0x7f;
constexpr unsigned kInfoShift = 7;
constexpr unsigned kStatusShift = 10;
constexpr unsigned kFlagsShift = 22;
constexpr uint32_t kFlagsMatter = 1U << 30;
constexpr uint32_t kFlagsMask = 0xffU << kFlagsShift;
// Status bits that a rule can read (--ctstatus, --ctstate SNAT,DNAT).
constexpr uint32_t kReadableStatus = ctrack::kExpected | ctrack::kSeenReply | ctrack::kAssured |
                                     ctrack::kConfirmed | ctrack::kSrcNat | ctrack::kDstNat;

uint32_t EntryKey(const net::Packet& packet, uint32_t flags_matter) {
  uint32_t key = (packet.in_port & kPortMask) | flags_matter;
  if (flags_matter != 0) key |= uint32_t{packet.ip.tcp_flags} << kFlagsShift;
  return key;
}

uint32_t FullKey(const Flight& f, uint32_t flags_matter) {
  return EntryKey(*f.packet, flags_matter) | (static_cast<uint32_t>(f.ct.info) << kInfoShift) |
         ((f.ct.connection->status & kReadableStatus) << kStatusShift);
}
constexpr uint32_t kEntryMask = kPortMask | kFlagsMatter | kFlagsMask;

// NAT can't translate it, which it finds out at the first hook that tries.
bool IsStrangeGre(const net::ParsedPacket& ip, const net::Packet& packet) {
  return ip.protocol == net::kProtoGre && (ip.L4Length() < 8 || (packet.L4()[1] & 0x07) > 1);
}

}  // namespace

bool Pipeline::Impl::MightBeRefused(const Flight& f) {
  const net::Packet& packet = *f.packet;
  const auto* ethernet = packet.At<net::EthernetHeader>(0);
  return packet.ip.ttl <= 1 || packet.largest_fragment != 0 || packet.ip.has_options ||
         ethernet == nullptr || ethernet->destination.IsMulticast() ||
         IsStrangeGre(packet.ip, packet);
}

// Before raw: the parts of the key that are known without conntrack. The raw table can't see more.
void Pipeline::Impl::TryRemembered(Flight& f, const Known& known) {
  if (!snapshot_->fast_path || !known.looked_up || known.table_changes != table_changes_) return;
  ctrack::Connection* connection = known.value.connection();
  if (connection == nullptr || MightBeRefused(f)) return;
  const ctrack::PathMemo& memo = connection->path[static_cast<size_t>(known.value.direction())];
  if (memo.path == rules::kNoPath || memo.generation != snapshot_->generation) return;
  if (f.packet->ip.l3_length > memo.max_length) return;
  if (EntryKey(*f.packet, memo.key & kFlagsMatter) != (memo.key & kEntryMask)) return;
  f.remembered = memo.path;
}

// After conntrack: the rest of the key. Where it differs, the packet walks; the raw table, whose
// answer is known (it passed, tracked), is walked for its counters.
bool Pipeline::Impl::StillRemembered(Flight& f) {
  if (f.remembered == rules::kNoPath) return true;
  if (f.ct.connection != nullptr && !f.unconfirmed &&
      (f.ct.info == CtInfo::kEstablished || f.ct.info == CtInfo::kEstablishedReply ||
       f.ct.info == CtInfo::kNew)) {
    const ctrack::PathMemo& memo =
        f.ct.connection->path[static_cast<size_t>(ctrack::DirectionOf(f.ct.info))];
    if (memo.path == f.remembered && memo.generation == snapshot_->generation &&
        memo.key == FullKey(f, memo.key & kFlagsMatter)) {
      return true;
    }
  }
  f.remembered = rules::kNoPath;
  const ctrack::CtRef tracked = f.ct;
  f.ct = {};
  const bool passed = Chain(f, net::Table::kRaw, net::Hook::kPrerouting);
  f.ct = tracked;
  return passed;
}

void Pipeline::Impl::Remember(const Flight& f) {
  constexpr uint16_t kAllowed =
      rules::kDependsTcpFlags | rules::kDependsCtStatus | rules::kDependsTuple;
  if (!snapshot_->fast_path || f.ct.connection == nullptr || f.unconfirmed || f.nat_walked ||
      f.source != Source::kPort || f.path->overflow || (f.path->depends & ~kAllowed) != 0 ||
      MightBeRefused(f) || !f.confirmed_before) {
    return;
  }
  if (f.ct.info != CtInfo::kEstablished && f.ct.info != CtInfo::kEstablishedReply &&
      f.ct.info != CtInfo::kNew) {
    return;
  }
  const rules::PathId path = worker_rules().Intern({f.path->rules, f.path->size});
  if (path == rules::kNoPath || path > UINT16_MAX) return;
  ctrack::PathMemo& memo =
      f.ct.connection->path[static_cast<size_t>(ctrack::DirectionOf(f.ct.info))];
  const uint32_t flags_matter = (f.path->depends & rules::kDependsTcpFlags) != 0 ? kFlagsMatter : 0;
  memo.path = static_cast<uint16_t>(path);
  memo.generation = snapshot_->generation;
  memo.key = FullKey(f, flags_matter);
  memo.max_length = static_cast<uint16_t>(f.route.kind == route::RouteKind::kUnicast
                                              ? std::min<uint32_t>(PathMtu(f.route), 65535)
                                              : 65535);
}

bool Pipeline::Impl::MayShorten(const ctrack::Connection& connection, net::Time now) {
  constexpr uint32_t kUnusual =
      ctrack::kFixedTimeout | ctrack::kHelper | ctrack::kSeqAdjust | ctrack::kDying;
  if ((connection.status & kUnusual) != 0 || !connection.Has(ctrack::kConfirmed)) return false;
  switch (connection.kind & 0xff) {
    case net::kProtoTcp:
      return connection.Has(ctrack::kAssured) && connection.Has(ctrack::kSeenReply) &&
             connection.protocol.tcp.state == ctrack::TcpState::kEstablished;
    case net::kProtoUdp:
      return !connection.Has(ctrack::kAssured) ||
             (connection.Has(ctrack::kSeenReply) && now > connection.protocol.udp.stream_at);
    default:
      return false;
  }
}

uint16_t Pipeline::Impl::InternHop(const route::RouteResult& route, net::Family family,
                                   net::Time now) {
  const net::MacAddress* mac = neighbors_.Find(route.port, family, route.next_hop, now);
  if (mac == nullptr) return NextHops::kNone;
  NextHop hop;
  hop.ethernet.destination = *mac;
  hop.ethernet.source = routes().port(route.port).mac;
  hop.ethernet.type = family == net::Family::kIpv4 ? net::kEtherTypeIpv4 : net::kEtherTypeIpv6;
  hop.out_port = route.port;
  hop.family = family;
  hop.mtu = PathMtu(route);
  hop.generation = neighbors_.generation();
  hop.address = route.next_hop;
  if (family == net::Family::kIpv4) {
    hop.source = routes().SourceFor(route.port, family, route.next_hop);
  }
  return next_hops_.Intern(hop);
}

// Where the next packet of this kind would do the same, it needn't ask.
void Pipeline::Impl::LearnShortcut(const Flight& f) {
  ctrack::Connection* connection = f.ct.connection;
  if (connection == nullptr || f.source != Source::kPort || f.nat_walked || MightBeRefused(f) ||
      f.route.kind != route::RouteKind::kUnicast) {
    return;
  }
  const size_t direction = static_cast<size_t>(ctrack::DirectionOf(f.ct.info));
  const ctrack::PathMemo& memo = connection->path[direction];
  const uint32_t flags_matter = memo.key & kFlagsMatter;
  if (memo.path == rules::kNoPath || memo.generation != snapshot_->generation ||
      memo.key != FullKey(f, flags_matter)) {
    return;
  }
  if (f.remembered == rules::kNoPath) NoteClass(f, memo.path, flags_matter != 0);
  const net::Packet& packet = *f.packet;
  if (!MayShorten(*connection, f.now)) return;
  ctrack::Shortcut shortcut;
  shortcut.next_hop = InternHop(f.route, packet.ip.family, f.now);
  if (shortcut.next_hop == NextHops::kNone) return;
  shortcut.path = memo.path;
  shortcut.key = ShortcutKey(epoch_, connection->status, packet.in_port,
                             flags_matter != 0 ? packet.ip.tcp_flags : uint8_t{0});
  connection->shortcut[direction] = shortcut;
}

}  // namespace postern::pipeline

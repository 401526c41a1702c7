// Shortcuts after a change (established.h).
//
// When rules change, the paths of all connections are wrong at once, but nothing else of their
// shortcuts: the way, the translation and the neighbour are as they were. If every connection had
// to walk again, all would do so in the same few milliseconds, at a fraction of the rate at which
// they come. Most of them needn't: an established packet that is accepted before any rule looks at
// addresses or ports takes the path of all others of its class, so the first one that walks
// answers for them.
//
// Invariant: a renewed shortcut is the one that walking would have left there. The class holds all
// that such a walk can read (path_classes.h); Remember() and LearnShortcut() have refused whatever
// depends on more.
#include "dataplane/net/wire.h"
#include "dataplane/pipeline/established.h"
#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {

using ctrack::Shortcut;

bool Pipeline::Impl::OnlyRulesDiffer(const Snapshot& next) const {
  return snapshot_->fast_path && next.fast_path && snapshot_->routes == next.routes &&
         snapshot_->neighbors == next.neighbors && snapshot_->forward_ipv4 == next.forward_ipv4 &&
         snapshot_->forward_ipv6 == next.forward_ipv6 &&
         snapshot_->reverse_path_filter == next.reverse_path_filter;
}

bool Pipeline::Impl::Renew(ctrack::Connection* connection, net::Direction direction, uint64_t key,
                           uint8_t protocol, uint8_t tcp_flags) {
  Shortcut& shortcut = connection->shortcut[static_cast<size_t>(direction)];
  const uint64_t old = shortcut.key;
  const uint32_t age = epoch_ - static_cast<uint32_t>(old);
  if (age == 0 || age > epoch_ - renewable_from_) return false;
  // Status and in port.
  constexpr uint64_t kSame = uint64_t{0xff'ffff} << 32;
  if (((old ^ key) & kSame) != 0) return false;
  const NextHop& hop = next_hops_.At(shortcut.next_hop);
  const PathClasses::Path* known = classes_.Find(
      PathClasses::Key(key >> 32, hop.out_port, hop.family, protocol, direction), tcp_flags);
  if (known == nullptr) return false;
  shortcut.path = known->path;
  shortcut.key = known->flags_matter ? key | uint64_t{tcp_flags} << 56 : key;
  return true;
}

void Pipeline::Impl::NoteClass(const Flight& f, uint16_t path, bool flags_matter) {
  const net::ParsedPacket& ip = f.packet->ip;
  if ((f.path->depends & rules::kDependsTuple) != 0 ||
      (ip.protocol != net::kProtoTcp && ip.protocol != net::kProtoUdp)) {
    return;
  }
  const uint64_t key = ShortcutKey(0, f.ct.connection->status, f.packet->in_port, 0);
  classes_.Set(PathClasses::Key(key >> 32, f.route.port, ip.family, ip.protocol,
                                ctrack::DirectionOf(f.ct.info)),
               ip.tcp_flags, {path, flags_matter});
}

bool Pipeline::Impl::RefreshHop(NextHop* hop, net::Time now) {
  const net::MacAddress* mac = neighbors_.Find(hop->out_port, hop->family, hop->address, now);
  if (mac == nullptr) return false;
  hop->ethernet.destination = *mac;
  // To have looked may have changed it.
  hop->generation = neighbors_.generation();
  return true;
}

}  // namespace postern::pipeline

#include "control/conntrack_filter.h"

namespace postern::control {
namespace {

using net::Tuple;

bool InPrefix(const std::optional<net::Prefix>& prefix, const Tuple& tuple,
              const net::IpAddress& address) {
  return !prefix || (prefix->family == tuple.family && prefix->Contains(address));
}

template <typename T, typename V>
bool Same(const std::optional<T>& wanted, V value) {
  return !wanted || *wanted == value;
}

// What a translated half became: the reply's address and port in its place.
bool NatHalf(const ConntrackFilter::Nat& nat, net::Family family, const net::IpAddress& before,
             const net::IpAddress& after, uint16_t port_before, uint16_t port_after) {
  const bool address_changed = before != after;
  const bool port_changed = port_before != port_after;
  if (!address_changed && !port_changed) return false;
  if (nat.address && (*nat.address_family != family || !(after == *nat.address))) return false;
  return Same(nat.port, port_after);
}

bool MatchesNat(const ConntrackFilter::Nat& nat, const ctrack::Connection& c) {
  const Tuple& o = c.original();
  const Tuple& r = c.reply();
  const bool ports = net::HasPorts(o.protocol);
  // Keys of other protocols change with the direction, not only with translation.
  const uint16_t r_destination_port = ports ? r.destination_key : 0;
  const uint16_t r_source_port = ports ? r.source_key : 0;
  const uint16_t o_source_port = ports ? o.source_key : 0;
  const uint16_t o_destination_port = ports ? o.destination_key : 0;
  if (nat.source &&
      NatHalf(nat, o.family, o.source, r.destination, o_source_port, r_destination_port)) {
    return true;
  }
  return nat.destination &&
         NatHalf(nat, o.family, o.destination, r.source, o_destination_port, r_source_port);
}

}  // namespace

bool ConntrackFilter::Matches(const ctrack::Connection& c) const {
  const Tuple& o = c.original();
  const Tuple& r = c.reply();
  if (!Same(family, o.family) || !Same(protocol, o.protocol) || !Same(zone, o.zone)) return false;
  if (!InPrefix(orig_source, o, o.source) || !InPrefix(orig_destination, o, o.destination) ||
      !InPrefix(reply_source, r, r.source) || !InPrefix(reply_destination, r, r.destination)) {
    return false;
  }
  if (!Same(orig_source_port, o.source_key) || !Same(orig_destination_port, o.destination_key) ||
      !Same(reply_source_port, r.source_key) || !Same(reply_destination_port, r.destination_key)) {
    return false;
  }
  if (!Same(icmp_type, o.IcmpType()) || !Same(icmp_code, o.IcmpCode()) ||
      !Same(icmp_id, o.source_key)) {
    return false;
  }
  if (!Same(state, c.protocol.tcp.state)) return false;  // only given with -p tcp
  if ((c.status & status) != status) return false;
  if (mark && (c.mark & mark_mask) != *mark) return false;
  return !nat || MatchesNat(*nat, c);
}

}  // namespace postern::control

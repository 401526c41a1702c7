#include "control/conntrack_filter.h"

#include <arpa/inet.h>

#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using ctrack::Connection;
using net::IpAddress;
using net::Tuple;

template <typename T, typename V>
bool Same(const std::optional<T>& wanted, const V& value) {
  return !wanted || *wanted == value;
}

bool IsIcmp(uint8_t protocol) {
  return protocol == net::kProtoIcmp || protocol == net::kProtoIcmpv6;
}

// One half of the original tuple and what the answers have in its place.
struct Half {
  bool decided;
  IpAddress before, after;
  uint16_t port_before, port_after;
};

Half SourceHalf(const Connection& c) {
  // Keys of other protocols change with the direction, not only with translation.
  const bool ports = net::HasPorts(c.original().protocol);
  return {c.Has(ctrack::kSrcNatDone), c.original().source, c.reply().destination,
          ports ? c.original().source_key : uint16_t{0},
          ports ? c.reply().destination_key : uint16_t{0}};
}

Half DestinationHalf(const Connection& c) {
  const bool ports = net::HasPorts(c.original().protocol);
  return {c.Has(ctrack::kDstNatDone), c.original().destination, c.reply().source,
          ports ? c.original().destination_key : uint16_t{0},
          ports ? c.reply().source_key : uint16_t{0}};
}

bool IsTranslated(const NatFilter& filter, const Half& half) {
  if (!half.decided) return false;
  const bool address = half.before != half.after;
  const bool port = half.port_before != half.port_after;
  if (!filter.address && !filter.port) return address || port;
  if (filter.address && (!address || half.after != *filter.address)) return false;
  return !filter.port || (port && half.port_after == *filter.port);
}

bool InNetwork(const std::optional<IpAddress>& network, const std::optional<IpAddress>& mask,
               const IpAddress& address) {
  if (!network) return true;
  return mask ? (address & *mask) == (*network & *mask) : address == *network;
}

// The types of queries: what another type would be answered by, nobody knows.
bool HasAnswer(const Tuple& tuple) { return net::Mirror(tuple).has_value(); }

// The command completes what it isn't told by the other direction's mirror, and sends ports
// wherever it sends such a tuple.
std::optional<Tuple> TupleFrom(const ConntrackFilter& filter, const TupleFilter& direction) {
  if (!filter.family || !filter.protocol || !direction.source || !direction.destination) {
    return std::nullopt;
  }
  Tuple tuple;
  tuple.family = *filter.family;
  tuple.protocol = *filter.protocol;
  tuple.source = *direction.source;
  tuple.destination = *direction.destination;
  tuple.source_key = direction.source_key.value_or(0);
  tuple.destination_key = direction.destination_key.value_or(0);
  tuple.zone = filter.zone.value_or(0);
  if (IsIcmp(tuple.protocol)) {
    tuple.source_key = filter.icmp_id.value_or(0);
    tuple.destination_key = static_cast<uint16_t>(uint16_t{filter.icmp_type.value_or(0)} << 8 |
                                                  filter.icmp_code.value_or(0));
  }
  return HasAnswer(tuple) ? std::optional(tuple) : std::nullopt;
}

uint32_t SecondsLeft(const Connection& connection, net::Time now) {
  return connection.expires > now ? static_cast<uint32_t>((connection.expires - now) / net::kSecond)
                                  : 0;
}

net::NatRange RangeOf(const NatFilter& nat) {
  net::NatRange range;
  if (nat.address) {
    range.has_address = true;
    range.first_address = range.last_address = *nat.address;
  }
  if (nat.port) {
    range.has_ports = true;
    range.ports = {*nat.port, *nat.port};
  }
  return range;
}

}  // namespace

bool TupleFilter::Matches(const Tuple& tuple) const {
  return Same(source, tuple.source) && Same(destination, tuple.destination) &&
         Same(source_key, tuple.source_key) && Same(destination_key, tuple.destination_key);
}

bool ConntrackFilter::Matches(const Connection& c, net::Time now) const {
  if (!MatchesTuples(c) || !MatchesNat(c)) return false;
  if (!Same(id, c.id) || !Same(timeout, SecondsLeft(c, now))) return false;
  // Only given with -p of their protocol.
  if (!Same(state, c.protocol.tcp.state) || !Same(sctp_state, c.protocol.sctp.state)) return false;
  if (status) {
    if ((c.status & *status) != *status) return false;
    if ((c.status & status_mask) != (*status & status_mask)) return false;
  }
  return !mark || (c.mark & mark_mask) == *mark;
}

bool ConntrackFilter::MatchesForUpdate(const Connection& c) const {
  return MatchesTuples(c) && MatchesNat(c) && Same(id, c.id);
}

bool ConntrackFilter::MatchesTuples(const Connection& c) const {
  const Tuple& o = c.original();
  if (!Same(family, o.family) || !Same(protocol, o.protocol)) return false;
  if (!Same(zone, o.zone) || !Same(original_zone, o.zone) || !Same(reply_zone, c.reply().zone)) {
    return false;
  }
  TupleFilter exact = original;
  exact.source.reset();
  exact.destination.reset();
  if (!MatchesNetworks(o) || !exact.Matches(o) || !reply.Matches(c.reply())) return false;
  return Same(icmp_type, o.IcmpType()) && Same(icmp_code, o.IcmpCode()) &&
         Same(icmp_id, o.source_key);
}

bool ConntrackFilter::MatchesNetworks(const Tuple& o) const {
  return InNetwork(original.source, source_mask, o.source) &&
         InNetwork(original.destination, destination_mask, o.destination);
}

bool ConntrackFilter::MatchesNat(const Connection& c) const {
  if (source_nat && !IsTranslated(*source_nat, SourceHalf(c))) return false;
  if (destination_nat && !IsTranslated(*destination_nat, DestinationHalf(c))) return false;
  return !any_nat || IsTranslated(*any_nat, SourceHalf(c)) ||
         IsTranslated(*any_nat, DestinationHalf(c));
}

std::optional<ctrack::ConnectionRequest> ConntrackFilter::Update(const Connection& c,
                                                                 net::Time now) const {
  ctrack::ConnectionRequest request;
  bool changes = false;
  const auto want = [&changes](auto* field, const auto& value, bool new_value) {
    *field = value;
    changes = changes || new_value;
  };
  if (timeout) want(&request.timeout, *timeout, *timeout != SecondsLeft(c, now));
  if (status) want(&request.status, c.status | *status, (c.status & *status) != *status);
  if (state) want(&request.tcp_state, *state, *state != c.protocol.tcp.state);
  if (mark) {
    const uint32_t next = (c.mark & ~mark_mask) ^ *mark;
    want(&request.mark, next, next != c.mark);
  }
  return changes ? std::optional(request) : std::nullopt;
}

std::optional<Tuple> ConntrackFilter::Key() const { return TupleFrom(*this, original); }

// The direction that isn't given is the other one's mirror.
std::optional<ctrack::ConnectionRequest> ConntrackFilter::Insertion() const {
  const bool icmp = IsIcmp(protocol.value_or(0));
  const bool both = original.has_addresses() && reply.has_addresses();
  const bool keys = net::HasPorts(protocol.value_or(0)) || protocol == net::kProtoGre;
  if (both && keys && (!original.source_key || !reply.source_key)) return std::nullopt;
  std::optional<Tuple> forth = TupleFrom(*this, original);
  std::optional<Tuple> back = icmp ? std::nullopt : TupleFrom(*this, reply);
  if (!forth && back) forth = net::Mirror(*back);
  if (!back && forth) back = net::Mirror(*forth);
  if (!forth || !back) return std::nullopt;
  // ICMP's type and code are the original direction's; its reply differs by addresses alone.
  if (icmp && both) {
    back->source = *reply.source;
    back->destination = *reply.destination;
  }
  ctrack::ConnectionRequest request;
  request.original = *forth;
  request.reply = *back;
  request.timeout = timeout;
  request.status = status;
  request.mark = mark;
  if (forth->protocol == net::kProtoTcp) request.tcp_state = state;
  if (forth->protocol == net::kProtoSctp && sctp_state) {
    request.sctp.emplace();
    request.sctp->state = *sctp_state;
    request.sctp->tag = {htonl(original_tag), htonl(reply_tag)};
  }
  return request;
}

pipeline::NatWish ConntrackFilter::Wish() const {
  pipeline::NatWish wish;
  if (source_nat) wish.source = RangeOf(*source_nat);
  if (destination_nat) wish.destination = RangeOf(*destination_nat);
  return wish;
}

}  // namespace postern::control

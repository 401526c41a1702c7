#include "dataplane/rules/classify/bounds.h"

#include <bit>

namespace postern::rules {

namespace {

constexpr ValueSet kAnyValue = {~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}};
constexpr uint16_t kStates[] = {kCtStateInvalid, kCtStateEstablished, kCtStateRelated, kCtStateNew,
                                kCtStateUntracked};

void Put(ValueSet* set, uint8_t value) { (*set)[value / 64] |= uint64_t{1} << (value % 64); }

// A mask with holes is bounded by the prefix before its first hole.
PrefixBound PrefixOf(const AddressMatch& match) {
  if (match.invert) return {};
  unsigned length = 0;
  for (int i = 0; i < 4; ++i) {
    const auto ones = static_cast<unsigned>(std::countl_one(match.mask.Word(i)));
    length += ones;
    if (ones != 32) break;
  }
  return {match.address, length};
}

ValueSet ProtocolsOf(const IpPart& part) {
  if (part.protocol == 0) return kAnyValue;
  ValueSet set{};
  Put(&set, part.protocol);
  if (part.Has(IpPart::kInvertProtocol)) {
    for (uint64_t& word : set) word = ~word;
  }
  return set;
}

ValueSet InterfacesOf(uint64_t ports, bool none) {
  ValueSet set{ports};
  if (none) Put(&set, kNoInterface);
  return set;
}

// The states that let a --ctstate or --state pass.
ValueSet StatesOf(uint16_t wanted, bool invert) {
  // A connection may be SNAT or DNAT beside its state, and becomes so on its way.
  if ((wanted & (kCtStateSnat | kCtStateDnat)) != 0) return kAnyValue;
  ValueSet set{};
  for (const uint16_t state : kStates) {
    if (((wanted & state) != 0) != invert) Put(&set, StateValue(state));
  }
  return set;
}

ValueSet Both(const ValueSet& a, const ValueSet& b) {
  return {a[0] & b[0], a[1] & b[1], a[2] & b[2], a[3] & b[3]};
}

// Reads a rule's matches from the left for as long as they only read.
class MatchReader {
 public:
  MatchReader(bool by_state, RuleBounds* bounds) : by_state_(by_state), bounds_(*bounds) {}

  // False: nothing behind this match sets a bound.
  bool operator()(const TcpMatch& match) {
    // These two drop a packet whose header isn't whole (xt_tcpudp).
    if (match.option != 0 || match.invert_option || match == TcpMatch{}) return false;
    Ports(match);
    return true;
  }
  bool operator()(const UdpMatch& match) {
    if (match == UdpMatch{}) return false;
    Ports(match);
    return true;
  }
  bool operator()(const MultiportMatch& match) {
    // It drops a packet that ends before its ports.
    plain_no_ = false;
    if (match.invert) return true;
    if (match.which == MultiportMatch::Which::kSource) Port(match.ports, &bounds_.source_port);
    if (match.which == MultiportMatch::Which::kDestination) {
      Port(match.ports, &bounds_.destination_port);
    }
    return true;
  }
  bool operator()(const ConntrackMatch& match) {
    if ((match.fields & ConntrackMatch::kState) != 0) {
      State(match.state, (match.inverted & ConntrackMatch::kState) != 0);
    }
    return true;
  }
  bool operator()(const StateMatch& match) {
    State(match.state, match.invert);
    return true;
  }
  bool operator()(const CommentMatch&) { return true; }
  bool operator()(const MarkMatch&) { return true; }
  // Everything else may change something or drop the packet.
  template <typename Other>
  bool operator()(const Other&) {
    return false;
  }

 private:
  template <typename Match>
  void Ports(const Match& match) {
    if (!match.invert_source) Port({&match.source, 1}, &bounds_.source_port);
    if (!match.invert_destination) Port({&match.destination, 1}, &bounds_.destination_port);
  }
  // The first bound of a port is as good as any; both must hold.
  void Port(std::span<const PortRange> ranges, PortBounds* bound) const {
    if (!bound->ranges.empty() || ranges.empty() || ranges[0].IsAll()) return;
    *bound = {ranges, !plain_no_};
  }
  void State(uint16_t wanted, bool invert) {
    if (by_state_) bounds_.states = Both(bounds_.states, StatesOf(wanted, invert));
  }

  const bool by_state_;
  RuleBounds& bounds_;
  // So far a packet without ports would have got a plain no.
  bool plain_no_ = true;
};

}  // namespace

RuleBounds BoundsOf(const Rule& rule, const IpPart& part, bool by_state) {
  RuleBounds bounds;
  bounds.source = PrefixOf(rule.ip.source);
  bounds.destination = PrefixOf(rule.ip.destination);
  bounds.protocols = ProtocolsOf(part);
  bounds.in_ports = InterfacesOf(part.in_ports, part.Has(IpPart::kNoIn));
  bounds.out_ports = InterfacesOf(part.out_ports, part.Has(IpPart::kNoOut));
  bounds.states = kAnyValue;
  MatchReader reader(by_state, &bounds);
  for (const Match& match : rule.matches) {
    if (!std::visit(reader, match)) break;
  }
  // Ports are the same for all packets of a connection only where the protocol has ports.
  const bool has_ports = net::HasPorts(part.protocol) && !part.Has(IpPart::kInvertProtocol);
  if (!has_ports) bounds.source_port = bounds.destination_port = {};
  return bounds;
}

}  // namespace postern::rules

#include "dataplane/rules/matches/connlimit.h"

#include <optional>

#include "dataplane/net/wire.h"
#include "dataplane/rules/compiled.h"

namespace postern::rules {

namespace {

// A tick of the kernel that the comparison runs on (250 Hz).
constexpr net::Time kTick = 4 * net::kMillisecond;

// The tuple that the kernel makes of a packet without a connection (nf_ct_get_tuplepr): unlike
// conntrack's own it also exists for ICMP errors.
std::optional<net::Tuple> TupleFor(const net::Packet& packet) {
  const net::ParsedPacket& ip = packet.ip;
  const bool icmp = (ip.protocol == net::kProtoIcmp && ip.family == Family::kIpv4) ||
                    (ip.protocol == net::kProtoIcmpv6 && ip.family == Family::kIpv6);
  const bool ports = net::HasPorts(ip.protocol);
  constexpr uint32_t kPortBytes = 4;
  if (ip.fragment_offset != 0) return std::nullopt;
  // ipv6_skip_exthdr finds no protocol there.
  if (ip.family == Family::kIpv6 && ip.protocol == net::kProtoNoNext) return std::nullopt;
  if (icmp && ip.L4Length() < sizeof(net::IcmpHeader)) return std::nullopt;
  if (ports && ip.L4Length() < kPortBytes) return std::nullopt;
  if (const auto tuple = net::TupleOf(ip)) return tuple;
  // PPTP's version of GRE with another payload than PPP has none (gre_pkt_to_tuple).
  if (ip.protocol == net::kProtoGre) return std::nullopt;
  net::Tuple tuple;
  tuple.source = ip.source;
  tuple.destination = ip.destination;
  tuple.protocol = ip.protocol;
  tuple.family = ip.family;
  const uint8_t* l4 = packet.L4();
  if (ports) {
    tuple.source_key = static_cast<uint16_t>((l4[0] << 8) | l4[1]);
    tuple.destination_key = static_cast<uint16_t>((l4[2] << 8) | l4[3]);
  } else if (icmp) {
    tuple.source_key = static_cast<uint16_t>((l4[4] << 8) | l4[5]);
    tuple.destination_key = static_cast<uint16_t>((l4[0] << 8) | l4[1]);
  }
  return tuple;
}

Standing StandingOf(const ctrack::Connection& connection) {
  if (!connection.Has(ctrack::kConfirmed) || connection.Has(ctrack::kDying)) {
    return Standing::kAbsent;
  }
  if (connection.original().protocol != net::kProtoTcp) return Standing::kOpen;
  const ctrack::TcpState state = connection.protocol.tcp.state;
  const bool closed = state == ctrack::TcpState::kTimeWait || state == ctrack::TcpState::kClose;
  return closed ? Standing::kClosed : Standing::kOpen;
}

}  // namespace

Answer Matches(const CompiledConnlimit& compiled, const WalkContext& context, uint16_t* depends) {
  *depends |= kDependsTime | kDependsSideEffect;
  const ConnlimitMatch& match = *compiled.match;
  const net::ParsedPacket& ip = context.packet->ip;
  const ctrack::Connection* connection = context.ct->connection;
  ConnlimitState::Seen seen;
  if (connection != nullptr) {
    seen.tuple = connection->original();
  } else {
    const auto tuple = TupleFor(*context.packet);
    if (!tuple) return Answer::kHotdrop;
    // Listed as it came, even where it is an answer of a connection that its sender began.
    seen.tuple = *tuple;
    if (context.finder != nullptr) connection = context.finder->FindConnection(*tuple, context.now);
  }
  if (connection != nullptr) {
    seen.standing = StandingOf(*connection);
    seen.confirmed = connection->Has(ctrack::kConfirmed);
    seen.assured = seen.confirmed && connection->Has(ctrack::kAssured);
  }
  seen.tick = static_cast<uint64_t>(context.now / kTick);
  seen.worker = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(context.worker) >> 4);
  ConnlimitState::Key key;
  key.address = (match.destination ? ip.destination : ip.source) & match.mask;
  key.family = ip.family;
  key.zone = seen.tuple.zone;
  const uint32_t count = compiled.state->Count(key, seen);
  if (count == 0) return Answer::kHotdrop;
  return AnswerOf(compiled.state->counts.Count((count > match.limit) != match.invert));
}

bool RuleSet::HasConnlimit() const { return !compiled_->connlimits.empty(); }

void RuleSet::NoteConnection(const ctrack::Connection& connection) const {
  const Standing standing = StandingOf(connection);
  for (ConnlimitState* state : compiled_->connlimits) {
    state->Change(connection.original(), standing);
    state->Change(connection.reply(), standing);
  }
}

}  // namespace postern::rules

// From the wire to conntrack: link layer, parsing, reassembly, ownership.
#include <cstring>

#include "dataplane/net/parse.h"
#include "dataplane/net/plain.h"
#include "dataplane/pipeline/address_check.h"
#include "dataplane/pipeline/ipv6_options.h"
#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {
namespace {

// The tuple that decides who reassembles: addresses only, as RSS hashes fragments.
net::Tuple AddressTuple(const net::ParsedPacket& ip) {
  net::Tuple tuple;
  tuple.family = ip.family;
  tuple.source = ip.source;
  tuple.destination = ip.destination;
  return tuple;
}

// What a packet's connection would be found by. Unlike conntrack's own (net::TupleOf) there is one
// for broken headers, too, as far as they can be read: what is done about a broken packet may look
// for the connection (connlimit, an error that quotes it).
std::optional<net::Tuple> ConnectionTuple(const net::Packet& packet) {
  const net::ParsedPacket& ip = packet.ip;
  if (net::QuotesPacket(ip)) {
    const auto quoted = net::ParseQuoted(packet);
    return quoted ? net::Mirror(quoted->tuple) : std::nullopt;
  }
  if (const auto tuple = net::TupleOf(ip)) return tuple;
  if (!net::HasPorts(ip.protocol) || ip.fragment_offset != 0) return std::nullopt;
  net::Tuple tuple = AddressTuple(ip);
  tuple.protocol = ip.protocol;
  tuple.source_key = ip.source_port;
  tuple.destination_key = ip.destination_port;
  return tuple;
}

}  // namespace

bool Pipeline::Impl::AcceptsFrame(const net::Packet& packet) const {
  const auto* ethernet = packet.At<net::EthernetHeader>(0);
  if (ethernet == nullptr || ethernet->destination.IsMulticast()) return true;
  if (((context_.promiscuous_ports >> packet.in_port) & 1) != 0) return true;
  return ethernet->destination == routes().port(packet.in_port).mac;
}

bool Pipeline::Impl::Admit(net::Packet* packet, net::Time now, bool choose_owner) {
  const net::ParseResult parsed = net::Parse(packet);
  if (!AcceptsFrame(*packet)) {
    Drop(packet, net::DropReason::kNotForUs);
    return false;
  }
  if (parsed.kind == net::FrameKind::kArp) {
    HandleArp(packet, now);
    return false;
  }
  if (parsed.kind == net::FrameKind::kInvalid) {
    Drop(packet, parsed.reason);
    return false;
  }
  packet->length = packet->ip.l3_offset + packet->ip.l3_length;  // without Ethernet's padding
  const net::DropReason refused = CheckOnArrival(packet->ip);
  if (refused != net::DropReason::kNone) {
    Drop(packet, refused);
    return false;
  }
  if (packet->ip.has_options && !HopByHopOk(packet, now)) return false;
  if (packet->ip.fragment && !ReassembleOrPass(packet, now, choose_owner)) return false;
  if (!choose_owner || context_.owners->workers() == 1) return true;
  return !HandOverToOwner(packet, HandoffKind::kReceived, OwnerOf(*packet));
}

// ipv6_rcv: before anybody else sees the packet.
bool Pipeline::Impl::HopByHopOk(net::Packet* packet, net::Time now) {
  const HopByHopView options = ReadHopByHop(*packet);
  if (options.good) return true;
  if (options.problem) {
    Flight about;
    about.packet = packet;
    about.now = now;
    SendError(about,
              {net::kIcmpv6ParameterProblem, options.problem->code, options.problem->pointer});
  }
  Drop(packet, net::DropReason::kIpHeaderInvalid);
  return false;
}

bool Pipeline::Impl::AdmitPlain(net::Packet* packet, net::Family family) {
  const bool valid = family == net::Family::kIpv4
                         ? net::ReadPlainHeaders<net::Family::kIpv4>(packet)
                         : net::ReadPlainHeaders<net::Family::kIpv6>(packet);
  // Somebody else may own what has no ports to go by.
  if (!valid) return Admit(packet, now_, true);
  packet->length = packet->ip.l3_offset + packet->ip.l3_length;
  const net::DropReason refused = CheckOnArrival(packet->ip);
  if (refused == net::DropReason::kNone) return true;
  Drop(packet, refused);
  return false;
}

// nf_defrag runs before everything else, in PREROUTING and OUTPUT.
bool Pipeline::Impl::ReassembleOrPass(net::Packet* packet, net::Time now, bool choose_owner) {
  if (choose_owner && HandOverToOwner(packet, HandoffKind::kFragment,
                                      context_.owners->OwnerOf(AddressTuple(packet->ip)))) {
    return false;
  }
  return reassembler_.Add(packet, now);
}

unsigned Pipeline::Impl::OwnerOf(const net::Packet& packet) const {
  const auto tuple = ConnectionTuple(packet);
  return context_.owners->OwnerOf(tuple ? *tuple : AddressTuple(packet.ip));
}

// Whether another worker holds the connection of a packet that this worker owns. Then that worker
// does everything about it, from raw on: what the rules count or stamp on the way, they do once.
bool Pipeline::Impl::HandOverToHolder(net::Packet* packet, HandoffKind kind, const Known& known) {
  ctrack::TableValue value = known.value;
  if (!known.looked_up || known.table_changes != table_changes_) {
    const auto tuple = ConnectionTuple(*packet);
    if (!tuple) return false;
    value = tracker_.table().Lookup(*tuple);
  }
  return value.IsRemote() && HandOverToOwner(packet, kind, value.worker());
}

bool Pipeline::Impl::HandOverToOwner(net::Packet* packet, HandoffKind kind, unsigned owner) {
  if (owner == context_.worker) return false;
  ++stats_.handoffs_out;
  context_.io->Handoff(owner, kind, packet);
  return true;
}

void Pipeline::Impl::HandleArp(net::Packet* packet, net::Time now) {
  CopyToOtherWorkers(*packet);
  neighbors_.HandleArp(packet, now, false);
}

// Every worker has its own neighbour table: what one learns, all learn.
void Pipeline::Impl::CopyToOtherWorkers(const net::Packet& packet) {
  for (unsigned worker = 0; worker < context_.owners->workers(); ++worker) {
    if (worker == context_.worker) continue;
    net::Packet copy;
    if (!context_.io->pool()->Allocate(packet.length, &copy)) return;
    std::memcpy(copy.data, packet.data, packet.length);
    copy.in_port = packet.in_port;
    context_.io->Handoff(worker, HandoffKind::kNeighborCopy, &copy);
  }
}

void Pipeline::Impl::ReceiveHandoff(net::Packet* packet, HandoffKind kind, net::Time now) {
  now_ = now;
  switch (kind) {
    case HandoffKind::kNeighborCopy: {
      const net::ParseResult parsed = net::Parse(packet);
      if (parsed.kind == net::FrameKind::kArp) {
        neighbors_.HandleArp(packet, now, true);
        return;
      }
      if (parsed.kind == net::FrameKind::kIp) neighbors_.HandleNd(*packet, now, true);
      context_.io->pool()->Free(packet);
      return;
    }
    case HandoffKind::kFragment:
      if (net::Parse(packet).kind != net::FrameKind::kIp) {
        Drop(packet, net::DropReason::kFragmentInvalid);
        return;
      }
      if (!reassembler_.Add(packet, now)) return;
      if (HandOverToOwner(packet, HandoffKind::kReceived, OwnerOf(*packet))) return;
      Ingress(packet, Known{}, now);
      return;
    case HandoffKind::kReceived:
      // Parsed anew: the bytes are the truth, and the other worker's view isn't carried along.
      if (!Admit(packet, now, false)) return;
      Ingress(packet, Known{}, now);
      return;
    case HandoffKind::kOwn:
    case HandoffKind::kAttached: {
      net::Parse(packet);
      Flight f;
      f.packet = packet;
      f.now = now;
      f.source = Source::kSelf;
      f.attached = kind == HandoffKind::kAttached;
      GoOut(f);
      return;
    }
    case HandoffKind::kFromHost:
      if (net::Parse(packet).kind != net::FrameKind::kIp) {
        Drop(packet, net::DropReason::kIpHeaderInvalid);
        return;
      }
      Egress(packet, Known{}, now);
      return;
  }
}

void Pipeline::Impl::ReceiveRemoteEntry(const RemoteEntry& entry, net::Time now) {
  now_ = now;
  switch (entry.kind) {
    case RemoteEntry::Kind::kAsk:
    case RemoteEntry::Kind::kAdd:
      AnswerClaim(entry);
      return;
    case RemoteEntry::Kind::kGrant:
    case RemoteEntry::Kind::kTaken:
      Resume(entry.claim, entry.kind == RemoteEntry::Kind::kGrant, now);
      return;
    case RemoteEntry::Kind::kRemove: {
      ctrack::ConnectionTable& table = tracker_.table();
      const uint32_t hash = table.Hash(entry.reply);
      const ctrack::TableValue value = table.Lookup(entry.reply, hash);
      // Only the holder's own entry may go: somebody else may have the tuple.
      if (!value.IsRemote() || value.worker() != entry.holder) return;
      table.Erase(entry.reply, hash);
      --remote_entries_;
      ++table_changes_;
      return;
    }
    case RemoteEntry::Kind::kRefuse:
      Refuse(entry.reply);
      return;
  }
}

// The holder wants a tuple of this worker's (kAsk), or has taken it (kAdd).
void Pipeline::Impl::AnswerClaim(const RemoteEntry& entry) {
  ctrack::ConnectionTable& table = tracker_.table();
  const uint32_t hash = table.Hash(entry.reply);
  const ctrack::TableValue value = table.Lookup(entry.reply, hash);
  // Two connections of one holder never have it: he has looked.
  bool granted = value.IsRemote() && value.worker() == entry.holder;
  if (!granted && !tracker_.TupleTaken(entry.reply, nullptr, now_)) {
    granted = table.Insert(entry.reply, hash, ctrack::TableValue::Remote(entry.holder));
    remote_entries_ += granted ? 1 : 0;
    ++table_changes_;
  }
  RemoteEntry answer = entry;
  if (entry.kind == RemoteEntry::Kind::kAsk) {
    answer.kind = granted ? RemoteEntry::Kind::kGrant : RemoteEntry::Kind::kTaken;
  } else if (!granted) {
    answer.kind = RemoteEntry::Kind::kRefuse;
  } else {
    return;
  }
  context_.io->SendRemoteEntry(entry.holder, answer);
}

// The first packet may be on its way already; what answers it belongs to the other connection, and
// the next packet begins anew.
void Pipeline::Impl::Refuse(const net::Tuple& reply) {
  net::Direction direction{};
  ctrack::Connection* connection = tracker_.Find(reply, &direction, now_);
  if (connection == nullptr) return;
  ++stats_.nat_exhausted;
  if (context_.events != nullptr) {
    context_.events->OnTrouble(net::DropReason::kNatExhausted, now_);
  }
  tracker_.Destroy(connection, now_);
}

}  // namespace postern::pipeline

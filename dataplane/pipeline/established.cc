// The established path's stages (established.h). Stays straight: what is rare is elsewhere.
#include "dataplane/pipeline/established.h"

#include <algorithm>

#include "ctrack/tcp_established.h"
#include "dataplane/pipeline/lane.h"

namespace postern::pipeline {
namespace {

using ctrack::Connection;
using ctrack::Shortcut;
using net::Family;

constexpr uint16_t kRawIpv4 = net::ByteSwap(net::kEtherTypeIpv4);
constexpr uint16_t kRawIpv6 = net::ByteSwap(net::kEtherTypeIpv6);
constexpr uint64_t kMacMask = 0xffff'ffff'ffff;
constexpr uint64_t kGroupBit = 1;

uint64_t RawMac(const net::MacAddress& mac) {
  uint64_t raw = 0;
  std::memcpy(&raw, mac.bytes.data(), mac.bytes.size());
  return raw;
}

}  // namespace

// Passes on one packet; false: nothing has been done, it must go the slow way.
template <Family kFamily>
inline bool Pipeline::Impl::Follow(Lane* lane, const Frame& frame, ctrack::TableValue value) {
  constexpr bool kIpv4 = kFamily == Family::kIpv4;
  Connection* connection = value.connection();
  if (connection == nullptr) return false;
  const net::Direction direction = value.direction();
  const Shortcut& shortcut = connection->shortcut[static_cast<size_t>(direction)];
  uint8_t* l3 = frame.data + net::kPlainL3;
  uint8_t* l4 = l3 + (kIpv4 ? sizeof(net::Ipv4Header) : sizeof(net::Ipv6Header));
  auto* ipv4 = reinterpret_cast<net::Ipv4Header*>(l3);
  auto* ipv6 = reinterpret_cast<net::Ipv6Header*>(l3);
  const uint8_t protocol = kIpv4 ? ipv4->protocol : ipv6->next_header;
  const bool udp = protocol == net::kProtoUdp;

  const uint32_t status = connection->status;
  const uint64_t key = lane->key | uint64_t{static_cast<uint16_t>(status)} << 32;
  if (shortcut.key != key) {
    const uint8_t flags = udp ? 0 : reinterpret_cast<const net::TcpHeader*>(l4)->flags;
    if (shortcut.key != (key | uint64_t{flags} << 56) &&
        !Renew(connection, direction, key, protocol, flags)) {
      return false;
    }
  }
  if (connection->expires <= lane->now) return false;
  const uint32_t l3_length =
      kIpv4 ? ipv4->total_length.Host() : ipv6->payload_length.Host() + sizeof(net::Ipv6Header);
  NextHop& hop = next_hops_.At(shortcut.next_hop);
  if (!HopOk(lane, &hop, l3_length)) return false;

  const auto l4_length = static_cast<uint32_t>(l3_length - static_cast<uint32_t>(l4 - l3));
  if (!ChecksumOk<kFamily>(*lane, frame, protocol, l4, l4_length)) return false;
  if (udp) {
    const uint32_t said = reinterpret_cast<const net::UdpHeader*>(l4)->length.Host();
    if (said < sizeof(net::UdpHeader) || said > l4_length) return false;
    if ((status & ctrack::kAssured) != 0) {
      connection->expires = lane->stream_until;
    } else {
      const bool seen_reply = (status & ctrack::kSeenReply) != 0;
      if (seen_reply && lane->now > connection->protocol.udp.stream_at) return false;
      connection->expires = lane->udp_until;
    }
  } else {
    const uint32_t timeout = ctrack::TrackEstablishedTcp(
        &connection->protocol.tcp, direction, reinterpret_cast<const net::TcpHeader*>(l4),
        l4_length, lane->settings);
    if (timeout == 0) return false;
    connection->expires = lane->now + timeout * net::kSecond;
  }

  if (lane->settings.acct) tracker_.Account(connection, direction, l3_length);
  Pass<kFamily>(lane, frame, connection, direction, hop, shortcut.path, l3_length);
  return true;
}

void Pipeline::Impl::Observe(const Lane& lane, ctrack::CtRef ct, rules::PathId path) {
  net::Packet packet;
  packet.in_port = lane.in_port;
  Flight f;
  f.packet = &packet;
  f.now = lane.now;
  f.ct = ct;
  f.tracked = true;
  f.remembered = path;
  f.path = BeginPath();
  Observe(f, net::Verdict::kAccept, net::DropReason::kNone);
}

void Pipeline::Impl::Flush(Lane* lane) {
  if (lane->packets != 0) lane->rules.CountPath(lane->path, lane->packets, lane->bytes);
  stats_.shortcuts += lane->packets;
  lane->packets = lane->bytes = 0;
  const size_t ready = lane->ready;
  lane->ready = 0;
  if (ready == 0) return;
  context_.io->TransmitFrames(lane->in_port, lane->out_port, {lane->frames.data(), ready});
}

void Pipeline::Impl::Recognise(std::span<const Frame> frames, net::PortId in_port) {
  Burst& burst = burst_;
  burst.ipv4_count = burst.ipv6_count = burst.ipv4_resolved = 0;
  size_t asked = 0;  // keys whose buckets are on their way
  const uint64_t mac = RawMac(routes().port(in_port).mac);
  const bool promiscuous = ((context_.promiscuous_ports >> in_port) & 1) != 0;
  const bool alone = context_.owners->workers() == 1;
  for (size_t i = 0; i < frames.size(); ++i) {
    const Frame& frame = frames[i];
    burst.family[i] = kNotPlain;
    burst.value[i] = {};
    if (frame.length < sizeof(net::EthernetHeader)) continue;
    const uint64_t destination = net::LoadRaw<uint64_t>(frame.data) & kMacMask;
    if (destination != mac && (!promiscuous || (destination & kGroupBit) != 0)) continue;
    const auto type = net::LoadRaw<uint16_t>(frame.data + offsetof(net::EthernetHeader, type));
    if (type == kRawIpv4) {
      net::Ipv4Key* key = &burst.ipv4[burst.ipv4_count];
      if (!net::ReadPlainIpv4(frame.data, frame.length, key)) continue;
      if (!alone && context_.owners->OwnerOfPorts(*key) != context_.worker) continue;
      burst.family[i] = Family::kIpv4;
      burst.ipv4_place[burst.ipv4_count++] = static_cast<uint8_t>(i);
    } else if (type == kRawIpv6) {
      net::Tuple* tuple = &burst.ipv6[burst.ipv6_count];
      if (!net::ReadPlainIpv6(frame.data, frame.length, tuple)) continue;
      if (!alone && context_.owners->OwnerOf(*tuple) != context_.worker) continue;
      burst.family[i] = Family::kIpv6;
      burst.ipv6_place[burst.ipv6_count++] = static_cast<uint8_t>(i);
    }
    // Some at a time: their buckets come while the next are recognised.
    constexpr size_t kAtOnce = 8;
    if (burst.ipv4_count - asked < kAtOnce) continue;
    AskForBuckets(asked, kAtOnce);
    asked += kAtOnce;
  }
  AskForBuckets(asked, burst.ipv4_count - asked);
  burst.ipv4_unresolved_from = burst.ipv4_count == 0 ? kMaxBurst : burst.ipv4_place[0];
}

void Pipeline::Impl::AskForBuckets(size_t first, size_t count) {
  const ctrack::ConnectionTable& table = tracker_.table();
  // There may be none left.
  const std::span<uint32_t> hashes(burst_.ipv4_hash.data() + first, count);
  table.HashBurst({burst_.ipv4.data() + first, count}, hashes);
  table.Prefetch(hashes);
}

// The first half of the look-ups: who has nobody is known then.
void Pipeline::Impl::LookUp() {
  Burst& burst = burst_;
  const ctrack::ConnectionTable& table = tracker_.table();
  const std::span<const net::Ipv4Key> keys(burst.ipv4.data(), burst.ipv4_count);
  table.ExpectBurst(keys, {burst.ipv4_hash.data(), keys.size()},
                    {burst.ipv4_candidate.data(), keys.size()});
  size_t unknown = 0;
  std::array<net::Ipv4Key, kMaxBurst> strangers;
  std::array<uint8_t, kMaxBurst> places;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (burst.ipv4_candidate[i] != ctrack::ConnectionTable::kNobody) continue;
    places[unknown] = burst.ipv4_place[i];
    strangers[unknown++] = keys[i];
  }
  // Most of the others will become connections.
  if (unknown != 0) {
    context_.pool->PrefetchNext(static_cast<unsigned>(unknown));
    PrefetchAnswers({strangers.data(), unknown}, {places.data(), unknown});
  }
  if (burst.ipv6_count == 0) return;
  std::array<ctrack::TableValue, kMaxBurst> values;
  std::array<uint32_t, kMaxBurst> hashes;
  const std::span<const net::Tuple> tuples(burst.ipv6.data(), burst.ipv6_count);
  table.HashBurst(tuples, {hashes.data(), tuples.size()});
  table.LookupBurst(tuples, {hashes.data(), tuples.size()}, {values.data(), tuples.size()});
  for (size_t i = 0; i < tuples.size(); ++i) {
    const uint8_t place = burst.ipv6_place[i];
    burst.value[place] = values[i];
    if (!values[i].empty()) continue;
    burst.hashes[place] = {{hashes[i], table.Hash(net::MirrorEnds(tuples[i]))},
                           sources_.HashOf(tuples[i])};
  }
}

// The second half for the next IPv4 packets of the burst: few at a time, so that the connections of
// the others come while these are passed on.
void Pipeline::Impl::ResolveNext() {
  constexpr size_t kAtOnce = 8;
  Burst& burst = burst_;
  const size_t first = burst.ipv4_resolved;
  const size_t count = std::min(kAtOnce, burst.ipv4_count - first);
  std::array<ctrack::TableValue, kAtOnce> values;
  tracker_.table().ResolveBurst({&burst.ipv4[first], count}, {&burst.ipv4_hash[first], count},
                                {&burst.ipv4_candidate[first], count}, {values.data(), count});
  for (size_t i = 0; i < count; ++i) {
    const uint8_t place = burst.ipv4_place[first + i];
    burst.value[place] = values[i];
    if (!values[i].empty()) continue;
    // Those of the others were asked for ahead.
    if (burst.ipv4_candidate[first + i] != ctrack::ConnectionTable::kNobody) {
      PrefetchAnswers({&burst.ipv4[first + i], 1}, {&place, 1});
    }
    burst.hashes[place].tuples.original = burst.ipv4_hash[first + i];
  }
  burst.ipv4_resolved += count;
  burst.ipv4_unresolved_from =
      burst.ipv4_resolved == burst.ipv4_count ? kMaxBurst : burst.ipv4_place[burst.ipv4_resolved];
}

// These packets are likely to begin connections: the places of their answers' tuples, untranslated
// and with the source that was last given to somebody, and what is known of their own sources.
void Pipeline::Impl::PrefetchAnswers(std::span<net::Ipv4Key> keys,
                                     std::span<const uint8_t> places) {
  std::array<uint32_t, kMaxBurst> room;
  const std::span<uint32_t> hashes(room.data(), keys.size());
  const ctrack::ConnectionTable& table = tracker_.table();
  const bool nat = HasTable(Family::kIpv4, net::Table::kNat);
  for (size_t i = 0; i < keys.size(); ++i) {
    net::Ipv4Key& key = keys[i];
    if (nat) {
      const uint32_t hash = sources_.HashOf(key);
      burst_.hashes[places[i]].source = hash;
      sources_.Prefetch(hash);
    }
    std::swap(key.source, key.destination);
    std::swap(key.source_key, key.destination_key);
  }
  table.HashBurst(keys, hashes);
  table.Prefetch(hashes);
  for (size_t i = 0; i < keys.size(); ++i) burst_.hashes[places[i]].tuples.reply = hashes[i];
  if (!nat) return;
  for (net::Ipv4Key& key : keys) key.destination = last_source_;
  table.HashBurst(keys, hashes);
  table.Prefetch(hashes);
}

// Conntrack needn't prove it again.
void Pipeline::Impl::ProveChecksum(const Lane& lane, const Frame& frame, net::Packet* packet) {
  const net::ParsedPacket& ip = packet->ip;
  if (!lane.settings.checksum || !ip.l4_valid || frame.length == 0) return;
  packet->checksum_verified =
      ip.family == Family::kIpv4
          ? ChecksumOk<Family::kIpv4>(lane, frame, ip.protocol, packet->L4(), ip.L4Length())
          : ChecksumOk<Family::kIpv6>(lane, frame, ip.protocol, packet->L4(), ip.L4Length());
}

// The way of a plain packet past the hooks, if there is one.
template <Family kFamily>
inline Pipeline::Impl::Progress Pipeline::Impl::TakeShort(Lane* lane, const Frame& frame,
                                                          size_t place,
                                                          ctrack::TrackResult* tracked) {
  const ctrack::TableValue value = burst_.value[place];
  if (value.empty()) return Open<kFamily>(lane, frame, place, tracked);
  if (Follow<kFamily>(lane, frame, value)) return Progress::kSent;
  return Advance<kFamily>(lane, frame, value, tracked);
}

// `whole(i)` makes the Packet of frame i; null: it is gone.
template <typename Whole>
void Pipeline::Impl::ReceiveBurst(std::span<const Frame> frames, net::PortId in_port, net::Time now,
                                  Whole whole) {
  now_ = now;
  stats_.packets += frames.size();
  Recognise(frames, in_port);
  LookUp();
  const ctrack::Settings& settings = snapshot_->conntrack;
  Lane lane{settings,
            worker_rules(),
            in_port,
            now,
            now + settings.udp_timeout * net::kSecond,
            now + settings.udp_timeout_stream * net::kSecond};
  lane.key = ShortcutKey(epoch_, 0, in_port, 0);
  lane.neighbors = neighbors_.generation();
  lane.table_changes = table_changes_;
  for (size_t i = 0; i < frames.size(); ++i) {
    const Family family = burst_.family[i];
    Progress progress = Progress::kNone;
    ctrack::TrackResult tracked;
    if (i >= burst_.ipv4_unresolved_from) ResolveNext();
    if (family == Family::kIpv4) {
      progress = TakeShort<Family::kIpv4>(&lane, frames[i], i, &tracked);
    } else if (family == Family::kIpv6) {
      progress = TakeShort<Family::kIpv6>(&lane, frames[i], i, &tracked);
    }
    if (progress == Progress::kSent) continue;
    Flush(&lane);
    net::Packet* packet = whole(i);
    if (packet == nullptr) continue;
    if (family == kNotPlain) {
      if (!Admit(packet, now, true)) continue;
    } else {
      if (!AdmitPlain(packet, family)) continue;
      ProveChecksum(lane, frames[i], packet);
    }
    Known known;
    known.looked_up = family != kNotPlain;
    known.value = burst_.value[i];
    known.table_changes = lane.table_changes;
    if (progress == Progress::kTracked) known.tracked = &tracked;
    Ingress(packet, known, now);
    lane.neighbors = neighbors_.generation();
  }
  Flush(&lane);
  tracker_.Reap();
}

void Pipeline::Impl::Receive(std::span<const Frame> frames, net::PortId in_port, net::Time now) {
  net::Packet packet;
  ReceiveBurst(frames, in_port, now, [&](size_t i) {
    return context_.io->Adopt(frames[i], in_port, &packet) ? &packet : nullptr;
  });
}

void Pipeline::Impl::Receive(std::span<net::Packet> packets, net::Time now) {
  std::array<Frame, kMaxBurst> frames;
  for (size_t first = 0, next = 0; first < packets.size(); first = next) {
    const net::PortId in_port = packets[first].in_port;
    for (; next < packets.size() && packets[next].in_port == in_port; ++next) {
      const net::Packet& packet = packets[next];
      frames[next - first] = {packet.data, packet.buffer, packet.length, packet.checksum_verified};
    }
    ReceiveBurst({frames.data(), next - first}, in_port, now,
                 [&](size_t i) { return &packets[first + i]; });
  }
}

}  // namespace postern::pipeline

// Reassembly by the rules of Linux' ip_frag_queue (IPv4) and nf_ct_frag6_queue (IPv6).
//
// Overview: the first fragment of a datagram makes an entry; each further one is checked against
// what is there and kept; the one that completes it turns all of them into one linear datagram.
// Whatever contradicts (an overlap, two ends, too much) drops the whole datagram, because nobody
// can tell the true fragments from the forged ones (RFC 5722, RFC 8200 4.5).
//
// Threads: one, the worker's. Sink calls may send errors, so a datagram is taken out of the store
// before the sink hears of it. Invariants: bytes_ is the sum of all datagrams' bytes.
#include <algorithm>
#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/net/wire.h"
#include "dataplane/route/fragment.h"
#include "dataplane/route/fragment_store.h"
#include "dataplane/route/received_lengths.h"

namespace postern::route {
namespace {

using net::DropReason;
using net::Family;
using net::Packet;
using net::Time;

constexpr uint32_t kMaxDatagram = 65535;
constexpr uint32_t kMaxFrame = kMaxDatagram + 14;  // what every BufferPool can allocate
constexpr uint32_t kFragmentsPerDatagram = 8;      // on average, for the room
constexpr uint32_t kBufferOverhead = 256;          // counted for each fragment's descriptor
constexpr unsigned kFreesPerTick = 256;

// RFC 3168 5.3: bit 1 << codepoint of Not-ECT, ECT(1), ECT(0), CE.
constexpr uint8_t kEcnMask = 3;
constexpr uint8_t kEcnCe = 3;
constexpr uint8_t kSawNotEct = 1 << 0, kSawCe = 1 << 3;

bool EcnContradicts(uint8_t seen) { return (seen & kSawNotEct) != 0 && seen != kSawNotEct; }
// Some fragment met congestion, and others could have said so.
bool EcnBecomesCe(uint8_t seen) { return (seen & kSawCe) != 0 && seen != kSawCe; }

DatagramKey KeyOf(const Packet& packet) {
  const net::ParsedPacket& ip = packet.ip;
  DatagramKey key;
  key.family = ip.family;
  key.source = ip.source;
  key.destination = ip.destination;
  key.id = ip.fragment_id;
  if (ip.family == Family::kIpv4) {
    key.protocol = ip.protocol;
  } else if (net::IsLinkLocal(ip.family, ip.destination) ||
             net::IsMulticast(ip.family, ip.destination)) {
    key.link = packet.in_port;
  }
  return key;
}

// Where one fragment's bytes lie, in the frame and in the datagram.
struct Extent {
  uint32_t payload = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
};

Extent ExtentOf(const Packet& packet) {
  const net::ParsedPacket& ip = packet.ip;
  const bool v4 = ip.family == Family::kIpv4;
  Extent extent;
  extent.payload =
      v4 ? ip.l4_offset : ip.fragment_header_offset + uint32_t{sizeof(net::Ipv6FragmentHeader)};
  extent.begin = ip.fragment_offset;
  extent.end = extent.begin + (ip.l3_offset + ip.l3_length - extent.payload);
  // Linux cuts an IPv4 fragment that isn't the last down to a multiple of eight.
  if (v4 && ip.more_fragments) extent.end &= ~7U;
  return extent;
}

// RFC 8200 4.5: the first fragment holds all headers, the transport's too (RFC 7112).
bool HeadersCut(const net::ParsedPacket& ip) {
  return ip.family == Family::kIpv6 && ip.fragment_offset == 0 && !ip.l4_header;
}

}  // namespace

struct Reassembler::Impl {
  Impl(const ReassemblySettings& s, net::BufferPool* p, FragmentSink* k)
      : settings(s),
        pool(p),
        sink(k),
        store(s.max_datagrams, s.max_datagrams * kFragmentsPerDatagram, s.hash_key) {}

  ReassemblySettings settings;
  net::BufferPool* const pool;
  FragmentSink* const sink;
  FragmentStore store;
  uint64_t bytes = 0;

  Datagram* FindOrCreate(const DatagramKey& key, Time now);
  bool Add(Packet* packet, Time now);
  bool ExtentFits(Datagram* datagram, const Packet& packet, const Extent& extent);
  void Count(Datagram* datagram, const Packet& packet, const Extent& extent);
  void Discard(Datagram* datagram, DropReason reason);
  unsigned Expire(Datagram* datagram);
  bool Assemble(Datagram* datagram, Packet* packet);
  bool Allocate(const Datagram& datagram, uint32_t length, Packet* whole);
  uint32_t HeaderLength(const StoredFragment& first) const;
  void CopyPieces(const Datagram& datagram, uint32_t header, Packet* whole) const;
  void KeepLengths(const Datagram& datagram, uint32_t header, Packet* whole) const;
};

Datagram* Reassembler::Impl::FindOrCreate(const DatagramKey& key, Time now) {
  Datagram* datagram = store.Find(key);
  if (datagram != nullptr) return datagram;
  // As in Linux, datagrams under way may still be completed when the memory is used up.
  if (bytes >= settings.max_bytes || store.size() >= settings.max_datagrams) return nullptr;
  const Time timeout = key.family == Family::kIpv4 ? settings.timeout_ipv4 : settings.timeout_ipv6;
  return store.Create(key, now + timeout, settings.max_per_source);
}

// Checks a fragment's end against the datagram's, and notes it. An IPv4 end beyond all datagrams
// counts as any other; Assemble() refuses what it ends.
bool Reassembler::Impl::ExtentFits(Datagram* datagram, const Packet& packet, const Extent& extent) {
  if (extent.end <= extent.begin) return false;
  if (!packet.ip.more_fragments) {
    if (extent.end < datagram->length) return false;
    if (datagram->last_in && extent.end != datagram->length) return false;
    datagram->last_in = true;
    datagram->length = extent.end;
    return true;
  }
  if (extent.end % 8 != 0) return false;  // IPv6; IPv4's end has been cut
  if (extent.end > datagram->length) {
    if (datagram->last_in) return false;
    datagram->length = extent.end;
  }
  return true;
}

void Reassembler::Impl::Count(Datagram* datagram, const Packet& packet, const Extent& extent) {
  const net::ParsedPacket& ip = packet.ip;
  ++datagram->fragments;
  datagram->received += extent.end - extent.begin;
  datagram->bytes += packet.length + kBufferOverhead;
  bytes += packet.length + kBufferOverhead;
  datagram->ecn |= static_cast<uint8_t>(1 << (ip.tos & kEcnMask));
  if (extent.begin == 0) datagram->first_in = true;
  const uint32_t size = extent.payload - ip.l3_offset + (extent.end - extent.begin);
  datagram->max_size = std::max(datagram->max_size, size);
  if (ip.family == Family::kIpv4 && ip.dont_fragment) {
    datagram->max_df_size = std::max(datagram->max_df_size, size);
  }
}

bool Reassembler::Impl::Add(Packet* packet, Time now) {
  if (HeadersCut(packet->ip)) {
    sink->Drop(packet, DropReason::kFragmentInvalid);
    return false;
  }
  const Extent extent = ExtentOf(*packet);
  DropReason reason = DropReason::kFragmentInvalid;
  if (packet->ip.family == Family::kIpv6 && extent.end > kMaxDatagram) {
    sink->Drop(packet, reason);  // the others stay
    return false;
  }
  Datagram* datagram = FindOrCreate(KeyOf(*packet), now);
  if (datagram == nullptr) {
    sink->Drop(packet, DropReason::kFragmentMemory);
    return false;
  }
  if (ExtentFits(datagram, *packet, extent)) {
    const bool crowded = datagram->fragments >= settings.max_fragments;
    const auto insertion =
        crowded ? FragmentStore::Insertion::kFull
                : store.Insert(datagram, *packet, extent.payload, extent.begin, extent.end);
    switch (insertion) {
      case FragmentStore::Insertion::kDone:
        Count(datagram, *packet, extent);
        return datagram->Complete() && Assemble(datagram, packet);
      case FragmentStore::Insertion::kDuplicate:
        sink->Drop(packet, DropReason::kFragmentOverlap);
        return false;
      case FragmentStore::Insertion::kOverlap:
        reason = DropReason::kFragmentOverlap;
        break;
      case FragmentStore::Insertion::kFull:
        reason = DropReason::kFragmentMemory;
        break;
    }
  }
  Discard(datagram, reason);
  sink->Drop(packet, reason);
  return false;
}

// Forgets the datagram, then hands its fragments to the sink.
void Reassembler::Impl::Discard(Datagram* datagram, DropReason reason) {
  Datagram gone = *datagram;
  store.Erase(datagram);
  bytes -= gone.bytes;
  StoredFragment fragment;
  while (store.Pop(&gone, &fragment)) sink->Drop(&fragment.packet, reason);
}

// How many fragments were freed.
unsigned Reassembler::Impl::Expire(Datagram* datagram) {
  Datagram gone = *datagram;
  store.Erase(datagram);
  bytes -= gone.bytes;
  StoredFragment fragment;
  unsigned freed = 0;
  while (store.Pop(&gone, &fragment)) {
    ++freed;
    if (fragment.begin == 0) {
      sink->TimedOut(&fragment.packet);
    } else {
      sink->Drop(&fragment.packet, DropReason::kFragmentTimeout);
    }
  }
  return freed;
}

// IP header and IPv6 extension headers that stand before the pieces, the fragment header left out.
uint32_t Reassembler::Impl::HeaderLength(const StoredFragment& first) const {
  const uint32_t header = first.payload - first.packet.ip.l3_offset;
  return first.packet.ip.family == Family::kIpv4
             ? header
             : header - uint32_t{sizeof(net::Ipv6FragmentHeader)};
}

void Reassembler::Impl::CopyPieces(const Datagram& datagram, uint32_t header, Packet* whole) const {
  const StoredFragment& first = *store.First(datagram);
  const uint32_t l3 = first.packet.ip.l3_offset;
  std::memcpy(whole->data, first.packet.data, l3 + header);
  uint8_t* payload = whole->data + l3 + header;
  for (const StoredFragment* f = &first; f != nullptr; f = store.Next(*f)) {
    std::memcpy(payload + f->begin, f->packet.data + f->payload, f->end - f->begin);
  }
}

// A buffer of `length` bytes, with room for the fragments' lengths behind them where a buffer can
// be that large.
bool Reassembler::Impl::Allocate(const Datagram& datagram, uint32_t length, Packet* whole) {
  const uint32_t wanted = ReceivedLengths::Bytes(datagram.fragments);
  const uint32_t room = length + wanted <= kMaxFrame ? wanted : 0;
  if (!pool->Allocate(length + room, whole)) return false;
  whole->length -= room;
  whole->tailroom += room;
  return true;
}

void Reassembler::Impl::KeepLengths(const Datagram& datagram, uint32_t header,
                                    Packet* whole) const {
  uint32_t front = header;
  for (const StoredFragment* f = store.First(datagram); f != nullptr; f = store.Next(*f)) {
    if (!ReceivedLengths::Append(static_cast<uint16_t>(front + (f->end - f->begin)), whole)) {
      whole->fragment_count = 0;
      return;
    }
    front = 0;
  }
}

namespace {

void FixIpv4Header(const Datagram& datagram, uint32_t l3_length, net::Ipv4Header* header) {
  header->total_length = static_cast<uint16_t>(l3_length);
  // ip_frag_reasm: DF only where the largest fragment had it, so that path MTU discovery goes on
  // and small DF fragments don't speak for large ones without.
  header->fragment =
      datagram.max_df_size == datagram.max_size ? net::kIpv4DontFragment : static_cast<uint16_t>(0);
  if (EcnBecomesCe(datagram.ecn)) header->tos |= kEcnCe;
  net::SetIpv4Checksum(header);
}

// `first`: the first fragment, whose header chain says where the fragment header stood.
void FixIpv6Header(const Datagram& datagram, const Packet& first, uint32_t l3_length,
                   Packet* whole) {
  const uint32_t l3 = first.ip.l3_offset;
  auto* header = whole->At<net::Ipv6Header>(l3);
  header->payload_length = static_cast<uint16_t>(l3_length - sizeof(net::Ipv6Header));
  if (EcnBecomesCe(datagram.ecn)) header->version_class_flow.bytes[1] |= kEcnCe << 4;
  // The last "next header" field before the fragment header now names what followed it.
  const uint32_t fragment_header = first.ip.fragment_header_offset;
  const uint8_t follows = first.data[fragment_header];
  uint8_t* next = &header->next_header;
  uint32_t at = l3 + uint32_t{sizeof(net::Ipv6Header)};
  while (at < fragment_header) {
    const uint32_t units = first.data[at + 1];
    const uint32_t length = *next == net::kProtoAh ? (units + 2) * 4 : (units + 1) * 8;
    next = whole->data + at;
    at += length;
  }
  *next = follows;
}

}  // namespace

// Makes *packet, which is the fragment that came last, the whole datagram.
bool Reassembler::Impl::Assemble(Datagram* datagram, Packet* packet) {
  const StoredFragment* first = store.First(*datagram);
  const Packet& front = first->packet;
  const bool v4 = front.ip.family == Family::kIpv4;
  const uint32_t header = HeaderLength(*first);
  const uint32_t l3_length = header + datagram->length;
  const uint32_t limit = v4 ? kMaxDatagram : kMaxDatagram + uint32_t{sizeof(net::Ipv6Header)};
  DropReason reason = DropReason::kNone;
  Packet whole;
  if (EcnContradicts(datagram->ecn) || l3_length > limit) {
    reason = DropReason::kFragmentInvalid;
  } else if (!Allocate(*datagram, front.ip.l3_offset + l3_length, &whole)) {
    reason = DropReason::kNoBuffer;
  }
  if (reason != DropReason::kNone) {
    Discard(datagram, reason);
    return false;
  }
  CopyPieces(*datagram, header, &whole);
  KeepLengths(*datagram, header, &whole);
  if (v4) {
    FixIpv4Header(*datagram, l3_length, whole.At<net::Ipv4Header>(front.ip.l3_offset));
  } else {
    FixIpv6Header(*datagram, front, l3_length, &whole);
  }
  whole.in_port = packet->in_port;
  whole.out_port = packet->out_port;
  whole.mark = front.mark;
  whole.largest_fragment = static_cast<uint16_t>(std::min(datagram->max_size, kMaxDatagram));
  whole.largest_df_fragment = static_cast<uint16_t>(std::min(datagram->max_df_size, kMaxDatagram));
  whole.ip.l3_offset = front.ip.l3_offset;

  Datagram gone = *datagram;
  store.Erase(datagram);
  bytes -= gone.bytes;
  StoredFragment fragment;
  while (store.Pop(&gone, &fragment)) pool->Free(&fragment.packet);
  *packet = whole;
  const auto parsed = net::ParseIp(packet, v4 ? net::kEtherTypeIpv4 : net::kEtherTypeIpv6);
  if (parsed.kind == net::FrameKind::kIp) return true;
  sink->Drop(packet, parsed.reason);
  return false;
}

Reassembler::Reassembler(const ReassemblySettings& settings, net::BufferPool* pool,
                         FragmentSink* sink)
    : impl_(std::make_unique<Impl>(settings, pool, sink)) {}

Reassembler::~Reassembler() {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    while (Datagram* datagram = impl_->store.Oldest(family)) {
      StoredFragment fragment;
      while (impl_->store.Pop(datagram, &fragment)) impl_->pool->Free(&fragment.packet);
      impl_->store.Erase(datagram);
    }
  }
}

void Reassembler::Configure(const ReassemblySettings& settings) { impl_->settings = settings; }

bool Reassembler::Add(net::Packet* packet, Time now) { return impl_->Add(packet, now); }

void Reassembler::Tick(Time now) {
  unsigned freed = 0;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    while (freed < kFreesPerTick) {
      Datagram* oldest = impl_->store.Oldest(family);
      if (oldest == nullptr || oldest->deadline > now) break;
      freed += impl_->Expire(oldest);
    }
  }
}

size_t Reassembler::datagrams() const { return impl_->store.size(); }

}  // namespace postern::route

// Reassembly before the rules and fragmentation after them (RFC 791, RFC 815, RFC 8200, RFC 5722).
#pragma once

#include <cstdint>
#include <memory>

#include "dataplane/net/packet.h"
#include "dataplane/net/time.h"
#include "dataplane/net/verdict.h"

namespace postern::route {

class FragmentSink {
 public:
  virtual ~FragmentSink() = default;
  // A fragment or whole datagram that can't be used any more; frees it.
  virtual void Drop(net::Packet* packet, net::DropReason reason) = 0;
  // The datagram that `first` (its first fragment) began wasn't completed in time: the sink may
  // send "reassembly time exceeded", then frees it.
  virtual void TimedOut(net::Packet* first) = 0;
};

struct ReassemblySettings {
  net::Time timeout_ipv4 = 30 * net::kSecond;
  net::Time timeout_ipv6 = 60 * net::kSecond;
  uint32_t max_bytes = 4 * 1024 * 1024;  // of waiting fragments, over all sources
  uint32_t max_per_source = 64;          // datagrams under way from one source
  uint32_t max_datagrams = 1024;
  uint32_t max_fragments = 128;          // of one datagram
  uint64_t hash_key = 0x706f737465726e;  // random, so that nobody chooses colliding datagrams
};

// One a worker: all fragments of a datagram reach the worker that OwnerMap gives for its addresses
// alone.
class Reassembler {
 public:
  Reassembler(const ReassemblySettings& settings, net::BufferPool* pool, FragmentSink* sink);
  ~Reassembler();

  // For datagrams that begin from now on. max_datagrams can't grow beyond the construction's.
  void Configure(const ReassemblySettings& settings);

  // Takes a parsed fragment. True: *packet is now the whole datagram (parsed again, fragment fields
  // clear, largest_fragment, largest_df_fragment and fragment_count set). False: it waits, or was
  // dropped; the packet is consumed. Overlaps drop the datagram (Linux drops the whole queue; an
  // exact duplicate alone is dropped).
  bool Add(net::Packet* packet, net::Time now);
  // Drops what is too old; bounded.
  void Tick(net::Time now);
  size_t datagrams() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Cuts an IPv4 datagram (or, for one that came in fragments, an IPv6 one) into fragments of at most
// `mtu` bytes of l3 (1280 for IPv6 at least, and 68 for IPv4 unless it came in fragments), each
// given to `emitter` with an own buffer, parsed; frees the datagram. Where all the fragments that
// it came in fit, they are sent again as they were. False, the packet untouched: no buffer, or
// headers that leave no room within the MTU. `ipv6_id`: the identification to use for IPv6. As in
// Linux, a DF bit stays on the fragments only where they are cut anew; whether a DF datagram may be
// cut at all is the caller's business.
class FragmentEmitter {
 public:
  virtual ~FragmentEmitter() = default;
  virtual void Emit(net::Packet* fragment) = 0;
};
bool Fragment(net::BufferPool* pool, net::Packet* packet, uint16_t mtu, uint32_t ipv6_id,
              FragmentEmitter* emitter);

}  // namespace postern::route

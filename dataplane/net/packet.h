// A frame in a buffer and what has been read from it.
//
// A Packet is a value that lives in a burst array on the worker's stack; the
// bytes live in a buffer that belongs to a BufferPool (an rte_mbuf in a
// worker, ordinary memory in a replay). Who holds the Packet owns the buffer
// and must hand it on or free it, exactly once.
//
// A header is read only after its length has been proved: Packet::At<T>()
// gives null where the frame is too short.
#pragma once

#include <cstdint>

#include "dataplane/net/address.h"
#include "dataplane/net/time.h"
#include "dataplane/net/wire.h"

namespace postern::net {

using PortId = uint16_t;
inline constexpr PortId kNoPort = 0xffff;
// The largest number of data ports of one daemon. A rule's interface match is a bit set over them
// and over the appliance's own loopback interface.
inline constexpr PortId kMaxPorts = 63;
// "lo": packets that the appliance sends to itself (what REJECT answers to its own packets).
inline constexpr PortId kLoopbackPort = 63;

// What Parse() found. Offsets count from the first byte of the frame.
struct ParsedPacket {
  Family family = Family::kIpv4;
  uint8_t protocol = 0;    // the last header's number for IPv6
  uint8_t tos = 0;         // TOS or traffic class
  uint8_t ttl = 0;         // TTL or hop limit
  uint16_t l3_offset = 0;  // IP header
  uint16_t l4_offset = 0;  // transport header; for a later fragment where its payload starts
  uint32_t l3_length =
      0;  // bytes from l3_offset to the end of the datagram (without Ethernet padding)
  IpAddress source;
  IpAddress destination;

  uint16_t fragment_offset = 0;  // bytes
  bool more_fragments = false;
  bool fragment = false;  // fragment_offset != 0 || more_fragments (IPv6: has a fragment header)
  bool dont_fragment = false;           // IPv4 DF
  uint16_t fragment_header_offset = 0;  // IPv6: where the fragment header stands, else 0
  uint32_t fragment_id = 0;

  // Transport layer; all false and zero for a later fragment. Ports are host order.
  //
  // l4_header: the whole fixed header is there (TCP 20 bytes, UDP, UDP-Lite and ICMP 8, SCTP and
  // DCCP 12), which is what netfilter's matches on ports, flags and types ask for. The ports
  // themselves are filled as soon as their 4 bytes are there (multiport needs no more).
  bool l4_header = false;
  // l4_valid: l4_header, and the header's own lengths make sense (netfilter's *_error functions
  // would pass it); conntrack calls everything else INVALID. Protocols without a header
  // that netfilter knows are valid.
  bool l4_valid = false;
  uint8_t tcp_flags = 0;
  uint8_t icmp_type = 0;
  uint8_t icmp_code = 0;
  uint16_t source_port = 0;  // TCP, UDP, UDP-Lite, SCTP, DCCP
  uint16_t destination_port = 0;
  uint16_t icmp_id = 0;         // ICMP queries
  uint16_t gre_key = 0;         // the call id of enhanced GRE (version 1, RFC 2637)
  uint16_t payload_offset = 0;  // after the transport header (TCP options included)

  // IPv4 options or IPv6 extension headers are present.
  bool has_options = false;
  // A loose or strict source route option, or an IPv6 routing header of type 0.
  bool source_routed = false;

  uint32_t L4Length() const { return l3_length - (l4_offset - l3_offset); }
};

struct Packet {
  uint8_t* data = nullptr;   // first byte of the Ethernet header
  uint32_t length = 0;       // bytes from data, without FCS
  uint16_t headroom = 0;     // bytes that may be prepended before data
  uint32_t tailroom = 0;     // bytes that may be appended after data + length
  void* buffer = nullptr;    // the BufferPool's own handle
  PortId in_port = kNoPort;  // where it entered; kNoPort when it comes from the host
  PortId out_port = kNoPort;
  bool checksum_verified = false;  // the port has checked the transport checksum (RX offload)
  // The largest fragment that a reassembled datagram came in (bytes of l3), 0 when it wasn't one.
  uint16_t largest_fragment = 0;
  // A fragment of the reassembled datagram had DF set: the largest DF fragment's l3 bytes.
  uint16_t largest_df_fragment = 0;
  // In how many fragments it came, where their lengths are known (route/received_lengths.h), else
  // 0.
  uint16_t fragment_count = 0;
  uint32_t mark = 0;  // skb mark
  ParsedPacket ip;

  template <typename T>
  T* At(uint32_t offset) {
    return offset <= length && length - offset >= sizeof(T) ? reinterpret_cast<T*>(data + offset)
                                                            : nullptr;
  }
  template <typename T>
  const T* At(uint32_t offset) const {
    return offset <= length && length - offset >= sizeof(T)
               ? reinterpret_cast<const T*>(data + offset)
               : nullptr;
  }
  uint8_t* L3() { return data + ip.l3_offset; }
  const uint8_t* L3() const { return data + ip.l3_offset; }
  uint8_t* L4() { return data + ip.l4_offset; }
  const uint8_t* L4() const { return data + ip.l4_offset; }
  // End of the datagram; Ethernet padding lies behind it.
  const uint8_t* L3End() const { return data + ip.l3_offset + ip.l3_length; }
};

// Where buffers come from. One implementer a world: mbuf pools in a worker,
// the heap in a replay. One thread: each worker has its own.
class BufferPool {
 public:
  virtual ~BufferPool() = default;
  // Gives `packet` a fresh buffer with `length` bytes of undefined content, data set, and at
  // least 64 bytes of headroom. Any length up to 65,535 + 14 works (large ones come from a small
  // reserve). False when none is left; packet is then unchanged.
  virtual bool Allocate(uint32_t length, Packet* packet) = 0;
  // Frees packet->buffer and clears data and buffer.
  virtual void Free(Packet* packet) = 0;
};

}  // namespace postern::net

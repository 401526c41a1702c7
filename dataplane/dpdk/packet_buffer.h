// Packet buffers: mbufs, and plain blocks for datagrams that no mbuf can hold.
//
// A Packet's handle (Packet::buffer) is an rte_mbuf, or a Block with bit 0 set. Both carry a
// BufferMeta, in which the Packet itself travels when the buffer goes through a ring to another
// thread.
//
// Threads: the stores behind it are shared by all threads; each thread has its own PacketPool.
#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <memory>

#include "dataplane/net/packet.h"
#include "dataplane/net/result.h"
#include "dataplane/pipeline/io.h"

namespace postern::dpdk {

struct BufferMeta {
  net::Packet packet;
  uint8_t kind = 0;  // what the receiver of a ring is to do with it (handoff.h)
};

// A datagram of up to 65,535 bytes with its Ethernet header.
struct Block {
  static constexpr uint32_t kHeadroom = 128;
  static constexpr uint32_t kBytes = kHeadroom + 65535 + 14 + 3;
  BufferMeta meta;
  alignas(16) uint8_t bytes[kBytes];
};

inline bool IsBlock(const void* handle) { return (reinterpret_cast<uintptr_t>(handle) & 1) != 0; }
inline Block* AsBlock(void* handle) {
  return reinterpret_cast<Block*>(reinterpret_cast<uintptr_t>(handle) & ~uintptr_t{1});
}
inline rte_mbuf* AsMbuf(void* handle) { return static_cast<rte_mbuf*>(handle); }
inline BufferMeta* MetaOf(void* handle) {
  return IsBlock(handle) ? &AsBlock(handle)->meta
                         : static_cast<BufferMeta*>(rte_mbuf_to_priv(AsMbuf(handle)));
}

// All buffers of a daemon. Made and destroyed by the control thread.
class BufferStore {
 public:
  struct Sizes {
    unsigned mbufs = 0;
    uint16_t room = 2048;  // bytes of data in an mbuf, beside the headroom
    // For ports whose driver wants more room (Port::FrameRoom).
    unsigned large_mbufs = 0;
    uint16_t large_room = 0;
    unsigned blocks = 0;
    // Threads share CPUs, so none may wait for another in the middle of a step.
    bool preemptible = false;
  };
  static net::Result<std::unique_ptr<BufferStore>> Create(const Sizes& sizes);
  ~BufferStore();
  BufferStore(const BufferStore&) = delete;
  BufferStore& operator=(const BufferStore&) = delete;

  rte_mempool* mbufs() const { return mbufs_; }
  rte_mempool* large_mbufs() const { return large_mbufs_; }  // may be null
  rte_mempool* blocks() const { return blocks_; }

 private:
  BufferStore() = default;
  rte_mempool* mbufs_ = nullptr;
  rte_mempool* large_mbufs_ = nullptr;
  rte_mempool* blocks_ = nullptr;
};

class PacketPool : public net::BufferPool {
 public:
  explicit PacketPool(const BufferStore& store);

  bool Allocate(uint32_t length, net::Packet* packet) override;
  void Free(net::Packet* packet) override;

  static void FreeHandle(void* handle);
  // Points packet at the mbuf's bytes; nothing else of it changes.
  static void View(rte_mbuf* mbuf, net::Packet* packet);
  // A received mbuf as a Packet; several segments become one. False when there is no memory for
  // that; the mbuf is freed then.
  bool Adopt(rte_mbuf* mbuf, net::PortId in_port, net::Packet* packet);
  // A received mbuf as a Frame.
  static pipeline::Frame ToFrame(rte_mbuf* mbuf) {
    return {rte_pktmbuf_mtod(mbuf, uint8_t*), mbuf, mbuf->nb_segs == 1 ? mbuf->data_len : 0U,
            (mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD};
  }
  // The mbuf of a finished frame, which begins where it began, ready to be sent.
  static rte_mbuf* Finish(const pipeline::Frame& frame, net::PortId in_port) {
    rte_mbuf* mbuf = AsMbuf(frame.buffer);
    mbuf->data_len = static_cast<uint16_t>(frame.length);
    mbuf->pkt_len = frame.length;
    mbuf->port = in_port;
    // What the receiving port said of the frame isn't a wish for the sending one.
    mbuf->ol_flags = 0;
    return mbuf;
  }
  // The mbuf with the packet's bytes as they stand now, ready to be sent. Null (and the packet
  // freed) when its block doesn't fit in an mbuf.
  rte_mbuf* Finish(net::Packet* packet);

 private:
  bool AllocateBlock(uint32_t length, net::Packet* packet);
  bool Linearise(rte_mbuf* mbuf, net::Packet* packet);

  rte_mempool* mbufs_;
  rte_mempool* blocks_;
  uint32_t room_;  // bytes of an mbuf without its headroom
};

}  // namespace postern::dpdk

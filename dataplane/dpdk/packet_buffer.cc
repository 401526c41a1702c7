#include "dataplane/dpdk/packet_buffer.h"

#include <rte_eal.h>
#include <rte_errno.h>

#include <cstring>
#include <new>

#include "dataplane/dpdk/ring.h"

namespace postern::dpdk {
namespace {

// Buffers that a thread keeps at hand.
constexpr unsigned kCache = 256;
// The least that Allocate leaves behind a frame, so that a payload may grow a little.
constexpr uint32_t kTailroom = 64;

// rte_pktmbuf_pool_create would put no object across pages, for the sake of devices that know
// physical addresses. Of 4 KB pages each would hold one buffer, at the same place as all others in
// theirs: a burst's headers would fight for one set of the cache. Ordinary memory is for devices
// without DMA, so there the buffers lie side by side.
rte_mempool* MakeMbufs(unsigned count, uint16_t room, const char* operations) {
  // A frame's data begins where a cache line does, so that a small one is in one alone.
  constexpr uint16_t kPrivate = RTE_ALIGN(sizeof(BufferMeta), RTE_CACHE_LINE_SIZE);
  rte_pktmbuf_pool_private layout{};
  layout.mbuf_data_room_size = static_cast<uint16_t>(room + RTE_PKTMBUF_HEADROOM);
  layout.mbuf_priv_size = kPrivate;
  const unsigned cache = count >= 4 * kCache ? kCache : 0;
  const unsigned flags = rte_eal_has_hugepages() != 0 ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
  rte_mempool* pool = rte_mempool_create_empty(
      UniqueName("mb").c_str(), count, sizeof(rte_mbuf) + kPrivate + layout.mbuf_data_room_size,
      cache, sizeof(rte_pktmbuf_pool_private), SOCKET_ID_ANY, flags);
  if (pool == nullptr) return nullptr;
  const int failure = rte_mempool_set_ops_byname(pool, operations, nullptr);
  if (failure == 0) {
    rte_pktmbuf_pool_init(pool, &layout);
    if (rte_mempool_populate_default(pool) >= 0) {
      rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
      return pool;
    }
  }
  rte_mempool_free(pool);
  return nullptr;
}

net::Error NoMemory(unsigned mbufs, uint16_t room) {
  return {"no memory for " + std::to_string(mbufs) + " packet buffers (mbufs) of " +
          std::to_string(room) + " bytes: " + rte_strerror(rte_errno) +
          "; raise memory_mb or lower mbufs"};
}

}  // namespace

net::Result<std::unique_ptr<BufferStore>> BufferStore::Create(const Sizes& sizes) {
  std::unique_ptr<BufferStore> store(new BufferStore);
  const char* operations = sizes.preemptible ? "ring_mt_rts" : "ring_mp_mc";
  store->mbufs_ = MakeMbufs(sizes.mbufs, sizes.room, operations);
  if (store->mbufs_ == nullptr) return NoMemory(sizes.mbufs, sizes.room);
  if (sizes.large_mbufs != 0) {
    store->large_mbufs_ = MakeMbufs(sizes.large_mbufs, sizes.large_room, operations);
    if (store->large_mbufs_ == nullptr) return NoMemory(sizes.large_mbufs, sizes.large_room);
  }
  store->blocks_ = rte_mempool_create_empty(UniqueName("bl").c_str(), sizes.blocks, sizeof(Block),
                                            0, 0, SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
  if (store->blocks_ == nullptr ||
      rte_mempool_set_ops_byname(store->blocks_, operations, nullptr) != 0 ||
      rte_mempool_populate_default(store->blocks_) < 0) {
    return net::Error{"no memory for buffers of large datagrams; raise memory_mb"};
  }
  return store;
}

BufferStore::~BufferStore() {
  rte_mempool_free(mbufs_);
  rte_mempool_free(large_mbufs_);
  rte_mempool_free(blocks_);
}

PacketPool::PacketPool(const BufferStore& store)
    : mbufs_(store.mbufs()),
      blocks_(store.blocks()),
      room_(uint32_t{rte_pktmbuf_data_room_size(store.mbufs())} - RTE_PKTMBUF_HEADROOM) {}

void PacketPool::View(rte_mbuf* mbuf, net::Packet* packet) {
  packet->data = rte_pktmbuf_mtod(mbuf, uint8_t*);
  packet->length = rte_pktmbuf_data_len(mbuf);
  packet->headroom = rte_pktmbuf_headroom(mbuf);
  packet->tailroom = rte_pktmbuf_tailroom(mbuf);
  packet->buffer = mbuf;
}

bool PacketPool::AllocateBlock(uint32_t length, net::Packet* packet) {
  if (length > Block::kBytes - Block::kHeadroom) return false;
  void* memory = nullptr;
  if (rte_mempool_get(blocks_, &memory) != 0) return false;
  auto* block = static_cast<Block*>(memory);
  packet->data = block->bytes + Block::kHeadroom;
  packet->length = length;
  packet->headroom = Block::kHeadroom;
  packet->tailroom = Block::kBytes - Block::kHeadroom - length;
  packet->buffer = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(block) | 1);
  return true;
}

bool PacketPool::Allocate(uint32_t length, net::Packet* packet) {
  if (length + kTailroom > room_) return AllocateBlock(length, packet);
  rte_mbuf* mbuf = rte_pktmbuf_alloc(mbufs_);
  if (mbuf == nullptr) return false;
  mbuf->data_len = static_cast<uint16_t>(length);
  mbuf->pkt_len = length;
  View(mbuf, packet);
  return true;
}

void PacketPool::FreeHandle(void* handle) {
  if (IsBlock(handle)) {
    Block* block = AsBlock(handle);
    rte_mempool_put(rte_mempool_from_obj(block), block);
  } else if (handle != nullptr) {
    rte_pktmbuf_free(AsMbuf(handle));
  }
}

void PacketPool::Free(net::Packet* packet) {
  FreeHandle(packet->buffer);
  packet->data = nullptr;
  packet->buffer = nullptr;
}

bool PacketPool::Linearise(rte_mbuf* mbuf, net::Packet* packet) {
  net::Packet whole = *packet;
  if (!Allocate(mbuf->pkt_len, &whole)) {
    rte_pktmbuf_free(mbuf);
    return false;
  }
  uint8_t* to = whole.data;
  for (const rte_mbuf* part = mbuf; part != nullptr; part = part->next) {
    std::memcpy(to, rte_pktmbuf_mtod(part, const uint8_t*), part->data_len);
    to += part->data_len;
  }
  rte_pktmbuf_free(mbuf);
  *packet = whole;
  return true;
}

bool PacketPool::Adopt(rte_mbuf* mbuf, net::PortId in_port, net::Packet* packet) {
  *packet = net::Packet();
  packet->in_port = in_port;
  packet->checksum_verified =
      (mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD;
  if (mbuf->nb_segs > 1) return Linearise(mbuf, packet);
  View(mbuf, packet);
  return true;
}

rte_mbuf* PacketPool::Finish(net::Packet* packet) {
  if (IsBlock(packet->buffer)) {
    net::Packet small = *packet;
    if (packet->length + kTailroom > room_ || !Allocate(packet->length, &small)) {
      Free(packet);
      return nullptr;
    }
    std::memcpy(small.data, packet->data, packet->length);
    Free(packet);
    *packet = small;
  }
  rte_mbuf* mbuf = AsMbuf(packet->buffer);
  mbuf->data_off = static_cast<uint16_t>(packet->data - static_cast<uint8_t*>(mbuf->buf_addr));
  mbuf->data_len = static_cast<uint16_t>(packet->length);
  mbuf->pkt_len = packet->length;
  mbuf->port = packet->in_port;
  // What the receiving port said of the frame isn't a wish for the sending one.
  mbuf->ol_flags = 0;
  return mbuf;
}

}  // namespace postern::dpdk

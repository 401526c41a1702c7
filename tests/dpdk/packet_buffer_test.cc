#include "dataplane/dpdk/packet_buffer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace postern::dpdk {
namespace {

class PacketPoolTest : public testing::Test {
 protected:
  void SetUp() override {
    auto store = BufferStore::Create({.mbufs = 256, .blocks = 4, .preemptible = true});
    ASSERT_TRUE(store.ok()) << store.error();
    store_ = std::move(*store);
    pool_ = std::make_unique<PacketPool>(*store_);
  }
  void TearDown() override {
    EXPECT_EQ(rte_mempool_in_use_count(store_->mbufs()), 0U);
    EXPECT_EQ(rte_mempool_in_use_count(store_->blocks()), 0U);
  }
  std::unique_ptr<BufferStore> store_;
  std::unique_ptr<PacketPool> pool_;
};

TEST_F(PacketPoolTest, GivesAnyLengthWithHeadroom) {
  for (const uint32_t length : {0U, 60U, 1514U, 1984U, 1985U, 9014U, 65535U + 14U}) {
    net::Packet packet;
    ASSERT_TRUE(pool_->Allocate(length, &packet)) << length;
    EXPECT_EQ(packet.length, length);
    EXPECT_GE(packet.headroom, 64);
    EXPECT_EQ(IsBlock(packet.buffer), length > 2048 - 64);
    std::memset(packet.data - packet.headroom, 0xaa,
                packet.headroom + packet.length + packet.tailroom);
    pool_->Free(&packet);
    EXPECT_EQ(packet.buffer, nullptr);
    EXPECT_EQ(packet.data, nullptr);
  }
}

// A small frame is a line then, for the port that writes it and for who reads it.
TEST_F(PacketPoolTest, LaysFramesOutByCacheLines) {
  std::vector<rte_mbuf*> mbufs(16);
  ASSERT_EQ(rte_pktmbuf_alloc_bulk(store_->mbufs(), mbufs.data(), mbufs.size()), 0);
  for (rte_mbuf* mbuf : mbufs) {
    EXPECT_EQ(rte_pktmbuf_mtod(mbuf, uintptr_t) % RTE_CACHE_LINE_SIZE, 0U);
    rte_pktmbuf_free(mbuf);
  }
}

TEST_F(PacketPoolTest, RefusesWhatNoDatagramHasAndChangesNothing) {
  net::Packet packet;
  packet.mark = 7;
  EXPECT_FALSE(pool_->Allocate(70'000, &packet));
  EXPECT_EQ(packet.buffer, nullptr);
  EXPECT_EQ(packet.mark, 7U);
}

TEST_F(PacketPoolTest, RunsOutAndRecovers) {
  std::vector<net::Packet> packets(4);
  for (net::Packet& packet : packets) ASSERT_TRUE(pool_->Allocate(9000, &packet));
  net::Packet more;
  EXPECT_FALSE(pool_->Allocate(9000, &more));
  EXPECT_TRUE(pool_->Allocate(100, &more));
  pool_->Free(&more);
  for (net::Packet& packet : packets) pool_->Free(&packet);
  EXPECT_TRUE(pool_->Allocate(9000, &more));
  pool_->Free(&more);
}

TEST_F(PacketPoolTest, FinishesAFrameThatHasMoved) {
  net::Packet packet;
  ASSERT_TRUE(pool_->Allocate(100, &packet));
  packet.in_port = 3;
  packet.data -= 14;
  packet.length += 14;
  std::memset(packet.data, 0x5a, packet.length);
  rte_mbuf* mbuf = pool_->Finish(&packet);
  ASSERT_NE(mbuf, nullptr);
  EXPECT_EQ(rte_pktmbuf_mtod(mbuf, uint8_t*), packet.data);
  EXPECT_EQ(mbuf->pkt_len, 114U);
  EXPECT_EQ(mbuf->data_len, 114U);
  EXPECT_EQ(mbuf->port, 3);
  rte_pktmbuf_free(mbuf);
}

TEST_F(PacketPoolTest, FinishesASmallFrameInABlockAndFreesALargeOne) {
  net::Packet packet;
  ASSERT_TRUE(pool_->Allocate(9000, &packet));
  packet.length = 1000;
  std::memset(packet.data, 0x77, packet.length);
  rte_mbuf* mbuf = pool_->Finish(&packet);
  ASSERT_NE(mbuf, nullptr);
  EXPECT_EQ(mbuf->pkt_len, 1000U);
  EXPECT_EQ(rte_pktmbuf_mtod(mbuf, uint8_t*)[999], 0x77);
  rte_pktmbuf_free(mbuf);

  ASSERT_TRUE(pool_->Allocate(9000, &packet));
  EXPECT_EQ(pool_->Finish(&packet), nullptr);
}

TEST_F(PacketPoolTest, JoinsTheSegmentsOfAReceivedChain) {
  for (const uint16_t size : {uint16_t{500}, uint16_t{1500}}) {
    rte_mbuf* head = rte_pktmbuf_alloc(store_->mbufs());
    std::memset(rte_pktmbuf_append(head, size), 1, size);
    for (int i = 2; i <= 3; ++i) {
      rte_mbuf* part = rte_pktmbuf_alloc(store_->mbufs());
      std::memset(rte_pktmbuf_append(part, size), i, size);
      ASSERT_EQ(rte_pktmbuf_chain(head, part), 0);
    }
    net::Packet packet;
    ASSERT_TRUE(pool_->Adopt(head, 5, &packet));
    EXPECT_EQ(packet.length, 3U * size);
    EXPECT_EQ(packet.in_port, 5);
    EXPECT_EQ(packet.data[0], 1);
    EXPECT_EQ(packet.data[size], 2);
    EXPECT_EQ(packet.data[3 * size - 1], 3);
    pool_->Free(&packet);
  }
}

TEST_F(PacketPoolTest, BelievesOnlyAGoodChecksum) {
  const std::pair<uint64_t, bool> rows[] = {{RTE_MBUF_F_RX_L4_CKSUM_GOOD, true},
                                            {RTE_MBUF_F_RX_L4_CKSUM_BAD, false},
                                            {RTE_MBUF_F_RX_L4_CKSUM_NONE, false},
                                            {0, false}};
  for (const auto& [flags, verified] : rows) {
    rte_mbuf* mbuf = rte_pktmbuf_alloc(store_->mbufs());
    mbuf->ol_flags = flags;
    net::Packet packet;
    ASSERT_TRUE(pool_->Adopt(mbuf, 0, &packet));
    EXPECT_EQ(packet.checksum_verified, verified) << flags;
    pool_->Free(&packet);
  }
}

}  // namespace
}  // namespace postern::dpdk

#include "dataplane/dpdk/handoff.h"

#include <gtest/gtest.h>

#include <thread>

#include "dataplane/dpdk/worker_io.h"

namespace postern::dpdk {
namespace {

class HandoffTest : public testing::Test {
 protected:
  void SetUp() override {
    auto store = BufferStore::Create({.mbufs = 8192, .blocks = 4, .preemptible = true});
    ASSERT_TRUE(store.ok()) << store.error();
    store_ = std::move(*store);
    pool_ = std::make_unique<PacketPool>(*store_);
    auto mesh = HandoffMesh::Create(2);
    ASSERT_TRUE(mesh.ok()) << mesh.error();
    mesh_ = std::move(*mesh);
  }
  std::unique_ptr<BufferStore> store_;
  std::unique_ptr<PacketPool> pool_;
  std::unique_ptr<HandoffMesh> mesh_;
};

TEST_F(HandoffTest, KeepsTheOrderAndTheWholePacket) {
  HandoffStage stage(mesh_.get(), 0);
  void* refused[HandoffStage::kBurst];
  for (uint32_t i = 0; i < 100; ++i) {
    net::Packet packet;
    // Large datagrams travel like the others.
    ASSERT_TRUE(pool_->Allocate(i == 50 ? 9000 : 60, &packet));
    packet.mark = i;
    packet.ip.source_port = 4000;
    ASSERT_EQ(stage.Add(1, static_cast<uint8_t>(i % 4), &packet, refused), 0U);
  }
  ASSERT_EQ(stage.Flush(1, refused), 0U);
  for (uint32_t i = 0; i < 100; ++i) {
    void* handle = nullptr;
    ASSERT_EQ(mesh_->packets(0, 1).Pop(&handle, 1), 1U);
    const BufferMeta* meta = MetaOf(handle);
    EXPECT_EQ(meta->packet.mark, i);
    EXPECT_EQ(meta->packet.ip.source_port, 4000);
    EXPECT_EQ(meta->packet.buffer, handle);
    EXPECT_EQ(meta->kind, i % 4);
    PacketPool::FreeHandle(handle);
  }
  EXPECT_TRUE(mesh_->packets(0, 1).Empty());
}

TEST_F(HandoffTest, GivesBackWhatFindsNoRoom) {
  HandoffStage stage(mesh_.get(), 0);
  void* refused[HandoffStage::kBurst];
  unsigned given_back = 0;
  for (unsigned i = 0; i < 4096; ++i) {
    net::Packet packet;
    ASSERT_TRUE(pool_->Allocate(60, &packet));
    const unsigned count = stage.Add(1, 0, &packet, refused);
    for (unsigned r = 0; r < count; ++r) PacketPool::FreeHandle(refused[r]);
    given_back += count;
  }
  EXPECT_EQ(given_back, 2048U);
  mesh_.reset();
  EXPECT_EQ(rte_mempool_in_use_count(store_->mbufs()), 0U);
}

TEST_F(HandoffTest, KeepsTheOrderBetweenThreads) {
  constexpr uint32_t kCount = 200'000;
  auto ring = Ring<uint32_t>::Create(64);
  ASSERT_NE(ring, nullptr);
  std::thread producer([&] {
    for (uint32_t i = 0; i < kCount;) {
      if (ring->Push(i)) {
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  uint32_t expected = 0;
  while (expected < kCount) {
    uint32_t items[16];
    const unsigned count = ring->Pop(items, 16);
    for (unsigned i = 0; i < count; ++i) EXPECT_EQ(items[i], expected++);
    if (count == 0) std::this_thread::yield();
  }
  producer.join();
}

TEST_F(HandoffTest, CarriesRemoteEntries) {
  pipeline::RemoteEntry entry;
  entry.reply.source_key = 77;
  entry.holder = 1;
  entry.kind = pipeline::RemoteEntry::Kind::kRefuse;
  ASSERT_TRUE(mesh_->entries(1, 0).Push(entry));
  pipeline::RemoteEntry got;
  ASSERT_EQ(mesh_->entries(1, 0).Pop(&got, 1), 1U);
  EXPECT_EQ(got.reply, entry.reply);
  EXPECT_EQ(got.holder, 1);
  EXPECT_EQ(got.kind, entry.kind);
}

// However many connections end at once: a packet waits for each question and each answer.
TEST_F(HandoffTest, KeepsRoomForQuestionsAndAnswers) {
  using Kind = pipeline::RemoteEntry::Kind;
  const std::vector<std::unique_ptr<Port>> no_ports;
  WorkerIo io(0, no_ports, *store_, mesh_.get(), nullptr);
  pipeline::RemoteEntry entry;
  entry.kind = Kind::kRemove;
  while (io.entries_lost() == 0) io.SendRemoteEntry(1, entry);
  for (unsigned i = 0; i < pipeline::MostClaims(2); ++i) {
    for (const Kind kind : {Kind::kAsk, Kind::kGrant}) {
      entry.kind = kind;
      entry.claim = static_cast<uint16_t>(i);
      io.SendRemoteEntry(1, entry);
    }
  }
  EXPECT_EQ(io.entries_lost(), 1U);
  unsigned urgent = 0;
  while (mesh_->entries(0, 1).Pop(&entry, 1) == 1) urgent += entry.IsUrgent() ? 1 : 0;
  EXPECT_EQ(urgent, 2 * pipeline::MostClaims(2));
}

}  // namespace
}  // namespace postern::dpdk

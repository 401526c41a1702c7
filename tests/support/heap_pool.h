// A BufferPool out of the heap for tests: it can run dry on purpose and knows what it lent.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dataplane/net/packet.h"
#include "tests/support/packet_builder.h"

namespace postern::test {

class HeapPool final : public net::BufferPool {
 public:
  static constexpr uint16_t kHeadroom = 128;
  static constexpr uint16_t kTailroom = 128;

  bool Allocate(uint32_t length, net::Packet* packet) override {
    if (lent_.size() >= limit_) return false;
    std::vector<uint8_t> memory(size_t{kHeadroom} + length + kTailroom);
    uint8_t* start = memory.data();
    lent_.emplace(start, std::move(memory));
    packet->data = start + kHeadroom;
    packet->length = length;
    packet->headroom = kHeadroom;
    packet->tailroom = kTailroom;
    packet->buffer = start;
    return true;
  }

  // Freeing a buffer that isn't lent (twice, or a stranger's) is counted.
  void Free(net::Packet* packet) override {
    if (lent_.erase(packet->buffer) == 0) ++bad_frees_;
    packet->data = nullptr;
    packet->buffer = nullptr;
  }

  // A packet of this pool with the builder's frame, parsed.
  net::Packet Take(const Packet& builder) {
    const OwnedPacket built = builder.Build();
    net::Packet packet = built.packet;
    if (!Allocate(built.packet.length, &packet)) return net::Packet{};
    std::memcpy(packet.data, built.packet.data, built.packet.length);
    return packet;
  }

  size_t lent() const { return lent_.size(); }
  size_t bad_frees() const { return bad_frees_; }
  // At most `limit` buffers may be lent at once.
  void set_limit(size_t limit) { limit_ = limit; }

 private:
  std::unordered_map<void*, std::vector<uint8_t>> lent_;
  size_t limit_ = SIZE_MAX;
  size_t bad_frees_ = 0;
};

}  // namespace postern::test

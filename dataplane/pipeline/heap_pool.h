// Buffers from the heap, for replay and tests: no EAL, any size.
#pragma once

#include <cstddef>

#include "dataplane/net/packet.h"

namespace postern::pipeline {

class HeapPool final : public net::BufferPool {
 public:
  static constexpr uint16_t kHeadroom = 128;
  static constexpr uint32_t kTailroom = 128;

  bool Allocate(uint32_t length, net::Packet* packet) override;
  void Free(net::Packet* packet) override;
  // Buffers that were allocated and not freed; 0 at the end proves that nobody lost one.
  size_t outstanding() const { return outstanding_; }

 private:
  size_t outstanding_ = 0;
};

}  // namespace postern::pipeline

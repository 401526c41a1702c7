// Buffers from the heap, for replay and tests: no EAL, any size.
#pragma once

#include <cstddef>

#include "dataplane/net/packet.h"

namespace postern::pipeline {

class HeapPool final : public net::BufferPool {
 public:
  static constexpr uint16_t kHeadroom = 128;
  static constexpr uint16_t kTailroom = 128;

  // `tailroom`: bytes behind a new buffer's content. With 0, memory ends with the frame, so that a
  // sanitizer sees who reads past it.
  explicit HeapPool(uint16_t tailroom = kTailroom) : tailroom_(tailroom) {}

  bool Allocate(uint32_t length, net::Packet* packet) override;
  void Free(net::Packet* packet) override;
  // Buffers that were allocated and not freed; 0 at the end proves that nobody lost one.
  size_t outstanding() const { return outstanding_; }

 private:
  const uint16_t tailroom_;
  size_t outstanding_ = 0;
};

}  // namespace postern::pipeline

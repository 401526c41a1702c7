#include "dataplane/pipeline/heap_pool.h"

#include <new>

namespace postern::pipeline {

bool HeapPool::Allocate(uint32_t length, net::Packet* packet) {
  auto* memory = new (std::nothrow) uint8_t[size_t{kHeadroom} + length + tailroom_];
  if (memory == nullptr) return false;
  ++outstanding_;
  packet->buffer = memory;
  packet->data = memory + kHeadroom;
  packet->length = length;
  packet->headroom = kHeadroom;
  packet->tailroom = tailroom_;
  return true;
}

void HeapPool::Free(net::Packet* packet) {
  delete[] static_cast<uint8_t*>(packet->buffer);
  --outstanding_;
  packet->buffer = nullptr;
  packet->data = nullptr;
}

}  // namespace postern::pipeline

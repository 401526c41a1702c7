#include "dataplane/dpdk/handoff.h"

#include <algorithm>

namespace postern::dpdk {
namespace {

constexpr unsigned kPacketRing = 2048;
// Enough for a flush of many connections between two polls of the other side.
constexpr unsigned kEntryRing = 65536;

}  // namespace

net::Result<std::unique_ptr<HandoffMesh>> HandoffMesh::Create(unsigned workers) {
  std::unique_ptr<HandoffMesh> mesh(new HandoffMesh(workers));
  mesh->packets_.resize(size_t{workers} * workers);
  mesh->entries_.resize(size_t{workers} * workers);
  for (unsigned i = 0; i < workers * workers; ++i) {
    if (i / workers == i % workers) continue;
    mesh->packets_[i] = Ring<void*>::Create(kPacketRing);
    mesh->entries_[i] =
        Ring<pipeline::RemoteEntry>::Create(kEntryRing / workers + mesh->urgent_entries());
    if (mesh->packets_[i] == nullptr || mesh->entries_[i] == nullptr) {
      return net::Error{"no memory for the rings between workers; raise memory_mb"};
    }
  }
  return mesh;
}

HandoffMesh::~HandoffMesh() {
  for (const auto& ring : packets_) {
    void* handle = nullptr;
    while (ring != nullptr && ring->Pop(&handle, 1) == 1) PacketPool::FreeHandle(handle);
  }
}

unsigned HandoffStage::Add(unsigned worker, uint8_t kind, net::Packet* packet, void** refused) {
  BufferMeta* meta = MetaOf(packet->buffer);
  meta->packet = *packet;
  meta->kind = kind;
  Target& target = to_[worker];
  target.handles[target.size++] = packet->buffer;
  return target.size == kBurst ? Flush(worker, refused) : 0;
}

unsigned HandoffStage::Flush(unsigned worker, void** refused) {
  Target& target = to_[worker];
  if (target.size == 0) return 0;
  const unsigned sent = mesh_->packets(self_, worker).Push(target.handles.data(), target.size);
  const unsigned left = target.size - sent;
  std::copy_n(target.handles.begin() + sent, left, refused);
  target.size = 0;
  return left;
}

}  // namespace postern::dpdk

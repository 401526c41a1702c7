// Rings between workers: packets handed over, and remote entries.
//
// A ring for every ordered pair of workers, because a ring with one producer makes nobody wait.
// Packets are staged and go in bursts; a remote entry goes at once, and whoever polls looks at the
// entries after he has taken packets and before he works on them, so that an entry is seen before
// any packet that left later (PipelineIo::SendRemoteEntry).
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "dataplane/dpdk/packet_buffer.h"
#include "dataplane/dpdk/ring.h"
#include "dataplane/net/result.h"
#include "dataplane/pipeline/io.h"

namespace postern::dpdk {

// BufferMeta::kind beyond pipeline::HandoffKind: a finished frame for a worker that has a transmit
// queue on the packet's out port.
inline constexpr uint8_t kTransmitForMe = 0xff;

class HandoffMesh {
 public:
  static net::Result<std::unique_ptr<HandoffMesh>> Create(unsigned workers);
  ~HandoffMesh();

  Ring<void*>& packets(unsigned from, unsigned to) { return *packets_[from * workers_ + to]; }
  Ring<pipeline::RemoteEntry>& entries(unsigned from, unsigned to) {
    return *entries_[from * workers_ + to];
  }
  unsigned workers() const { return workers_; }
  // Places of a ring of entries that are kept for urgent ones: a question each way for all claims.
  unsigned urgent_entries() const { return 2 * pipeline::MostClaims(workers_); }

 private:
  explicit HandoffMesh(unsigned workers) : workers_(workers) {}
  unsigned workers_;
  std::vector<std::unique_ptr<Ring<void*>>> packets_;
  std::vector<std::unique_ptr<Ring<pipeline::RemoteEntry>>> entries_;
};

// What one worker has ready for the others.
class HandoffStage {
 public:
  static constexpr unsigned kBurst = 32;

  HandoffStage(HandoffMesh* mesh, unsigned self) : mesh_(mesh), self_(self), to_(mesh->workers()) {}

  // Takes the packet. The number of handles that found no room is what Flush says.
  unsigned Add(unsigned worker, uint8_t kind, net::Packet* packet, void** refused);
  // Sends what is staged for a worker; gives back in `refused` (kBurst long) what found no room.
  unsigned Flush(unsigned worker, void** refused);

 private:
  struct Target {
    std::array<void*, kBurst> handles;
    unsigned size = 0;
  };
  HandoffMesh* mesh_;
  unsigned self_;
  std::vector<Target> to_;
};

}  // namespace postern::dpdk

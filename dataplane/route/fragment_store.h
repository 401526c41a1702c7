// Datagrams under way and their fragments in memory of fixed size.
//
// Overview: a datagram hangs in a hash chain by its key, in a chain by its source (to count those
// of one source) and in its family's list in order of birth, whose head times out first. Its
// fragments are a list in order of offset. Fragments form runs, as in Linux'
// inet_frag_queue_insert: only a fragment that continues the very end joins the last run, any other
// begins a run of its own; so it is decided what counts as a duplicate.
//
// Threads: one. Invariants: fragments don't overlap; a fragment that heads a run knows the run's
// end; free datagrams and fragments are in the free lists.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataplane/net/packet.h"
#include "dataplane/net/time.h"

namespace postern::route {

inline constexpr uint32_t kNoSlot = 0xffffffff;

struct DatagramKey {
  net::IpAddress source;
  net::IpAddress destination;
  uint32_t id = 0;
  net::Family family = net::Family::kIpv4;
  uint8_t protocol = 0;             // IPv4 only: IPv6's fragments needn't agree on it
  net::PortId link = net::kNoPort;  // of a link-local or multicast destination
  friend bool operator==(const DatagramKey&, const DatagramKey&) = default;
};

struct Datagram {
  DatagramKey key;
  net::Time deadline = 0;
  uint32_t length = 0;    // the furthest end seen
  uint32_t received = 0;  // bytes
  uint32_t fragments = 0;
  uint32_t bytes = 0;  // of buffers, for the limit
  uint32_t max_size = 0;
  uint32_t max_df_size = 0;
  uint8_t ecn = 0;  // bit set of the ECN fields seen
  bool first_in = false;
  bool last_in = false;
  uint32_t head = kNoSlot;
  uint32_t tail = kNoSlot;
  uint32_t last_run = kNoSlot;  // head of the run at the very end

  bool Complete() const { return first_in && last_in && received == length; }

 private:
  friend class FragmentStore;
  uint32_t chain = kNoSlot;
  uint32_t source_chain = kNoSlot;
  uint32_t before = kNoSlot;
  uint32_t after = kNoSlot;
};

struct StoredFragment {
  net::Packet packet;
  uint32_t payload = 0;  // offset in the frame
  uint32_t begin = 0;    // within the datagram
  uint32_t end = 0;
  uint32_t run_end = 0;  // of the run that this fragment heads, else 0
  uint32_t next = kNoSlot;
};

class FragmentStore {
 public:
  FragmentStore(uint32_t datagrams, uint32_t fragments, uint64_t hash_key);

  Datagram* Find(const DatagramKey& key);
  // Null: no room, or the source has `max_per_source` already.
  Datagram* Create(const DatagramKey& key, net::Time deadline, uint32_t max_per_source);
  // The datagram has no fragments any more.
  void Erase(Datagram* datagram);
  Datagram* Oldest(net::Family family);

  enum class Insertion : uint8_t { kDone, kDuplicate, kOverlap, kFull };
  Insertion Insert(Datagram* datagram, const net::Packet& packet, uint32_t payload, uint32_t begin,
                   uint32_t end);
  // Takes the first fragment out; false when there is none.
  bool Pop(Datagram* datagram, StoredFragment* fragment);
  const StoredFragment* First(const Datagram& datagram) const {
    return datagram.head == kNoSlot ? nullptr : &fragments_[datagram.head];
  }
  const StoredFragment* Next(const StoredFragment& fragment) const {
    return fragment.next == kNoSlot ? nullptr : &fragments_[fragment.next];
  }

  uint32_t size() const { return size_; }

 private:
  struct List {
    uint32_t head = kNoSlot;
    uint32_t tail = kNoSlot;
  };

  uint32_t* ChainOf(const DatagramKey& key);
  uint32_t* SourceChainOf(const DatagramKey& key);
  List& AgeList(net::Family family) { return ages_[family == net::Family::kIpv4 ? 0 : 1]; }
  uint32_t IndexOf(const Datagram& datagram) const {
    return static_cast<uint32_t>(&datagram - datagrams_.data());
  }

  const uint64_t hash_key_;
  uint32_t size_ = 0;
  std::vector<Datagram> datagrams_;
  std::vector<StoredFragment> fragments_;
  std::vector<uint32_t> free_datagrams_;
  std::vector<uint32_t> free_fragments_;
  std::vector<uint32_t> heads_;
  std::vector<uint32_t> source_heads_;
  std::array<List, 2> ages_;
};

}  // namespace postern::route

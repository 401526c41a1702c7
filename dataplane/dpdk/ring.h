// A queue from one thread to one other: rte_ring with a type.
//
// Single producer and single consumer, because DPDK's many-producer rings make others wait for a
// producer that the kernel has preempted, and here threads may share a CPU.
#pragma once

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include <atomic>
#include <memory>
#include <string>
#include <type_traits>

namespace postern::dpdk {

// A name that no other object of this process has ("rg17"): DPDK finds its objects by name.
inline std::string UniqueName(const char* kind) {
  static std::atomic<unsigned> next{0};
  return kind + std::to_string(next.fetch_add(1));
}

template <typename T>
class Ring {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 4 == 0);

 public:
  // Room for `capacity` elements. Null when there is no memory. Control thread.
  static std::unique_ptr<Ring> Create(unsigned capacity) {
    rte_ring* ring =
        rte_ring_create_elem(UniqueName("rg").c_str(), sizeof(T), capacity, SOCKET_ID_ANY,
                             RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
    return ring == nullptr ? nullptr : std::unique_ptr<Ring>(new Ring(ring));
  }
  ~Ring() { rte_ring_free(ring_); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // How many of `count` found room. Producer.
  unsigned Push(const T* items, unsigned count) {
    return rte_ring_sp_enqueue_burst_elem(ring_, items, sizeof(T), count, nullptr);
  }
  bool Push(const T& item) { return Push(&item, 1) == 1; }
  // How many came. Consumer.
  unsigned Pop(T* items, unsigned count) {
    return rte_ring_sc_dequeue_burst_elem(ring_, items, sizeof(T), count, nullptr);
  }
  // At least so many elements find room. Producer.
  unsigned Room() const { return rte_ring_free_count(ring_); }
  bool Empty() const { return rte_ring_empty(ring_) != 0; }

 private:
  explicit Ring(rte_ring* ring) : ring_(ring) {}
  rte_ring* ring_;
};

}  // namespace postern::dpdk

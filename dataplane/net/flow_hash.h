// The keyed hash of the connection table, and Owner(tuple), the worker that a
// packet belongs to.
//
// The table's hash must not be predictable (hash flooding); the owner's must
// be computable by a NIC: it is the symmetric Toeplitz hash of RSS.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/net/tuple.h"

namespace postern::net {

// AES rounds over a random 128-bit key where the CPU has AES-NI, SipHash-2-4 elsewhere.
// Immutable after construction; any thread.
class FlowHasher {
 public:
  explicit FlowHasher(const std::array<uint8_t, 16>& key);
  // With `aes` false SipHash even where there is AES-NI; true needs AES-NI.
  FlowHasher(const std::array<uint8_t, 16>& key, bool aes);

  // An IPv4 tuple's hash is that of its key.
  uint32_t Hash(const Tuple& tuple) const;
  uint32_t Hash(const Ipv4Key& key) const;
  // hashes.size() >= tuples.size().
  void HashBurst(std::span<const Tuple> tuples, std::span<uint32_t> hashes) const;
  void HashBurst(std::span<const Ipv4Key> keys, std::span<uint32_t> hashes) const;

 private:
  std::array<uint8_t, 16> key_;
  bool aes_;
};

// Which worker owns a tuple.
//
// The key of a symmetric Toeplitz hash repeats every 16 bits, so every 16-bit
// word of the input meets the same key window and the hash is
// T(xor of all words): both directions of a connection give the same value, and
// a port moves it by T(port), which is what makes the choice of a NAT port a matter of classes.
// RSS hashes TCP and UDP (and SCTP) over addresses and ports, all else over addresses only; an
// ICMP query's id is added in software as though it were the source port.
class OwnerMap {
 public:
  // `seed` 16 random bits, `workers` 1..64. The redirection table has 128 entries and
  // spreads them round-robin. A seed with an even number of ones is made odd, because only then
  // every worker owns its share.
  OwnerMap(uint16_t seed, unsigned workers);

  unsigned workers() const { return workers_; }
  // The 40-byte key for the NIC.
  std::array<uint8_t, 40> RssKey() const;
  // The Toeplitz hash as the NIC would compute it.
  uint32_t Hash(const Tuple& tuple) const { return Toeplitz(Fold(tuple)); }
  unsigned OwnerOf(const Tuple& tuple) const {
    return workers_ == 1 ? 0 : OwnerOfFold(Fold(tuple));
  }
  // The same for a key of TCP or UDP.
  unsigned OwnerOfPorts(const Ipv4Key& key) const {
    const uint32_t addresses = key.source ^ key.destination;
    const uint32_t words = addresses ^ addresses >> 16 ^ key.source_key ^ key.destination_key;
    return OwnerOfFold(ByteSwap(static_cast<uint16_t>(words)));
  }
  // The owner for a value of Fold().
  unsigned OwnerOfFold(uint16_t fold) const { return owner_[Toeplitz(fold) % kTableSize]; }

  // The xor of the tuple's 16-bit words that enter the hash. Replacing port a by b
  // changes it by a ^ b.
  static uint16_t Fold(const Tuple& tuple);
  // Another source port (or ICMP id) can change the owner of this protocol's tuples.
  static bool DependsOnSourceKey(uint8_t protocol);

  static constexpr unsigned kTableSize = 128;

 private:
  uint32_t Toeplitz(uint16_t word) const { return low_[word & 0xff] ^ high_[word >> 8]; }

  uint16_t seed_;
  unsigned workers_;
  std::array<uint32_t, 256> low_{};
  std::array<uint32_t, 256> high_{};
  std::array<uint8_t, kTableSize> owner_{};
};

}  // namespace postern::net

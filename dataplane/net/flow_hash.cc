#include "dataplane/net/flow_hash.h"

#include <immintrin.h>

#include <bit>
#include <cassert>
#include <cstring>

namespace postern::net {

namespace {

uint64_t Load64(const void* at) {
  uint64_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// SipHash-2-4 (Aumasson, Bernstein 2012) over the 40 bytes of a tuple or the 16 of a key.
class SipHash {
 public:
  explicit SipHash(const std::array<uint8_t, 16>& key) {
    const uint64_t k0 = Load64(key.data());
    const uint64_t k1 = Load64(key.data() + 8);
    v_ = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
          k1 ^ 0x7465646279746573};
  }

  template <typename T>
  uint64_t Hash(const T& tuple) {
    static_assert(sizeof(T) % 8 == 0);
    const auto* bytes = reinterpret_cast<const uint8_t*>(&tuple);
    for (size_t i = 0; i < sizeof(T); i += 8) Absorb(Load64(bytes + i));
    Absorb(uint64_t{sizeof(T)} << 56);
    v_[2] ^= 0xff;
    for (int i = 0; i < 4; ++i) Round();
    return v_[0] ^ v_[1] ^ v_[2] ^ v_[3];
  }

 private:
  void Absorb(uint64_t word) {
    v_[3] ^= word;
    Round();
    Round();
    v_[0] ^= word;
  }
  void Round() {
    v_[0] += v_[1];
    v_[1] = std::rotl(v_[1], 13) ^ v_[0];
    v_[0] = std::rotl(v_[0], 32);
    v_[2] += v_[3];
    v_[3] = std::rotl(v_[3], 16) ^ v_[2];
    v_[0] += v_[3];
    v_[3] = std::rotl(v_[3], 21) ^ v_[0];
    v_[2] += v_[1];
    v_[1] = std::rotl(v_[1], 17) ^ v_[2];
    v_[2] = std::rotl(v_[2], 32);
  }

  std::array<uint64_t, 4> v_;
};

// Two AES rounds between blocks: five active S-boxes at least, so that no difference between two
// tuples cancels with a probability worth trying without the key. Three more at the end.
__attribute__((target("aes,sse4.1"))) inline uint32_t AesHash(__m128i key, const Tuple& tuple) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&tuple);
  const __m128i source = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  const __m128i destination = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 16));
  const __m128i keys = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes + 32));
  const __m128i other = _mm_xor_si128(key, _mm_set1_epi32(static_cast<int>(0x9e3779b9)));
  __m128i state = _mm_xor_si128(key, source);
  state = _mm_aesenc_si128(_mm_aesenc_si128(state, key), other);
  state = _mm_xor_si128(state, destination);
  state = _mm_aesenc_si128(_mm_aesenc_si128(state, key), other);
  state = _mm_xor_si128(state, keys);
  state = _mm_aesenc_si128(_mm_aesenc_si128(state, key), other);
  state = _mm_aesenc_si128(state, key);
  return static_cast<uint32_t>(_mm_cvtsi128_si32(state));
}

// One block: four rounds make every bit of it reach every bit of the result, with 25 active
// S-boxes.
__attribute__((target("aes,sse4.1"))) inline uint32_t AesHash(__m128i key, __m128i block) {
  const __m128i other = _mm_xor_si128(key, _mm_set1_epi32(static_cast<int>(0x9e3779b9)));
  __m128i state = _mm_xor_si128(key, block);
  state = _mm_aesenc_si128(_mm_aesenc_si128(state, key), other);
  state = _mm_aesenc_si128(_mm_aesenc_si128(state, key), other);
  return static_cast<uint32_t>(_mm_cvtsi128_si32(state));
}

__attribute__((target("aes,sse4.1"))) inline uint32_t AesHash(__m128i key, const Ipv4Key& ipv4) {
  return AesHash(key, _mm_load_si128(reinterpret_cast<const __m128i*>(&ipv4)));
}

// A key that was just made, put together in registers: read whole it would have to wait until its
// parts are written.
__attribute__((target("aes,sse4.1"))) inline uint32_t AesHashParts(const uint8_t* key,
                                                                   const Ipv4Key& ipv4) {
  const uint64_t low = uint64_t{ipv4.destination} << 32 | ipv4.source;
  const uint64_t high = uint64_t{ipv4.source_key} | uint64_t{ipv4.destination_key} << 16 |
                        uint64_t{ipv4.zone} << 32 | uint64_t{ipv4.protocol} << 48;
  return AesHash(_mm_loadu_si128(reinterpret_cast<const __m128i*>(key)),
                 _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low)));
}

__attribute__((target("aes,sse4.1"))) uint32_t AesHashIpv4(const uint8_t* key, const Tuple& tuple) {
  return AesHashParts(key, Ipv4Key(tuple));
}

__attribute__((target("aes,sse4.1"))) uint32_t AesHashIpv4(const uint8_t* key,
                                                           const Ipv4Key& ipv4) {
  return AesHashParts(key, ipv4);
}

__attribute__((target("aes,sse4.1"))) uint32_t AesHashIpv6(const uint8_t* key, const Tuple& tuple) {
  return AesHash(_mm_loadu_si128(reinterpret_cast<const __m128i*>(key)), tuple);
}

template <typename T>
__attribute__((target("aes,sse4.1"))) void AesHashMany(const uint8_t* key,
                                                       std::span<const T> tuples,
                                                       std::span<uint32_t> hashes) {
  const __m128i loaded = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key));
  for (size_t i = 0; i < tuples.size(); ++i) hashes[i] = AesHash(loaded, tuples[i]);
}

// RSS hashes the ports of these.
bool PortsAreHashed(uint8_t protocol) {
  return protocol == kProtoTcp || protocol == kProtoUdp || protocol == kProtoSctp;
}

bool IdIsHashed(uint8_t protocol) { return protocol == kProtoIcmp || protocol == kProtoIcmpv6; }

}  // namespace

FlowHasher::FlowHasher(const std::array<uint8_t, 16>& key)
    : FlowHasher(key, __builtin_cpu_supports("aes") != 0) {}

FlowHasher::FlowHasher(const std::array<uint8_t, 16>& key, bool aes) : key_(key), aes_(aes) {}

uint32_t FlowHasher::Hash(const Ipv4Key& key) const {
  if (aes_) return AesHashIpv4(key_.data(), key);
  return static_cast<uint32_t>(SipHash(key_).Hash(key));
}

uint32_t FlowHasher::Hash(const Tuple& tuple) const {
  if (tuple.family == Family::kIpv4) {
    return aes_ ? AesHashIpv4(key_.data(), tuple) : Hash(Ipv4Key(tuple));
  }
  if (aes_) return AesHashIpv6(key_.data(), tuple);
  return static_cast<uint32_t>(SipHash(key_).Hash(tuple));
}

void FlowHasher::HashBurst(std::span<const Tuple> tuples, std::span<uint32_t> hashes) const {
  assert(hashes.size() >= tuples.size());
  for (size_t i = 0; i < tuples.size(); ++i) hashes[i] = Hash(tuples[i]);
}

void FlowHasher::HashBurst(std::span<const Ipv4Key> keys, std::span<uint32_t> hashes) const {
  assert(hashes.size() >= keys.size());
  if (aes_) {
    AesHashMany(key_.data(), keys, hashes);
    return;
  }
  for (size_t i = 0; i < keys.size(); ++i) hashes[i] = Hash(keys[i]);
}

OwnerMap::OwnerMap(uint16_t seed, unsigned workers) : seed_(seed), workers_(workers) {
  // word -> hash is a circulant matrix over GF(2), of full rank exactly when the seed has an odd
  // number of ones. With a lesser rank some workers would own nothing.
  if (std::popcount(seed_) % 2 == 0) seed_ ^= 1;
  for (unsigned i = 0; i < kTableSize; ++i) owner_[i] = static_cast<uint8_t>(i % workers);
  for (unsigned bit = 0; bit < 16; ++bit) {
    // The key window that meets bit `bit`, counted from the word's most significant one.
    const uint32_t half = std::rotl(seed_, static_cast<int>(bit));
    const uint32_t window = (half << 16) | half;
    const unsigned mask = 0x8000U >> bit;
    for (unsigned byte = 0; byte < 256; ++byte) {
      if ((byte & mask) != 0) low_[byte] ^= window;
      if (((byte << 8) & mask) != 0) high_[byte] ^= window;
    }
  }
}

std::array<uint8_t, 40> OwnerMap::RssKey() const {
  std::array<uint8_t, 40> key;
  for (size_t i = 0; i < key.size(); i += 2) {
    key[i] = static_cast<uint8_t>(seed_ >> 8);
    key[i + 1] = static_cast<uint8_t>(seed_);
  }
  return key;
}

uint16_t OwnerMap::Fold(const Tuple& tuple) {
  // Unused bytes of an IPv4 address are zero and change nothing.
  uint64_t words = Load64(tuple.source.bytes.data()) ^ Load64(tuple.source.bytes.data() + 8) ^
                   Load64(tuple.destination.bytes.data()) ^
                   Load64(tuple.destination.bytes.data() + 8);
  words ^= words >> 32;
  words ^= words >> 16;
  uint16_t fold = ByteSwap(static_cast<uint16_t>(words));
  if (PortsAreHashed(tuple.protocol)) {
    fold ^= tuple.source_key ^ tuple.destination_key;
  } else if (IdIsHashed(tuple.protocol)) {
    fold ^= tuple.source_key;
  }
  return fold;
}

bool OwnerMap::DependsOnSourceKey(uint8_t protocol) {
  return PortsAreHashed(protocol) || IdIsHashed(protocol);
}

}  // namespace postern::net

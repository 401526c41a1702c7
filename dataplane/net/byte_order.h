// Integers in network byte order, as they stand in a packet.
//
// They are arrays of bytes, so they have alignment 1 and a wire header made of
// them can be laid over any byte of a frame.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>

namespace postern::net {

constexpr uint16_t ByteSwap(uint16_t v) { return __builtin_bswap16(v); }
constexpr uint32_t ByteSwap(uint32_t v) { return __builtin_bswap32(v); }
constexpr uint64_t ByteSwap(uint64_t v) { return __builtin_bswap64(v); }

// A big-endian unsigned integer on the wire. Host() gives its value.
template <typename T>
struct BigEndian {
  uint8_t bytes[sizeof(T)];

  static constexpr BigEndian FromHost(T value) {
    BigEndian out{};
    for (size_t i = 0; i < sizeof(T); ++i) {
      out.bytes[i] = static_cast<uint8_t>(value >> (8 * (sizeof(T) - 1 - i)));
    }
    return out;
  }

  constexpr T Host() const {
    if (std::is_constant_evaluated()) {
      T value = 0;
      for (uint8_t byte : bytes) value = static_cast<T>((value << 8) | byte);
      return value;
    }
    T value;
    std::memcpy(&value, bytes, sizeof(T));
    return ByteSwap(value);
  }

  constexpr BigEndian& operator=(T value) {
    *this = FromHost(value);
    return *this;
  }

  friend constexpr bool operator==(const BigEndian&, const BigEndian&) = default;
};

using Be16 = BigEndian<uint16_t>;
using Be32 = BigEndian<uint32_t>;
static_assert(sizeof(Be16) == 2 && alignof(Be16) == 1);
static_assert(sizeof(Be32) == 4 && alignof(Be32) == 1);

}  // namespace postern::net

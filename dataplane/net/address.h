// IP and Ethernet addresses and prefixes.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "dataplane/net/byte_order.h"

namespace postern::net {

enum class Family : uint8_t { kIpv4 = 2, kIpv6 = 10 };  // AF_INET, AF_INET6

// An IPv4 or IPv6 address in network byte order; IPv4 uses the first four
// bytes and leaves the others zero. The family is kept beside it (Tuple,
// ParsedPacket, Prefix), as netfilter's nf_inet_addr does.
struct IpAddress {
  alignas(4) std::array<uint8_t, 16> bytes{};

  static constexpr IpAddress V4(uint32_t host_order) {
    IpAddress a;
    a.bytes[0] = static_cast<uint8_t>(host_order >> 24);
    a.bytes[1] = static_cast<uint8_t>(host_order >> 16);
    a.bytes[2] = static_cast<uint8_t>(host_order >> 8);
    a.bytes[3] = static_cast<uint8_t>(host_order);
    return a;
  }
  // `wire` points at 4 (IPv4) or 16 (IPv6) readable bytes.
  static IpAddress FromWire(Family family, const void* wire) {
    IpAddress a;
    if (family == Family::kIpv4) {
      uint32_t word;
      std::memcpy(&word, wire, sizeof(word));
      return FromRaw(word);
    }
    std::memcpy(a.bytes.data(), wire, sizeof(a));
    return a;
  }
  // IPv4, as the word lies in the packet. Written at once: an address is soon read whole, which has
  // to wait where it was written in parts.
  static IpAddress FromRaw(uint32_t wire) {
    using Whole __attribute__((vector_size(16))) = uint32_t;
    const Whole whole = {wire, 0, 0, 0};
    IpAddress a;
    std::memcpy(a.bytes.data(), &whole, sizeof(a));
    return a;
  }
  void ToWire(Family family, void* wire) const {
    std::memcpy(wire, bytes.data(), family == Family::kIpv4 ? 4 : 16);
  }

  // The IPv4 address as a host-order integer.
  constexpr uint32_t AsV4() const {
    return (uint32_t{bytes[0]} << 24) | (uint32_t{bytes[1]} << 16) | (uint32_t{bytes[2]} << 8) |
           bytes[3];
  }
  // 32-bit word `i` (0..3) in host order.
  constexpr uint32_t Word(int i) const {
    return (uint32_t{bytes[4 * i]} << 24) | (uint32_t{bytes[4 * i + 1]} << 16) |
           (uint32_t{bytes[4 * i + 2]} << 8) | bytes[4 * i + 3];
  }
  constexpr void SetWord(int i, uint32_t host_order) {
    for (int b = 0; b < 4; ++b) {
      bytes[4 * i + b] = static_cast<uint8_t>(host_order >> (8 * (3 - b)));
    }
  }
  // To be compared, masked and hashed without a call; in memory's order.
  constexpr std::array<uint64_t, 2> Words() const {
    return std::bit_cast<std::array<uint64_t, 2>>(bytes);
  }
  bool IsZero() const { return Words() == std::array<uint64_t, 2>{}; }

  friend constexpr bool operator==(const IpAddress& a, const IpAddress& b) {
    return a.Words() == b.Words();
  }
  // In the order of their bytes.
  friend constexpr std::strong_ordering operator<=>(const IpAddress& a, const IpAddress& b) {
    const auto [a0, a1] = a.Words();
    const auto [b0, b1] = b.Words();
    return a0 != b0 ? ByteSwap(a0) <=> ByteSwap(b0) : ByteSwap(a1) <=> ByteSwap(b1);
  }
};
static_assert(sizeof(IpAddress) == 16);

inline bool IsMulticast(Family family, const IpAddress& address) {
  return family == Family::kIpv4 ? (address.bytes[0] & 0xf0) == 0xe0 : address.bytes[0] == 0xff;
}
// 127/8 or ::1.
inline bool IsLoopback(Family family, const IpAddress& address) {
  if (family == Family::kIpv4) return address.bytes[0] == 127;
  IpAddress one;
  one.bytes[15] = 1;
  return address == one;
}
// fe80::/10; false for IPv4.
inline bool IsLinkLocal(Family family, const IpAddress& address) {
  return family == Family::kIpv6 && address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}
// A host's IPv4 address that may stand anywhere: none of 0/8, 127/8, 224/4 and 240/4.
inline bool IsOrdinaryIpv4(const IpAddress& address) {
  const uint8_t first = address.bytes[0];
  return first != 0 && first < 224 && first != 127;
}

// "192.0.2.1", "2001:db8::1" (RFC 5952).
std::string ToString(Family family, const IpAddress& address);
std::optional<IpAddress> ParseAddress(Family family, std::string_view text);

// The mask of a prefix length (0..32 or 0..128).
IpAddress PrefixMask(Family family, unsigned length);
// The length of a contiguous mask, or nothing.
std::optional<unsigned> MaskLength(Family family, const IpAddress& mask);
IpAddress operator&(const IpAddress& a, const IpAddress& b);

// An address with a prefix length. `address` may have host bits set
// (an interface address) or not (a route).
struct Prefix {
  Family family = Family::kIpv4;
  IpAddress address;
  uint8_t length = 0;

  bool Contains(const IpAddress& a) const {
    if (family == Family::kIpv4) {
      const uint32_t differs = address.AsV4() ^ a.AsV4();
      return length == 0 || differs >> (32 - std::min<unsigned>(length, 32)) == 0;
    }
    const IpAddress mask = PrefixMask(family, length);
    return (a & mask) == (address & mask);
  }
  friend bool operator==(const Prefix&, const Prefix&) = default;
};
// "192.0.2.0/24" or "2001:db8::/32"; without a length the address' own width.
std::optional<Prefix> ParsePrefix(std::string_view text);
std::string ToString(const Prefix& prefix);

struct MacAddress {
  std::array<uint8_t, 6> bytes{};

  static constexpr MacAddress Broadcast() { return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
  bool IsMulticast() const { return (bytes[0] & 1) != 0; }
  friend auto operator<=>(const MacAddress&, const MacAddress&) = default;
};
// "02:00:00:00:00:01", lower case.
std::string ToString(const MacAddress& mac);
std::optional<MacAddress> ParseMac(std::string_view text);

}  // namespace postern::net

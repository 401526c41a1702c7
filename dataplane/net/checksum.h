// The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dataplane/net/packet.h"

namespace postern::net {

// RFC 1071 2(B): a one's complement sum may be taken in the machine's byte order and swapped at its
// end. What follows works on such raw sums: of 32-bit words in 64 bits, so that no carry is lost.

template <typename T>
T LoadRaw(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

constexpr uint64_t RawWords(uint64_t eight_bytes) {
  return (eight_bytes & 0xffffffff) + (eight_bytes >> 32);
}

// Folds to 16 bits: 0 only where the sum is 0. Each half of a word added to the other, with the
// carry, is the upper half of the word plus itself turned round.
constexpr uint16_t FoldRaw(uint64_t sum) {
  sum += std::rotl(sum, 32);
  auto word = static_cast<uint32_t>(sum >> 32);
  word += std::rotl(word, 16);
  return static_cast<uint16_t>(word >> 16);
}

// RFC 1624 eqn 3 on a raw checksum field: `delta` is the sum of ~m + m' over what has changed.
constexpr uint16_t ApplyDelta(uint16_t checksum, uint64_t delta) {
  return static_cast<uint16_t>(~FoldRaw(static_cast<uint16_t>(~checksum) + delta));
}

// RawSum of more than a few bytes.
uint64_t LongRawSum(const uint8_t* bytes, size_t length);

// The raw sum of `length` bytes; an odd last byte is padded with zero.
inline uint64_t RawSum(const uint8_t* bytes, size_t length) {
  if (length > 64) return LongRawSum(bytes, length);
  uint64_t sum = 0;
  if (length >= 8) {
    const uint8_t* end = bytes + length;
    for (; length >= 8; length -= 8, bytes += 8) sum += RawWords(LoadRaw<uint64_t>(bytes));
    // The last bytes once more by eight, without those that are in the sum.
    if (length > 0) sum += RawWords(LoadRaw<uint64_t>(end - 8) >> (64 - 8 * length));
    return sum;
  }
  for (size_t i = 0; i < length; ++i) sum += uint64_t{bytes[i]} << (8 * (i % 2));
  return sum;
}

// One's complement sum of `length` bytes, folded to 16 bits, not inverted, in the byte
// order of a Be16's Host(). An odd last byte is padded with zero.
uint16_t OnesSum(const void* bytes, size_t length, uint32_t initial = 0);

// The checksum field's value for `length` bytes whose checksum field is zero.
inline uint16_t InternetChecksum(const void* bytes, size_t length) {
  return static_cast<uint16_t>(~OnesSum(bytes, length));
}

// RFC 1624 eqn 3: HC' = ~(~HC + ~m + m'), all host order.
constexpr uint16_t UpdateChecksum(uint16_t checksum, uint16_t old_word, uint16_t new_word) {
  uint32_t sum = static_cast<uint16_t>(~checksum);
  sum += static_cast<uint16_t>(~old_word);
  sum += new_word;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}
constexpr uint16_t UpdateChecksum32(uint16_t checksum, uint32_t old_value, uint32_t new_value) {
  checksum = UpdateChecksum(checksum, static_cast<uint16_t>(old_value >> 16),
                            static_cast<uint16_t>(new_value >> 16));
  return UpdateChecksum(checksum, static_cast<uint16_t>(old_value),
                        static_cast<uint16_t>(new_value));
}

// One's complement sum of the pseudo header (RFC 9293 3.1, RFC 8200 8.1).
uint32_t PseudoHeaderSum(Family family, const IpAddress& source, const IpAddress& destination,
                         uint8_t protocol, uint32_t l4_length);

// Whether the transport checksum over packet.ip's l4 bytes is right; false where the header is cut
// short. Covers TCP, UDP (where zero, no checksum, counts as right over IPv6 too, as in netfilter),
// UDP-Lite, ICMP, ICMPv6 and SCTP's CRC; others are right by definition, and so are fragments.
bool TransportChecksumValid(const Packet& packet);

// Writes the IPv4 header checksum anew.
void SetIpv4Checksum(Ipv4Header* header);
// Writes the TCP, UDP, UDP-Lite, ICMP, ICMPv6 or SCTP checksum anew; a computed UDP 0 becomes
// 0xffff (RFC 768). Leaves fragments alone.
void SetTransportChecksum(Packet* packet);

// RFC 9260 appendix A: the CRC32c of an SCTP packet as it stands in the header's bytes 8 to 11,
// which count as zero. `length` >= 12.
std::array<uint8_t, 4> SctpChecksum(const uint8_t* sctp, size_t length);

}  // namespace postern::net

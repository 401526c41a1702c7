// The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/net/packet.h"

namespace postern::net {

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

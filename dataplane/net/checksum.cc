#include "dataplane/net/checksum.h"

namespace postern::net {

namespace {

// Where a transport's checksum stands and what it covers.
struct Coverage {
  Be16* field = nullptr;  // null: this transport has no Internet checksum
  uint32_t covered = 0;   // bytes of the transport header and payload
  uint32_t pseudo = 0;    // sum of the pseudo header, 0 for ICMP over IPv4
  bool optional = false;  // zero means that the sender computed none (RFC 768)
  bool too_short = false;
};

// The kernel's nf_ip_checksum: a transport that is checked is checked over the whole datagram,
// whatever UDP's own length says.
Coverage CoverageOf(const Packet& packet) {
  const ParsedPacket& ip = packet.ip;
  Coverage out;
  uint16_t field_offset = 0;
  switch (ip.protocol) {
    case kProtoTcp:
      field_offset = offsetof(TcpHeader, checksum);
      break;
    case kProtoUdp:
    case kProtoUdpLite:
      field_offset = offsetof(UdpHeader, checksum);
      break;
    case kProtoIcmp:
      if (ip.family != Family::kIpv4) return out;
      field_offset = offsetof(IcmpHeader, checksum);
      break;
    case kProtoIcmpv6:
      if (ip.family != Family::kIpv6) return out;
      field_offset = offsetof(IcmpHeader, checksum);
      break;
    default:
      return out;
  }
  if (!ip.l4_header) {
    out.too_short = true;
    return out;
  }
  const uint8_t* l4 = packet.L4();
  out.field = reinterpret_cast<Be16*>(const_cast<uint8_t*>(l4) + field_offset);
  out.covered = ip.L4Length();
  if (ip.protocol == kProtoUdpLite) {
    // RFC 3828 3.1: the length field is the coverage, 0 means everything.
    const uint16_t coverage = reinterpret_cast<const UdpHeader*>(l4)->length.Host();
    if (coverage != 0 && coverage < out.covered) out.covered = coverage;
  }
  out.optional = ip.protocol == kProtoUdp;
  if (ip.protocol != kProtoIcmp) {
    out.pseudo = PseudoHeaderSum(ip.family, ip.source, ip.destination, ip.protocol, ip.L4Length());
  }
  return out;
}

// Reflected CRC32c (polynomial 0x1edc6f41), a byte a step.
constexpr std::array<uint32_t, 256> kCrc32c = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
    table[byte] = crc;
  }
  return table;
}();

uint32_t Crc32cStep(uint32_t crc, uint8_t byte) {
  return (crc >> 8) ^ kCrc32c[(crc ^ byte) & 0xff];
}

constexpr size_t kSctpChecksumOffset = 8;

bool IsFragment(const ParsedPacket& ip) { return ip.fragment_offset != 0 || ip.more_fragments; }

}  // namespace

uint64_t LongRawSum(const uint8_t* bytes, size_t length) {
  // Four sums of 64 bits side by side, which is what the CPU's vectors hold.
  using Words = uint64_t __attribute__((vector_size(32)));
  Words low{};
  Words high{};
  for (; length >= sizeof(Words); length -= sizeof(Words), bytes += sizeof(Words)) {
    Words words;
    std::memcpy(&words, bytes, sizeof(words));
    low += words & 0xffffffff;
    high += words >> 32;
  }
  const Words both = low + high;
  return both[0] + both[1] + both[2] + both[3] + RawSum(bytes, length);
}

uint16_t OnesSum(const void* bytes, size_t length, uint32_t initial) {
  const uint64_t sum = RawSum(static_cast<const uint8_t*>(bytes), length);
  return FoldRaw(uint64_t{ByteSwap(FoldRaw(sum))} + initial);
}

uint32_t PseudoHeaderSum(Family family, const IpAddress& source, const IpAddress& destination,
                         uint8_t protocol, uint32_t l4_length) {
  const size_t width = family == Family::kIpv4 ? 4 : 16;
  uint32_t sum = OnesSum(source.bytes.data(), width);
  sum += OnesSum(destination.bytes.data(), width);
  return sum + protocol + (l4_length >> 16) + (l4_length & 0xffff);
}

bool TransportChecksumValid(const Packet& packet) {
  if (IsFragment(packet.ip)) return true;  // only the whole datagram has one
  if (packet.ip.protocol == kProtoSctp) {
    if (!packet.ip.l4_header) return false;
    const auto crc = SctpChecksum(packet.L4(), packet.ip.L4Length());
    return std::memcmp(packet.L4() + kSctpChecksumOffset, crc.data(), crc.size()) == 0;
  }
  const Coverage coverage = CoverageOf(packet);
  if (coverage.too_short) return false;
  if (coverage.field == nullptr) return true;
  if (coverage.optional && coverage.field->Host() == 0) return true;
  return OnesSum(packet.L4(), coverage.covered, coverage.pseudo) == 0xffff;
}

void SetIpv4Checksum(Ipv4Header* header) {
  header->checksum = 0;
  header->checksum = InternetChecksum(header, header->HeaderLength());
}

void SetTransportChecksum(Packet* packet) {
  if (IsFragment(packet->ip)) return;
  if (packet->ip.protocol == kProtoSctp && packet->ip.l4_header) {
    const auto crc = SctpChecksum(packet->L4(), packet->ip.L4Length());
    std::memcpy(packet->L4() + kSctpChecksumOffset, crc.data(), crc.size());
    return;
  }
  const Coverage coverage = CoverageOf(*packet);
  if (coverage.field == nullptr) return;
  *coverage.field = 0;
  auto value = static_cast<uint16_t>(~OnesSum(packet->L4(), coverage.covered, coverage.pseudo));
  const bool zero_is_special =
      packet->ip.protocol == kProtoUdp || packet->ip.protocol == kProtoUdpLite;
  if (zero_is_special && value == 0) value = 0xffff;
  *coverage.field = value;
}

std::array<uint8_t, 4> SctpChecksum(const uint8_t* sctp, size_t length) {
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < length; ++i) {
    const bool in_field = i >= kSctpChecksumOffset && i < kSctpChecksumOffset + 4;
    crc = Crc32cStep(crc, in_field ? 0 : sctp[i]);
  }
  crc = ~crc;
  return {static_cast<uint8_t>(crc), static_cast<uint8_t>(crc >> 8),
          static_cast<uint8_t>(crc >> 16), static_cast<uint8_t>(crc >> 24)};
}

}  // namespace postern::net

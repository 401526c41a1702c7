#include "nat/range.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace postern::nat {

using net::Family;
using net::IpAddress;
using net::Manip;
using net::NatRange;
using net::Tuple;

namespace {

// The address' 32-bit word `i` as it lies in memory, which is what Linux hashes.
uint32_t RawWord(const IpAddress& address, size_t i) {
  uint32_t word;
  std::memcpy(&word, address.bytes.data() + 4 * i, sizeof(word));
  return word;
}

// lookup3's hashword() for the four words of an address (Jenkins, 2006): one mixing of three words
// and the final of the fourth.
uint32_t HashAddress(const IpAddress& address, uint32_t seed) {
  constexpr uint32_t kWords = 4;
  uint32_t a = 0xdeadbeef + (kWords << 2) + seed;
  uint32_t b = a;
  uint32_t c = a;
  a += RawWord(address, 0);
  b += RawWord(address, 1);
  c += RawWord(address, 2);
  const auto mix = [](uint32_t& x, uint32_t y, uint32_t& z, int bits) {
    x -= z;
    x ^= std::rotl(z, bits);
    z += y;
  };
  mix(a, b, c, 4);
  mix(b, c, a, 6);
  mix(c, a, b, 8);
  mix(a, b, c, 16);
  mix(b, c, a, 19);
  mix(c, a, b, 4);
  a += RawWord(address, 3);
  const auto final = [](uint32_t& x, uint32_t y, int bits) {
    x ^= y;
    x -= std::rotl(y, bits);
  };
  final(c, b, 14);
  final(a, c, 11);
  final(b, a, 25);
  final(c, b, 16);
  final(a, c, 4);
  final(b, a, 14);
  final(c, b, 24);
  return c;
}

// `value` of 2^32 scaled to `size`.
uint32_t Scale(uint32_t value, uint32_t size) {
  return static_cast<uint32_t>((uint64_t{value} * size) >> 32);
}

}  // namespace

bool KeyInRange(const Tuple& tuple, Manip manip, const NatRange& range) {
  switch (tuple.protocol) {
    case net::kProtoIcmp:
    case net::kProtoIcmpv6:
      return range.ports.Contains(tuple.source_key);
    default:
      break;
  }
  if (!net::HasPorts(tuple.protocol) && tuple.protocol != net::kProtoGre) return true;
  return range.ports.Contains(manip == Manip::kSource ? tuple.source_key : tuple.destination_key);
}

bool SourceInRange(const Tuple& tuple, const NatRange& range) {
  // Bytes in network order compare as the addresses do.
  if (range.has_address &&
      (tuple.source < range.first_address || range.last_address < tuple.source)) {
    return false;
  }
  return !range.has_ports || KeyInRange(tuple, Manip::kSource, range);
}

void SpreadAddress(Manip manip, const NatRange& range, Tuple* tuple) {
  if (!range.has_address) return;
  IpAddress& address = manip == Manip::kSource ? tuple->source : tuple->destination;
  if (range.first_address == range.last_address) {
    address = range.first_address;
    return;
  }
  const int words = tuple->family == Family::kIpv4 ? 1 : 4;
  const auto last = static_cast<size_t>(words - 1);
  uint32_t hash =
      HashAddress(tuple->source,
                  range.persistent ? 0 : RawWord(tuple->destination, last) ^ uint32_t{tuple->zone});
  // Word by word from the most significant: once a word is below the range's upper end, the
  // following ones are free.
  bool below = false;
  for (int i = 0; i < words; ++i) {
    const uint32_t first = below ? 0 : range.first_address.Word(i);
    const uint32_t size = below ? ~uint32_t{0} : range.last_address.Word(i) - first + 1;
    address.SetWord(i, first + Scale(hash, size));
    if (address.Word(i) != range.last_address.Word(i)) below = true;
    if (!range.persistent) hash ^= RawWord(tuple->destination, static_cast<size_t>(i));
  }
}

}  // namespace postern::nat

#include "dataplane/net/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstdio>

namespace postern::net {

std::string ToString(Family family, const IpAddress& address) {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(static_cast<int>(family), address.bytes.data(), text, sizeof(text));
  return text;
}

std::optional<IpAddress> ParseAddress(Family family, std::string_view text) {
  if (text.size() >= INET6_ADDRSTRLEN) return std::nullopt;
  const std::string terminated(text);
  IpAddress out;
  if (inet_pton(static_cast<int>(family), terminated.c_str(), out.bytes.data()) != 1) {
    return std::nullopt;
  }
  return out;
}

IpAddress PrefixMask(Family family, unsigned length) {
  const unsigned width = family == Family::kIpv4 ? 32 : 128;
  if (length > width) length = width;
  IpAddress mask;
  if (family == Family::kIpv4) {
    return IpAddress::V4(length == 0 ? 0 : ~uint32_t{0} << (width - length));
  }
  for (unsigned i = 0; i < length / 8; ++i) mask.bytes[i] = 0xff;
  if (length % 8 != 0) mask.bytes[length / 8] = static_cast<uint8_t>(0xff00 >> (length % 8));
  return mask;
}

std::optional<unsigned> MaskLength(Family family, const IpAddress& mask) {
  const unsigned width = family == Family::kIpv4 ? 32 : 128;
  unsigned length = 0;
  while (length < width && (mask.bytes[length / 8] & (0x80 >> (length % 8))) != 0) ++length;
  if (PrefixMask(family, length) != mask) return std::nullopt;
  return length;
}

IpAddress operator&(const IpAddress& a, const IpAddress& b) {
  IpAddress out;
  for (size_t i = 0; i < out.bytes.size(); ++i) {
    out.bytes[i] = static_cast<uint8_t>(a.bytes[i] & b.bytes[i]);
  }
  return out;
}

std::optional<Prefix> ParsePrefix(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view address_text = text.substr(0, slash);
  Prefix prefix;
  prefix.family =
      address_text.find(':') == std::string_view::npos ? Family::kIpv4 : Family::kIpv6;
  const auto address = ParseAddress(prefix.family, address_text);
  if (!address) return std::nullopt;
  prefix.address = *address;
  const unsigned width = prefix.family == Family::kIpv4 ? 32 : 128;
  prefix.length = static_cast<uint8_t>(width);
  if (slash == std::string_view::npos) return prefix;
  const std::string_view digits = text.substr(slash + 1);
  unsigned length = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (error != std::errc{} || end != digits.data() + digits.size() || length > width) {
    return std::nullopt;
  }
  prefix.length = static_cast<uint8_t>(length);
  return prefix;
}

std::string ToString(const Prefix& prefix) {
  return ToString(prefix.family, prefix.address) + "/" + std::to_string(prefix.length);
}

std::string ToString(const MacAddress& mac) {
  char text[18];
  std::snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac.bytes[0], mac.bytes[1],
                mac.bytes[2], mac.bytes[3], mac.bytes[4], mac.bytes[5]);
  return text;
}

std::optional<MacAddress> ParseMac(std::string_view text) {
  if (text.size() != 17) return std::nullopt;
  MacAddress mac;
  for (size_t i = 0; i < 6; ++i) {
    if (i > 0 && text[3 * i - 1] != ':') return std::nullopt;
    const char* first = text.data() + 3 * i;
    const auto [end, error] = std::from_chars(first, first + 2, mac.bytes[i], 16);
    if (error != std::errc{} || end != first + 2) return std::nullopt;
  }
  return mac;
}

}  // namespace postern::net

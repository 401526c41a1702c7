#include "dataplane/route/source_selection.h"

#include <algorithm>
#include <bit>

namespace postern::route {
namespace {

// RFC 4291 2.7 names scopes for groups; RFC 6724 3.1 has unicast addresses in the same order.
enum Scope : uint8_t { kNodeLocal = 1, kLinkScope = 2, kSiteLocal = 5, kGlobal = 14 };

Scope ScopeOf(const IpAddress& address) {
  if (net::IsMulticast(Family::kIpv6, address)) {
    switch (address.bytes[1] & 0x0f) {
      case kNodeLocal:
        return kNodeLocal;
      case kLinkScope:
        return kLinkScope;
      case kSiteLocal:
        return kSiteLocal;
      default:
        return kGlobal;
    }
  }
  if (net::IsLinkLocal(Family::kIpv6, address)) return kLinkScope;
  const bool site = address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0xc0;  // RFC 3879
  return site ? kSiteLocal : kGlobal;
}

bool StartsWith(const IpAddress& address, std::initializer_list<uint8_t> bytes) {
  return std::equal(bytes.begin(), bytes.end(), address.bytes.begin());
}

// RFC 4843: an identifier and no place.
bool IsOrchid(const IpAddress& address) {
  return StartsWith(address, {0x20, 0x01, 0x00}) && (address.bytes[3] & 0xf0) == 0x10;
}

// The policy table of RFC 3484 with what Linux has added to it: addresses of one kind talk to each
// other.
unsigned LabelOf(const IpAddress& address) {
  if ((address.bytes[0] & 0xfe) == 0xfc) return 5;  // unique local (RFC 4193)
  if (StartsWith(address, {0x20, 0x02})) return 2;  // 6to4
  if (IsOrchid(address)) return 7;
  if (StartsWith(address, {0x20, 0x01, 0, 0})) return 6;  // Teredo
  if (!StartsWith(address, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0})) return 1;
  if (address.bytes[10] == 0xff && address.bytes[11] == 0xff) return 4;  // IPv4-mapped
  if (address.bytes[10] != 0 || address.bytes[11] != 0) return 1;
  return net::IsLoopback(Family::kIpv6, address) ? 0 : 3;
}

unsigned CommonBits(const IpAddress& a, const IpAddress& b) {
  for (int i = 0; i < 4; ++i) {
    if (const uint32_t differs = a.Word(i) ^ b.Word(i); differs != 0) {
      return static_cast<unsigned>(32 * i + std::countl_zero(differs));
    }
  }
  return 128;
}

// How good a source is, the rules in their order from the highest bits down.
class Towards {
 public:
  explicit Towards(const IpAddress& destination)
      : destination_(destination), scope_(ScopeOf(destination)), label_(LabelOf(destination)) {}

  // A group, and what goes no further than the link, wants an address of the link itself.
  bool OnlyFromOutPort() const {
    return net::IsMulticast(Family::kIpv6, destination_) || scope_ <= kLinkScope;
  }
  uint32_t Rate(const Prefix& own, bool out_port) const {
    const Scope scope = ScopeOf(own.address);
    // Rule 2: the smallest scope that suffices, else the largest.
    const uint32_t reach = scope >= scope_ ? 0x80U - scope : uint32_t{scope};
    const uint32_t common = std::min<unsigned>(CommonBits(own.address, destination_), own.length);
    return uint32_t{own.address == destination_} << 31 | reach << 16 | uint32_t{out_port} << 15 |
           uint32_t{LabelOf(own.address) == label_} << 14 |
           uint32_t{IsOrchid(own.address) == IsOrchid(destination_)} << 13 | common;
  }

 private:
  const IpAddress& destination_;
  const Scope scope_;
  const unsigned label_;
};

// The kernel puts each new address before those of its scope, and the one made of the MAC came
// first.
template <typename Visit>
void ForEachIpv6(const PortConfig& port, const Visit& visit) {
  for (auto own = port.addresses.rbegin(); own != port.addresses.rend(); ++own) {
    if (own->family == Family::kIpv6) visit(*own);
  }
  constexpr uint8_t kLinkPrefix = 64;
  visit(Prefix{Family::kIpv6, LinkLocalAddress(port.mac), kLinkPrefix});
}

}  // namespace

std::optional<IpAddress> Ipv4Source(std::span<const PortConfig> ports, PortId out,
                                    const IpAddress& next_hop) {
  std::optional<IpAddress> any;
  for (const PortConfig& port : ports) {
    std::optional<IpAddress> first;
    for (const Prefix& own : port.addresses) {
      if (own.family != Family::kIpv4) continue;
      if (port.id == out && own.Contains(next_hop)) return own.address;
      if (!first) first = own.address;
    }
    if (port.id == out && first) any = first;
    if (!any) any = first;
  }
  return any;
}

std::optional<IpAddress> Ipv6Source(std::span<const PortConfig> ports, PortId out,
                                    const IpAddress& destination) {
  const Towards towards(destination);
  std::optional<IpAddress> best;
  uint32_t highest = 0;
  for (const PortConfig& port : ports) {
    if (towards.OnlyFromOutPort() && port.id != out) continue;
    ForEachIpv6(port, [&](const Prefix& own) {
      const uint32_t rating = towards.Rate(own, port.id == out);
      if (rating <= highest) return;
      highest = rating;
      best = own.address;
    });
  }
  return best;
}

std::optional<IpAddress> RedirectAddress(const PortConfig& port, Family family,
                                         const IpAddress& destination) {
  if (family == Family::kIpv4) {
    const auto first = std::ranges::find(port.addresses, Family::kIpv4, &Prefix::family);
    return first == port.addresses.end() ? std::nullopt : std::optional(first->address);
  }
  const Scope wanted = ScopeOf(destination);
  std::optional<IpAddress> best;
  uint8_t widest = 0;
  ForEachIpv6(port, [&](const Prefix& own) {
    const Scope scope = ScopeOf(own.address);
    if (wanted != kGlobal && scope != wanted) return;
    if (scope <= widest) return;
    widest = scope;
    best = own.address;
  });
  return best;
}

}  // namespace postern::route

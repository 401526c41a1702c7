#include "dataplane/dpdk/rte_fib_adapter.h"

#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_memory.h>

#include <algorithm>

#include "dataplane/dpdk/ring.h"

namespace postern::dpdk {
namespace {

using net::Family;
using net::IpAddress;
using net::Prefix;

class RteFib : public route::Fib {
 public:
  RteFib(rte_fib* ipv4, rte_fib6* ipv6) : ipv4_(ipv4), ipv6_(ipv6) {}
  ~RteFib() override {
    rte_fib_free(ipv4_);
    rte_fib6_free(ipv6_);
  }
  RteFib(const RteFib&) = delete;
  RteFib& operator=(const RteFib&) = delete;

  void Add(const Prefix& prefix, uint32_t next_hop) override {
    const IpAddress network = prefix.address & net::PrefixMask(prefix.family, prefix.length);
    if (prefix.family == Family::kIpv4) {
      rte_fib_add(ipv4_, network.AsV4(), prefix.length, next_hop);
    } else {
      rte_fib6_add(ipv6_, network.bytes.data(), prefix.length, next_hop);
    }
  }

  uint32_t Lookup(Family family, const IpAddress& address) const override {
    uint64_t next_hop = kNone;
    if (family == Family::kIpv4) {
      uint32_t key = address.AsV4();
      rte_fib_lookup_bulk(ipv4_, &key, &next_hop, 1);
    } else {
      uint8_t key[1][RTE_FIB6_IPV6_ADDR_SIZE];
      std::copy(address.bytes.begin(), address.bytes.end(), key[0]);
      rte_fib6_lookup_bulk(ipv6_, key, &next_hop, 1);
    }
    return static_cast<uint32_t>(next_hop);
  }

 private:
  rte_fib* ipv4_;
  rte_fib6* ipv6_;
};

}  // namespace

std::unique_ptr<route::Fib> MakeRteFib(uint32_t max_routes) {
  // A prefix longer than /24 takes a second table of 256 next hops, a long IPv6 prefix several.
  const uint32_t tables = std::clamp(max_routes, 256U, 32000U);
  rte_fib_conf ipv4{};
  ipv4.type = RTE_FIB_DIR24_8;
  ipv4.default_nh = route::Fib::kNone;
  ipv4.max_routes = static_cast<int>(max_routes);
  ipv4.dir24_8.nh_sz = RTE_FIB_DIR24_8_2B;
  ipv4.dir24_8.num_tbl8 = tables;
  rte_fib6_conf ipv6{};
  ipv6.type = RTE_FIB6_TRIE;
  ipv6.default_nh = route::Fib::kNone;
  ipv6.max_routes = static_cast<int>(max_routes);
  ipv6.trie.nh_sz = RTE_FIB6_TRIE_2B;
  ipv6.trie.num_tbl8 = tables;
  rte_fib* fib = rte_fib_create(UniqueName("f4").c_str(), SOCKET_ID_ANY, &ipv4);
  rte_fib6* fib6 = rte_fib6_create(UniqueName("f6").c_str(), SOCKET_ID_ANY, &ipv6);
  if (fib == nullptr || fib6 == nullptr) {
    rte_fib_free(fib);
    rte_fib6_free(fib6);
    return nullptr;
  }
  return std::make_unique<RteFib>(fib, fib6);
}

}  // namespace postern::dpdk

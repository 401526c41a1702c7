// A client behind a translated address, and an oracle that says which replies are taken.
#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "nat/binding.h"
#include "tests/nat/translated_sources.h"

namespace postern::nat {

using net::Family;
using net::IpAddress;
using net::Mirror;
using net::PortRange;

inline constexpr auto kLan = IpAddress::V4(0xc0a80165);     // 192.168.1.101
inline constexpr auto kWan = IpAddress::V4(0xcb007102);     // 203.0.113.2
inline constexpr auto kServer = IpAddress::V4(0xc6336407);  // 198.51.100.7

// Says what the connection table would: the replies that others answer to.
class FakeOracle : public TupleOracle {
 public:
  bool Taken(const Tuple& reply) override {
    ++asked;
    return taken && taken(reply);
  }
  bool TakenForGood(const Tuple& reply) override {
    return taken_for_good ? ++asked_hard, taken_for_good(reply) : Taken(reply);
  }
  bool Suits(const Tuple& reply) override { return !suits || suits(reply); }

  std::function<bool(const Tuple&)> taken;
  std::function<bool(const Tuple&)> taken_for_good;
  std::function<bool(const Tuple&)> suits;
  int asked = 0;
  int asked_hard = 0;
};

inline Tuple Flow(uint8_t protocol, uint16_t source_port, uint16_t destination_port) {
  Tuple tuple;
  tuple.source = kLan;
  tuple.destination = kServer;
  tuple.protocol = protocol;
  tuple.source_key = source_port;
  tuple.destination_key = destination_port;
  return tuple;
}
inline Tuple Ping(uint16_t id) { return Flow(net::kProtoIcmp, id, net::kIcmpEchoRequest << 8); }

inline NatRange To(IpAddress address) {
  return {.has_address = true, .first_address = address, .last_address = address};
}
inline NatRange To(IpAddress address, uint16_t first, uint16_t last) {
  NatRange range = To(address);
  range.has_ports = true;
  range.ports = {first, last};
  return range;
}

class BindingTest : public testing::Test {
 protected:
  Choice Source(const Tuple& current, const NatRange& range) {
    return ChooseTuple(current, Manip::kSource, range, &oracle, &sources.map, &rng, strict);
  }
  Choice Destination(const Tuple& current, const NatRange& range) {
    return ChooseTuple(current, Manip::kDestination, range, &oracle, &sources.map, &rng, strict);
  }

  FakeOracle oracle;
  TranslatedSources sources{4};
  net::Rng rng{7};
  bool strict = false;
};

}  // namespace postern::nat

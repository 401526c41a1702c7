// Random rules for tests that compare two ways to the same answer.
//
// Values come from small sets, so that rules overlap and packets meet many of them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/net/random.h"
#include "tests/rules/fixture.h"

namespace postern::rules::testing {

class Chance {
 public:
  explicit Chance(uint64_t seed) : rng_(seed) {}
  uint32_t Below(uint32_t bound) { return rng_.Below(bound); }
  bool Once(uint32_t in) { return Below(in) == 0; }
  uint16_t Port() { return kPorts[Below(kPorts.size())]; }
  PortRange Range() {
    if (Once(4)) return {};
    const uint16_t first = Port();
    if (!Once(3)) return {first, first};
    return {first, static_cast<uint16_t>(std::min(65535U, first + Below(40'000)))};
  }
  uint16_t States() { return static_cast<uint16_t>(1 + Below(kCtStateUntracked * 2 - 1)); }

 private:
  static constexpr std::array<uint16_t, 7> kPorts = {0, 22, 53, 80, 443, 1024, 65535};
  net::Rng rng_;
};

inline IpAddress AnAddress(Chance& chance, Family family) {
  IpAddress address = Address(family == Family::kIpv4 ? "192.0.2.0" : "2001:db8::");
  const auto last = family == Family::kIpv4 ? 3 : 15;
  address.bytes[static_cast<size_t>(last)] = static_cast<uint8_t>(chance.Below(8));
  if (chance.Once(4)) address.bytes[2] = static_cast<uint8_t>(chance.Below(3));
  return address;
}

inline AddressMatch Addresses(Chance& chance, Family family) {
  if (chance.Once(3)) return {};
  const unsigned bits = family == Family::kIpv4 ? 32 : 128;
  const unsigned length = chance.Once(2) ? bits : bits - 1 - chance.Below(chance.Once(3) ? 28 : 3);
  AddressMatch match{AnAddress(chance, family), net::PrefixMask(family, length), chance.Once(8)};
  if (chance.Once(12)) match.mask.bytes[1] = 0;  // a hole
  return match;
}

inline InterfaceMatch Interface(Chance& chance) {
  static const std::array<const char*, 5> kNames = {"lan0", "wan0", "wan+", "lo", "none0"};
  if (chance.Once(2)) return {};
  return {kNames[chance.Below(kNames.size())], chance.Once(5)};
}

inline MultiportMatch Multiport(Chance& chance) {
  MultiportMatch match;
  match.which = static_cast<MultiportMatch::Which>(chance.Below(3));
  for (uint32_t i = 0; i <= chance.Below(3); ++i) match.ports.push_back(chance.Range());
  match.invert = chance.Once(5);
  return match;
}

template <typename Match>
Match TransportPorts(Chance& chance) {
  Match match;
  match.source = chance.Once(3) ? chance.Range() : PortRange{};
  match.destination = chance.Range();
  match.invert_source = chance.Once(8);
  match.invert_destination = chance.Once(8);
  return match;
}

// Gives a rule its matches.
using MatchMaker = void (*)(Chance& chance, Family family, Rule* rule);

inline Target ATarget(Chance& chance, Table table, uint32_t chain) {
  if (chain < 3 && chance.Once(6)) {
    return JumpTarget{"c" + std::to_string(chain + 1 + chance.Below(3 - chain)), chance.Once(4)};
  }
  if (table == Table::kRaw && chance.Once(6)) return NotrackTarget{};
  switch (chance.Below(40)) {
    case 0:
      return AcceptTarget{};
    case 1:
      return DropTarget{};
    case 2:
      return ReturnTarget{};
    case 3:
      return RejectTarget{};
    case 4:
      return LogTarget{4, "x", 0};
    case 5:
      return MarkTarget{chance.Below(4), 3};
    default:
      return NoTarget{};
  }
}

inline Rule ARule(Chance& chance, Family family, Table table, uint32_t chain,
                  MatchMaker add_matches) {
  static const std::array<uint8_t, 6> kProtocols = {
      net::kProtoTcp, net::kProtoTcp, net::kProtoUdp, net::kProtoUdpLite, net::kProtoIcmp, 50};
  Rule rule;
  rule.ip.source = Addresses(chance, family);
  rule.ip.destination = Addresses(chance, family);
  if (chance.Once(2)) rule.ip.in = Interface(chance);
  if (chance.Once(3)) rule.ip.out = Interface(chance);
  if (!chance.Once(4)) rule.ip.protocol = kProtocols[chance.Below(kProtocols.size())];
  rule.ip.invert_protocol = chance.Once(8);
  rule.ip.fragment = family == Family::kIpv4 && chance.Once(30);
  rule.ip.invert_fragment = rule.ip.fragment && chance.Once(2);
  add_matches(chance, family, &rule);
  rule.target = ATarget(chance, table, chain);
  return rule;
}

// Chains that jump to each other, under INPUT, or PREROUTING of the raw table. Most have fewer than
// `usual` rules, the others up to ten times as many.
inline ModelOf AModel(Chance& chance, Family family, Table table, MatchMaker add_matches,
                      uint32_t usual) {
  ModelOf model(family);
  const std::array<std::string, 4> names = {table == Table::kRaw ? "PREROUTING" : "INPUT", "c1",
                                            "c2", "c3"};
  for (uint32_t c = 0; c < names.size(); ++c) {
    const uint32_t size = chance.Below(chance.Once(4) ? 10 * usual : usual);
    std::vector<Rule> rules;
    for (uint32_t i = 0; i < size; ++i) {
      rules.push_back(ARule(chance, family, table, c, add_matches));
    }
    model.Add(table, names[c], std::move(rules));
  }
  return model;
}

}  // namespace postern::rules::testing

#include "perf/path_scenario.h"

#include <fmt/format.h>

namespace postern::perf {
namespace {

const char* KindName(PathKind kind) {
  switch (kind) {
    case PathKind::kEstablished:
      return "established";
    case PathKind::kSetUp:
      return "set-up";
    case PathKind::kFlood:
      return "SYN flood";
    case PathKind::kFull:
      return "table full";
    case PathKind::kExpiry:
      return "mass expiry";
    case PathKind::kDump:
      return "dump";
    case PathKind::kFlush:
      return "flush";
    case PathKind::kReload:
      return "reload";
    case PathKind::kNoDrop:
      return "no-drop rate, reloads";
    case PathKind::kQuiet:
      return "none of these";
  }
  return "";
}

void AddEstablished(std::vector<PathScenario>* all) {
  for (const Nat nat : {Nat::kNone, Nat::kMasquerade}) {
    for (const uint32_t flows : {1'000U, 16'000U, 64'000U, 1'000'000U, 4'000'000U}) {
      all->push_back({.nat = nat, .flows = flows});
    }
  }
  all->push_back({.nat = Nat::kDnat, .flows = 16'000});
  for (const Nat nat : {Nat::kNone, Nat::kMasquerade, Nat::kDnat}) {
    all->push_back({.transport = Transport::kTcp, .nat = nat, .flows = 16'000});
  }
  for (const Transport transport : {Transport::kUdp, Transport::kTcp}) {
    for (const Nat nat : {Nat::kNone, Nat::kMasquerade}) {
      all->push_back(
          {.transport = transport, .nat = nat, .family = net::Family::kIpv6, .flows = 16'000});
    }
  }
  all->push_back({.family = net::Family::kIpv6, .flows = 1'000'000});
  for (const FrameSizes sizes : {FrameSizes::kImix, FrameSizes::kLarge}) {
    all->push_back({.nat = Nat::kMasquerade, .sizes = sizes, .flows = 16'000});
  }
  all->push_back({.flows = 1'000'000, .zipf = true});
  all->push_back({.nat = Nat::kMasquerade, .flows = 1'000'000, .zipf = true});
  for (const unsigned rules : {1U, 1'000U, 10'000U}) {
    all->push_back({.flows = 16'000, .rules = rules});
  }
  all->push_back({.flows = 16'000, .fast_path = false});
  for (const Nat nat : {Nat::kNone, Nat::kMasquerade}) {
    all->push_back({.nat = nat, .flows = 16'000, .workers = 2});
  }
}

void AddSetUps(std::vector<PathScenario>* all) {
  constexpr PathKind kSetUp = PathKind::kSetUp;
  all->push_back({.kind = kSetUp});
  all->push_back({.kind = kSetUp, .nat = Nat::kMasquerade});
  all->push_back({.kind = kSetUp, .nat = Nat::kMasquerade, .flows = 1'000'000});
  for (const unsigned rules : {1U, 1'000U, 10'000U}) {
    all->push_back({.kind = kSetUp, .rules = rules});
  }
  for (const Nat nat : {Nat::kNone, Nat::kMasquerade}) {
    all->push_back({.kind = kSetUp, .transport = Transport::kTcp, .nat = nat});
  }
  all->push_back({.kind = kSetUp, .nat = Nat::kMasquerade, .workers = 2});
}

}  // namespace

std::string ShortCount(uint64_t number) {
  if (number >= 1'000'000 && number % 1'000'000 == 0) return fmt::format("{}M", number / 1'000'000);
  if (number >= 1000 && number % 1000 == 0) return fmt::format("{}k", number / 1000);
  return std::to_string(number);
}

std::string PathScenario::Name() const {
  std::string name = KindName(kind);
  name += transport == Transport::kUdp ? ", udp" : ", tcp";
  if (family == net::Family::kIpv6) name += "6";
  if (nat == Nat::kMasquerade) name += " masquerade";
  if (nat == Nat::kDnat) name += " dnat";
  name += fmt::format(", {} flows", ShortCount(flows));
  if (zipf) name += " (Zipf)";
  if (sizes == FrameSizes::kImix) name += ", IMIX";
  if (sizes == FrameSizes::kLarge) name += ", 1518 B";
  name += fmt::format(", {} {}", ShortCount(rules), rules == 1 ? "rule" : "rules");
  if (workers != 1) name += fmt::format(", {} workers", workers);
  if (!fast_path) name += ", no fast path";
  return name;
}

std::vector<PathScenario> AllPaths() {
  std::vector<PathScenario> all;
  AddEstablished(&all);
  AddSetUps(&all);
  all.push_back({.kind = PathKind::kFlood,
                 .transport = Transport::kTcp,
                 .nat = Nat::kMasquerade,
                 .flows = 16'000});
  all.push_back({.kind = PathKind::kFull,
                 .transport = Transport::kTcp,
                 .nat = Nat::kMasquerade,
                 .flows = 16'000});
  for (const PathKind kind :
       {PathKind::kExpiry, PathKind::kDump, PathKind::kFlush, PathKind::kQuiet}) {
    all.push_back({.kind = kind, .nat = Nat::kMasquerade, .flows = 1'000'000});
  }
  for (const PathKind kind : {PathKind::kReload, PathKind::kNoDrop}) {
    all.push_back({.kind = kind, .nat = Nat::kMasquerade, .flows = 16'000, .rules = 10'000});
  }
  return all;
}

}  // namespace postern::perf

// What postern-bench measures on whole paths: worker loops over in-memory ports.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/net/address.h"
#include "perf/rule_texts.h"

namespace postern::perf {

enum class Transport : uint8_t { kUdp, kTcp };
enum class FrameSizes : uint8_t { kSmall, kImix, kLarge };  // 64 B; 7:4:1 of 64, 594, 1518; 1518 B

enum class PathKind : uint8_t {
  kEstablished,  // RFC 2544 and 9693: bidirectional traffic of known connections, as fast as it
                 // goes
  kSetUp,        // RFC 9693: connection establishment; UDP one packet, TCP open, request, close
  kFlood,        // SYNs, half of all bursts, beside established traffic
  kFull,         // the same, where the table has no room at all
  kExpiry,       // all but a thousand connections time out at once
  kDump,         // conntrack -L under load
  kFlush,        // conntrack -F under load; RFC 9693: connection tear-down
  kReload,       // reloads under load
  kNoDrop,       // RFC 2544 throughput, then 100 reloads at half of it
  kQuiet,        // none of these: what the machine's own absences are
};

struct PathScenario {
  PathKind kind = PathKind::kEstablished;
  Transport transport = Transport::kUdp;
  Nat nat = Nat::kNone;
  net::Family family = net::Family::kIpv4;
  FrameSizes sizes = FrameSizes::kSmall;
  uint32_t flows = 0;  // connections that live before the measured time
  bool zipf = false;   // how often each is met: by Zipf's law (s = 1) instead of evenly
  unsigned rules = 10;
  unsigned workers = 1;
  bool fast_path = true;

  std::string Name() const;
};

// "16k", "1M".
std::string ShortCount(uint64_t number);

// Every scenario, in the order of the report.
std::vector<PathScenario> AllPaths();

}  // namespace postern::perf

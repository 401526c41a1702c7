// What postern-bench measures: established connections, and connections that come and go.
//
// Every packet's bytes are written anew before each burst, outside of the measured time, as a
// port's DMA would; so what is measured finds the frames in the cache, and the rest of the memory
// where the traffic before left it. Connections are met in random order, half of the bursts
// from the LAN and half from the WAN.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "perf/frames.h"
#include "perf/path_scenario.h"
#include "perf/router.h"
#include "perf/rule_texts.h"

namespace postern::perf {

struct Scenario {
  Transport transport = Transport::kUdp;
  Nat nat = Nat::kNone;
  uint32_t flows = 0;  // established; for a storm: live when it begins
  unsigned rules = 10;
  bool fast_path = true;
  uint32_t storm = 0;  // new connections; 0: established traffic

  std::string Name() const;
};

// One round of a scenario. Cycles are those of the time stamp counter, a packet.
struct Round {
  uint64_t packets = 0;
  double pipeline = 0;
  double io = 0;
};

struct Expiry {
  uint32_t connections = 0;
  uint64_t cycles = 0;   // all ticks
  uint64_t longest = 0;  // one tick
};

class Traffic {
 public:
  // How the router differs from the usual one (Router::Options).
  struct Setting {
    std::optional<net::Time> clock;
    uint32_t udp_timeout;
  };
  // Makes the router and opens the connections. Fails where a packet of that is lost.
  static net::Result<std::unique_ptr<Traffic>> Create(const Ground& ground,
                                                      const Scenario& scenario) {
    return Create(ground, scenario, {std::nullopt, 0});
  }
  static net::Result<std::unique_ptr<Traffic>> Create(const Ground& ground,
                                                      const Scenario& scenario,
                                                      const Setting& setting);

  const Scenario& scenario() const { return scenario_; }
  // At least `packets` packets of known connections; also ticks once a millisecond.
  Round Established(uint64_t packets);
  // What a worker does between two polls: a burst from each port, of the first `flows` connections
  // one after the other, and Tick() if it is due. The cycles of all that.
  uint64_t Turn(size_t flows);
  Router& router() { return *router_; }
  // The scenario's `storm` new connections, one packet each. Once.
  Round Storm();
  // The clock jumps over every timeout, then ticks until the table is empty.
  Expiry Expire();

  // Resident memory that router and connections have taken, a connection; set by Create().
  double bytes_a_connection() const { return bytes_a_connection_; }
  // Of every burst so far: cycles in the pipeline.
  const std::vector<uint32_t>& bursts() const { return bursts_; }
  uint64_t longest_tick() const { return longest_tick_; }
  uint64_t lost() const { return lost_; }

 private:
  explicit Traffic(const Scenario& scenario) : scenario_(scenario) {}
  net::Status Open(const Ground& ground, const Setting& setting);
  net::Status OpenBurst(uint32_t first, uint32_t count, const std::vector<uint32_t>& places);
  net::Status Exchange(const std::vector<Frame>& frames, net::PortId port, Endpoints* answers);
  Frame Opening(uint32_t index) const;
  net::PortId OuterPort(bool reply) const;
  void MeetNext(size_t flows, Round* round);
  void Add(const BurstCycles& burst, size_t size, Round* round);
  void TickIfDue(Round* round);

  const Scenario scenario_;
  std::unique_ptr<Router> router_;
  std::vector<Frame> forward_;   // in the order in which they are sent
  std::vector<Frame> backward_;  // the answers, in the same order
  size_t cursor_ = 0;
  net::Time next_tick_ = 0;
  double bytes_a_connection_ = 0;
  std::vector<uint32_t> bursts_;
  uint64_t longest_tick_ = 0;
  uint64_t lost_ = 0;
};

}  // namespace postern::perf

// Connections that are opened, and perhaps used and closed, as fast as the appliance lets them: a
// client and a server for many connections at once, in batches; the next packet of a connection
// goes out when the appliance has sent on the one before. The server answers what it has seen,
// so the replies fit whatever translation there is.
//
// Threads: made by the control thread, used by one worker; counters are relaxed.
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "dataplane/dpdk/counters.h"
#include "dataplane/net/flow_hash.h"
#include "perf/memory_ports.h"
#include "perf/path_scenario.h"

namespace postern::perf {

// A packet of a connection's life. Sequence numbers count from each side's first one.
struct Step {
  bool client = true;
  uint8_t flags = 0;  // TCP
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  uint16_t payload = 0;  // bytes
};

const std::vector<Step>& OpeningScript(Transport transport);  // until it is established
const std::vector<Step>& LifeScript(Transport transport);     // UDP: one packet; TCP: seven
const std::vector<Step>& SynScript();                         // a SYN, and never more

// The worker that a connection belongs to, and how its packets look.
struct ConnectionKind {
  Transport transport = Transport::kUdp;
  net::Family family = net::Family::kIpv4;
  bool inwards = false;  // FlowAt's
  const net::OwnerMap* owners = nullptr;
  unsigned worker = 0;

  net::PortId PortOf(bool client) const { return client != inwards ? kLan : kWan; }
  unsigned OwnerOf(const Endpoints& ends) const;
  // A packet without payload of at least `length` bytes.
  Frame Make(const Endpoints& ends, const Step& step, uint16_t length = kFrameBytes) const;
};

class ScriptSource final : public Source {
 public:
  struct Plan {
    ConnectionKind kind;
    const std::vector<Step>* script = nullptr;
    uint32_t first = 0;  // connections first to end - 1, those that the worker owns
    uint32_t end = 0;
    // Polls that a packet may take through the appliance before it counts as lost.
    unsigned patience = 100'000;
    // Told of every connection that has come to its end, with the ends of what its server sends.
    std::function<void(uint32_t index, const Endpoints& server)> on_done;
  };
  explicit ScriptSource(Plan plan) : plan_(std::move(plan)), next_(plan_.first) {}

  size_t Arrive(net::PortId port, std::span<Arrival> arrivals) override;
  void Sent(net::PortId port, uint32_t tag, std::span<const uint8_t> frame) override;

  uint64_t done() const { return done_.Get(); }  // connections
  uint64_t lost() const { return lost_.Get(); }  // packets
  // Replies that RSS would give to another worker than the connection's.
  uint64_t foreign() const { return foreign_.Get(); }
  bool finished() const { return finished_.Get() != 0; }

 private:
  static constexpr unsigned kSlots = 32;
  static constexpr unsigned kBatches = 8;
  struct Batch {
    unsigned size = 0;  // 0: free
    size_t step = 0;
    bool waiting = false;
    unsigned waited = 0;  // polls
    uint32_t alive = 0;   // slots
    uint32_t seen = 0;    // of these the appliance has sent the last step on
    std::array<uint32_t, kSlots> index{};
    std::array<Endpoints, kSlots> server{};
  };

  void Fill(Batch* batch);
  // Whether the batch has something to send on `port`.
  bool Ready(Batch* batch, net::PortId port);
  void Finish(const Batch& batch);
  size_t Emit(unsigned number, std::span<Arrival> arrivals);

  const Plan plan_;
  uint32_t next_;
  std::array<Batch, kBatches> batches_;
  unsigned turn_ = 0;
  std::array<Frame, kSlots> frames_;
  dpdk::Counter done_, lost_, foreign_, finished_;
};

}  // namespace postern::perf

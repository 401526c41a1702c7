#include "perf/scenario.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <numeric>

#include "dataplane/net/random.h"

namespace postern::perf {
namespace {

constexpr uint32_t kClientSequence = 1000;
constexpr uint32_t kServerSequence = 5000;
constexpr net::Time kBeyondTimeouts = 6 * 24 * 3600 * net::kSecond;

uint64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  file >> size >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

std::vector<uint32_t> Shuffled(uint32_t count) {
  std::vector<uint32_t> places(count);
  std::iota(places.begin(), places.end(), 0);
  net::Rng random(count);
  for (uint32_t i = count; i > 1; --i) std::swap(places[i - 1], places[random.Next() % i]);
  return places;
}

}  // namespace

std::string Scenario::Name() const {
  std::string name = transport == Transport::kUdp ? "udp" : "tcp";
  if (nat == Nat::kMasquerade) name += " masquerade";
  if (nat == Nat::kDnat) name += " dnat";
  name += storm != 0 ? fmt::format(", {} new beside {}", ShortCount(storm), ShortCount(flows))
                     : fmt::format(", {} flows", ShortCount(flows));
  name += fmt::format(", {} rules", ShortCount(rules));
  if (!fast_path) name += ", no fast path";
  return name;
}

net::Result<std::unique_ptr<Traffic>> Traffic::Create(const Ground& ground,
                                                      const Scenario& scenario,
                                                      const Setting& setting) {
  std::unique_ptr<Traffic> traffic(new Traffic(scenario));
  if (net::Status status = traffic->Open(ground, setting); !status) {
    return net::Error{scenario.Name() + ": " + status.error()};
  }
  return traffic;
}

net::PortId Traffic::OuterPort(bool reply) const {
  return (scenario_.nat == Nat::kDnat) != reply ? kWan : kLan;
}

Frame Traffic::Opening(uint32_t index) const {
  const Endpoints ends = FlowAt(index, scenario_.nat == Nat::kDnat);
  if (scenario_.transport == Transport::kUdp) return MakeUdp(ends, OuterPort(false));
  return MakeTcp(ends, {net::kTcpSyn, kClientSequence, 0}, OuterPort(false));
}

net::Status Traffic::Open(const Ground& ground, const Setting& setting) {
  forward_.resize(scenario_.flows);
  backward_.resize(scenario_.flows);
  bursts_.reserve(1U << 20);
  const std::vector<uint32_t> places = Shuffled(scenario_.flows);
  const uint64_t before = ResidentBytes();
  auto router = Router::Create(
      ground, {EdgeRules(scenario_.rules, scenario_.nat), scenario_.flows + scenario_.storm,
               scenario_.fast_path, setting.clock, setting.udp_timeout});
  if (!router) return net::Error{router.error()};
  router_ = std::move(*router);
  for (uint32_t first = 0; first < scenario_.flows; first += kBurst) {
    const uint32_t count = std::min<uint32_t>(kBurst, scenario_.flows - first);
    if (net::Status status = OpenBurst(first, count, places); !status) return status;
    router_->Tick();
  }
  if (scenario_.flows != 0) {
    bytes_a_connection_ =
        static_cast<double>(ResidentBytes() - before) / static_cast<double>(scenario_.flows);
  }
  return {};
}

net::Status Traffic::Exchange(const std::vector<Frame>& frames, net::PortId port,
                              Endpoints* answers) {
  const BurstCycles burst = router_->Receive(frames, port, answers);
  if (burst.sent == frames.size()) return {};
  std::string reasons;
  for (const auto& drops : router_->pipeline().stats().drops) {
    for (size_t i = 0; i < drops.size(); ++i) {
      if (drops[i] == 0) continue;
      reasons += fmt::format(" {} {}", drops[i], net::ToString(static_cast<net::DropReason>(i)));
    }
  }
  return net::Error{fmt::format("{} of {} opening packets came through; dropped:{}", burst.sent,
                                frames.size(), reasons)};
}

net::Status Traffic::OpenBurst(uint32_t first, uint32_t count,
                               const std::vector<uint32_t>& places) {
  const bool tcp = scenario_.transport == Transport::kTcp;
  std::vector<Frame> out(count);
  std::vector<Frame> back(count);
  std::array<Endpoints, kBurst> answers;
  for (uint32_t i = 0; i < count; ++i) out[i] = Opening(first + i);
  if (net::Status s = Exchange(out, OuterPort(false), answers.data()); !s) return s;
  const net::PortId reply_port = OuterPort(true);
  for (uint32_t i = 0; i < count; ++i) {
    back[i] = tcp ? MakeTcp(answers[i],
                            {net::kTcpSyn | net::kTcpAck, kServerSequence, kClientSequence + 1},
                            reply_port)
                  : MakeUdp(answers[i], reply_port);
  }
  if (net::Status s = Exchange(back, reply_port, nullptr); !s) return s;
  for (uint32_t i = 0; tcp && i < count; ++i) {
    out[i] = MakeTcp(FlowAt(first + i, scenario_.nat == Nat::kDnat),
                     {net::kTcpAck, kClientSequence + 1, kServerSequence + 1}, OuterPort(false));
    back[i] =
        MakeTcp(answers[i], {net::kTcpAck, kServerSequence + 1, kClientSequence + 1}, reply_port);
  }
  if (net::Status s = Exchange(out, OuterPort(false), nullptr); !s) return s;
  for (uint32_t i = 0; i < count; ++i) {
    forward_[places[first + i]] = out[i];
    backward_[places[first + i]] = back[i];
  }
  return {};
}

void Traffic::Add(const BurstCycles& burst, size_t size, Round* round) {
  round->packets += size;
  round->pipeline += static_cast<double>(burst.pipeline);
  round->io += static_cast<double>(burst.io);
  lost_ += size - burst.sent;
  // Bursts beyond the reserve aren't recorded, so that measuring doesn't allocate.
  if (size == kBurst && bursts_.size() < bursts_.capacity()) {
    bursts_.push_back(static_cast<uint32_t>(std::min<uint64_t>(burst.pipeline, UINT32_MAX)));
  }
}

void Traffic::TickIfDue(Round* round) {
  const net::Time now = router_->Now();
  if (now < next_tick_) return;
  const Router::Ticked tick = router_->Tick();
  next_tick_ = tick.again ? now : now + pipeline::kTickInterval;
  longest_tick_ = std::max(longest_tick_, tick.cycles);
  round->pipeline += static_cast<double>(tick.cycles);
}

void Traffic::MeetNext(size_t flows, Round* round) {
  const size_t size = std::min(kBurst, flows - cursor_);
  Add(router_->Receive({forward_.data() + cursor_, size}, OuterPort(false)), size, round);
  Add(router_->Receive({backward_.data() + cursor_, size}, OuterPort(true)), size, round);
  cursor_ = cursor_ + size == flows ? 0 : cursor_ + size;
  TickIfDue(round);
}

uint64_t Traffic::Turn(size_t flows) {
  if (cursor_ >= flows) cursor_ = 0;
  Round round;
  MeetNext(flows, &round);
  return static_cast<uint64_t>(round.pipeline + round.io);
}

Round Traffic::Established(uint64_t packets) {
  Round round;
  while (round.packets < packets) {
    MeetNext(forward_.size(), &round);
  }
  round.pipeline /= static_cast<double>(round.packets);
  round.io /= static_cast<double>(round.packets);
  return round;
}

Round Traffic::Storm() {
  Round round;
  std::array<Frame, kBurst> frames;
  for (uint32_t next = 0; next < scenario_.storm; next += kBurst) {
    const size_t size = std::min<size_t>(kBurst, scenario_.storm - next);
    for (uint32_t i = 0; i < size; ++i) frames[i] = Opening(scenario_.flows + next + i);
    Add(router_->Receive({frames.data(), size}, OuterPort(false)), size, &round);
    TickIfDue(&round);
  }
  round.pipeline /= static_cast<double>(round.packets);
  round.io /= static_cast<double>(round.packets);
  return round;
}

Expiry Traffic::Expire() {
  Expiry expiry;
  expiry.connections = static_cast<uint32_t>(router_->tracker().size());
  router_->Skip(kBeyondTimeouts);
  while (router_->tracker().size() != 0) {
    const uint64_t cycles = router_->Tick().cycles;
    expiry.cycles += cycles;
    expiry.longest = std::max(expiry.longest, cycles);
  }
  return expiry;
}

}  // namespace postern::perf

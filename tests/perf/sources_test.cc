// The benchmarks' traffic, with the test in the appliance's place.
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

#include "perf/loop_source.h"
#include "perf/script_source.h"

namespace postern::perf {
namespace {

// Sends on whatever arrives, unchanged.
struct Wire {
  Source& source;
  std::array<Arrival, 32> arrivals;
  uint64_t frames = 0;
  bool drop = false;

  size_t Turn() {
    size_t total = 0;
    for (const net::PortId port : {kWan, kLan}) {
      const size_t count = source.Arrive(port, arrivals);
      for (size_t i = 0; i < count && !drop; ++i) {
        source.Sent(port ^ 1, arrivals[i].tag,
                    {arrivals[i].frame->bytes.data(), arrivals[i].frame->bytes.size()});
      }
      total += count;
    }
    frames += total;
    return total;
  }
};

ScriptSource::Plan PlanOf(Transport transport, const net::OwnerMap& owners, unsigned worker = 0) {
  ScriptSource::Plan plan;
  plan.kind.transport = transport;
  plan.kind.owners = &owners;
  plan.kind.worker = worker;
  plan.end = 1000;
  return plan;
}

TEST(ScriptSource, TcpLivesTakeSevenPackets) {
  const net::OwnerMap owners(1, 1);
  ScriptSource::Plan plan = PlanOf(Transport::kTcp, owners);
  plan.script = &LifeScript(Transport::kTcp);
  ScriptSource source(plan);
  Wire wire{source, {}};
  while (!source.finished()) wire.Turn();
  EXPECT_EQ(source.done(), 1000U);
  EXPECT_EQ(source.lost(), 0U);
  EXPECT_EQ(wire.frames, 7000U);
}

TEST(ScriptSource, OpensEachConnectionOnce) {
  const net::OwnerMap owners(1, 1);
  ScriptSource::Plan plan = PlanOf(Transport::kUdp, owners);
  plan.script = &OpeningScript(Transport::kUdp);
  std::map<uint32_t, Endpoints> opened;
  plan.on_done = [&](uint32_t index, const Endpoints& server) {
    EXPECT_TRUE(opened.emplace(index, server).second);
  };
  ScriptSource source(plan);
  Wire wire{source, {}};
  while (!source.finished()) wire.Turn();
  ASSERT_EQ(opened.size(), 1000U);
  for (const auto& [index, server] : opened) {
    EXPECT_EQ(server.destination, FlowAt(index, false).source);
    EXPECT_EQ(server.destination_port, FlowAt(index, false).source_port);
  }
}

TEST(ScriptSource, CountsWhatDoesntComeThrough) {
  const net::OwnerMap owners(1, 1);
  ScriptSource::Plan plan = PlanOf(Transport::kUdp, owners);
  plan.script = &LifeScript(Transport::kUdp);
  plan.patience = 2;
  ScriptSource source(plan);
  Wire wire{source, {}};
  wire.drop = true;
  while (!source.finished()) wire.Turn();
  EXPECT_EQ(source.done(), 0U);
  EXPECT_EQ(source.lost(), 1000U);
}

TEST(ScriptSource, WorkersShareTheConnections) {
  const net::OwnerMap owners(0x1235, 2);
  uint64_t done = 0;
  for (unsigned worker = 0; worker < 2; ++worker) {
    ScriptSource::Plan plan = PlanOf(Transport::kUdp, owners, worker);
    plan.script = &OpeningScript(Transport::kUdp);
    ScriptSource source(plan);
    Wire wire{source, {}};
    while (!source.finished()) wire.Turn();
    EXPECT_GT(source.done(), 0U);
    EXPECT_EQ(source.foreign(), 0U);
    done += source.done();
  }
  EXPECT_EQ(done, 1000U);
}

std::vector<Frame> SomeFrames(uint32_t count, net::PortId port) {
  std::vector<Frame> frames;
  for (uint32_t i = 0; i < count; ++i) frames.push_back(MakeUdp(FlowAt(i, false), port));
  return frames;
}

TEST(LoopSource, GoesRoundAndRound) {
  LoopSource loop(kLan, SomeFrames(100, kLan), SomeFrames(100, kWan), {});
  std::array<Arrival, 32> arrivals;
  std::set<const Frame*> seen;
  for (const size_t expected : {32, 32, 32, 4, 32}) {
    ASSERT_EQ(loop.Arrive(kLan, arrivals), expected);
    for (size_t i = 0; i < expected; ++i) seen.insert(arrivals[i].frame);
  }
  EXPECT_EQ(seen.size(), 100U);
  EXPECT_EQ(loop.rounds(), 0U) << "the servers' side isn't through";
  for (int i = 0; i < 4; ++i) loop.Arrive(kWan, arrivals);
  EXPECT_EQ(loop.rounds(), 1U);
  loop.Limit(10);
  loop.Arrive(kLan, arrivals);
  EXPECT_EQ(loop.Arrive(kLan, arrivals), 10U);
}

TEST(MixSource, EveryOtherBurstIsAFlood) {
  const net::OwnerMap owners(1, 1);
  LoopSource loop(kLan, SomeFrames(64, kLan), SomeFrames(64, kWan), {});
  ScriptSource::Plan plan = PlanOf(Transport::kTcp, owners);
  plan.script = &SynScript();
  plan.end = 1'000'000;
  plan.patience = 2;
  ScriptSource flood(plan);
  MixSource mix(&loop, &flood, kLan);
  Wire wire{mix, {}};
  for (int i = 0; i < 100; ++i) wire.Turn();
  EXPECT_EQ(mix.known_arrived(), 32U * 150);
  EXPECT_EQ(mix.known_sent(), mix.known_arrived());
  EXPECT_EQ(mix.flood_arrived(), 32U * 50);
  EXPECT_EQ(mix.flood_sent(), mix.flood_arrived());
}

TEST(RateSource, OffersNoMoreThanItsRateAndMissesWhatFindsTheQueueFull) {
  LoopSource loop(kLan, SomeFrames(64, kLan), SomeFrames(64, kWan), {});
  RateSource slow(&loop, 1.0);
  std::array<Arrival, 32> arrivals;
  slow.Arrive(kLan, arrivals);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(slow.Arrive(kLan, arrivals), 0U);
  EXPECT_EQ(slow.missed(), 0U);

  RateSource fast(&loop, 1e15);
  fast.Arrive(kLan, arrivals);
  const uint64_t begin = ThreadNanoseconds();
  while (ThreadNanoseconds() < begin + 1'000'000) {
  }
  EXPECT_EQ(fast.Arrive(kLan, arrivals), 32U);
  EXPECT_EQ(fast.missed(), fast.offered() - RateSource::kDescriptors);
}

TEST(ZipfOrder, TheFirstIsTheMostFrequent) {
  constexpr uint32_t kFlows = 1000;
  const std::vector<uint32_t> order = ZipfOrder(kFlows, 100'000, 7);
  std::vector<uint32_t> counts(kFlows);
  for (const uint32_t flow : order) {
    ASSERT_LT(flow, kFlows);
    ++counts[flow];
  }
  // H(1000) is 7.485: the first has 13.4 % of all, the second half of that.
  EXPECT_NEAR(counts[0], 13'360, 600);
  EXPECT_NEAR(counts[1], 6'680, 400);
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0U), order.size());
}

}  // namespace
}  // namespace postern::perf

// The steps of a packet's life one by one, warm and in bursts of 32, with Google Benchmark. How the
// steps behave when memory isn't warm is told by perf/stages.
#include <benchmark/benchmark.h>

#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "control/iptables/restore.h"
#include "ctrack/flow_table.h"
#include "ctrack/pool.h"
#include "ctrack/tracker.h"
#include "dataplane/dpdk/eal.h"
#include "dataplane/net/flow_hash.h"
#include "dataplane/net/parse.h"
#include "dataplane/rules/worker_rules.h"
#include "nat/rewrite.h"
#include "perf/frames.h"
#include "perf/rule_texts.h"

namespace postern::perf {
namespace {

constexpr size_t kBurst = 32;

// A burst of frames in memory of its own, parsed.
struct Burst {
  std::array<Frame, kBurst> frames;
  std::array<net::Packet, kBurst> packets;
  std::array<net::Tuple, kBurst> tuples;
  std::array<uint32_t, kBurst> hashes{};

  explicit Burst(bool tcp = false, uint32_t first = 0) {
    for (uint32_t i = 0; i < kBurst; ++i) {
      const Endpoints ends = FlowAt(first + i, false);
      frames[i] = tcp ? MakeTcp(ends, {net::kTcpSyn, 1000, 0}, kLan) : MakeUdp(ends, kLan);
      packets[i].data = frames[i].bytes.data();
      packets[i].length = kFrameBytes;
      packets[i].in_port = kLan;
      net::Parse(&packets[i]);
      tuples[i] = *net::TupleOf(packets[i].ip);
    }
  }
};

// Time is a packet's, not a burst's.
void CountPackets(benchmark::State& state) {
  const auto packets = static_cast<double>(state.iterations()) * kBurst;
  state.counters["packet"] =
      benchmark::Counter(packets, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.SetItemsProcessed(static_cast<int64_t>(packets));
}

net::FlowHasher Hasher(bool aes) { return net::FlowHasher({1, 2, 3, 4, 5, 6, 7, 8}, aes); }

void BM_Parse(benchmark::State& state) {
  Burst burst(state.range(0) != 0);
  for (auto _ : state) {
    for (net::Packet& packet : burst.packets) benchmark::DoNotOptimize(net::Parse(&packet));
  }
  CountPackets(state);
}
BENCHMARK(BM_Parse)->ArgName("tcp")->Arg(0)->Arg(1);

void BM_Hash(benchmark::State& state) {
  Burst burst;
  const net::FlowHasher hasher = Hasher(state.range(0) != 0);
  for (auto _ : state) {
    hasher.HashBurst(burst.tuples, burst.hashes);
    benchmark::DoNotOptimize(burst.hashes);
  }
  CountPackets(state);
}
BENCHMARK(BM_Hash)->ArgName("aes")->Arg(0)->Arg(1);

// A table with `range(0)` IPv4 tuples; bursts go round in all of them.
void BM_LookupBurst(benchmark::State& state) {
  const auto size = static_cast<uint32_t>(state.range(0));
  ctrack::ConnectionPool pool(size);
  ctrack::FlowTable table(size, Hasher(true), pool);
  std::vector<net::Tuple> tuples;
  std::vector<uint32_t> hashes;
  for (uint32_t i = 0; i < size; i += kBurst) {
    const Burst burst(false, i);
    for (const net::Tuple& tuple : burst.tuples) {
      tuples.push_back(tuple);
      hashes.push_back(table.Hash(tuple));
      ctrack::Connection* connection = pool.Allocate();
      connection->tuples = {tuple, tuple};
      connection->KeepEnds();
      table.Insert(tuple, hashes.back(),
                   ctrack::TableValue::Local(connection, net::Direction::kOriginal));
    }
  }
  std::array<ctrack::TableValue, kBurst> values;
  size_t at = 0;
  for (auto _ : state) {
    table.LookupBurst({tuples.data() + at, kBurst}, {hashes.data() + at, kBurst}, values);
    benchmark::DoNotOptimize(values);
    // A prime stride, so that neither the tuples nor the buckets come in order.
    at = (at + 4099 * kBurst) % tuples.size();
  }
  CountPackets(state);
}
BENCHMARK(BM_LookupBurst)->ArgName("tuples")->Arg(1024)->Arg(32768)->Arg(1 << 20);

class NoObserver final : public ctrack::ConnectionObserver {
 public:
  void OnConnection(ctrack::ConnEvent, uint32_t, const ctrack::Connection&, net::Time) override {}
  void OnClosed(ctrack::Connection&) override {}
};

// A tracker with the burst's 32 connections.
struct Tracked {
  NoObserver observer;
  ctrack::ConnectionPool pool{4096};
  ctrack::FlowTable table{4096, net::FlowHasher({1, 2, 3}), pool};
  ctrack::SharedCount shared;
  ctrack::Settings settings;
  ctrack::Tracker tracker{&table, &pool, &shared, &observer, 1};
  net::Time now = 1000 * net::kSecond;
  std::array<ctrack::TableValue, kBurst> values;

  explicit Tracked(Burst* burst) {
    tracker.SetSettings(&settings);
    for (size_t i = 0; i < kBurst; ++i) {
      ctrack::TrackResult result = tracker.Track(burst->packets[i], net::Hook::kPrerouting, now);
      net::DropReason reason = net::DropReason::kNone;
      tracker.Confirm(result.ct, now, &reason);
      values[i] = table.Lookup(burst->tuples[i]);
    }
  }
};

void BM_Track(benchmark::State& state) {
  const bool tcp = state.range(0) != 0;
  Burst burst(tcp);
  Tracked tracked(&burst);
  tracked.settings.checksum = state.range(1) != 0;
  for (auto _ : state) {
    for (size_t i = 0; i < kBurst; ++i) {
      benchmark::DoNotOptimize(tracked.tracker.Track(burst.packets[i], net::Hook::kPrerouting,
                                                     tracked.now, true, tracked.values[i]));
    }
  }
  CountPackets(state);
}
BENCHMARK(BM_Track)->ArgNames({"tcp", "checksum"})->Args({0, 0})->Args({0, 1})->Args({1, 1});

// FORWARD of the edge rule set with `range(0)` rules, for a first packet.
void BM_Walk(benchmark::State& state) {
  rules::Model model;
  std::vector<std::string> errors;
  const std::string text = EdgeRules(static_cast<unsigned>(state.range(0)), Nat::kNone);
  if (!control::iptables::ParseRestore(text, "rules", {}, &model.ipv4, &errors)) {
    state.SkipWithError(errors.front().c_str());
    return;
  }
  rules::RuleSet::Options options;
  options.port_names = {"wan0", "lan0"};
  const auto rules = rules::RuleSet::Compile(model, options, nullptr, nullptr);
  rules::WorkerRules worker(*rules);
  Burst burst;
  net::Rng random(1);
  rules::PathBuilder path;
  ctrack::Connection connection;
  connection.tuples[0] = burst.tuples[0];
  for (auto _ : state) {
    for (net::Packet& packet : burst.packets) {
      ctrack::CtRef ct{&connection, ctrack::CtInfo::kNew};
      path.Clear();
      rules::WalkContext context;
      context.packet = &packet;
      context.ct = &ct;
      context.hook = net::Hook::kForward;
      context.in = kLan;
      context.out = kWan;
      context.rng = &random;
      context.worker = &worker;
      context.path = &path;
      benchmark::DoNotOptimize(rules->Walk(net::Table::kFilter, context));
    }
  }
  CountPackets(state);
}
BENCHMARK(BM_Walk)->ArgName("rules")->Arg(10)->Arg(1000)->Arg(10000);

// The source there and back again, so that the bytes stay: half of it is a packet's.
void BM_Rewrite(benchmark::State& state) {
  Burst burst(state.range(0) != 0);
  std::array<net::Tuple, kBurst> translated = burst.tuples;
  for (net::Tuple& tuple : translated) tuple.source = net::IpAddress::V4(kWanAddress);
  for (auto _ : state) {
    for (size_t i = 0; i < kBurst; ++i) {
      nat::Rewrite(&burst.packets[i], net::Manip::kSource, translated[i]);
    }
    for (size_t i = 0; i < kBurst; ++i) {
      nat::Rewrite(&burst.packets[i], net::Manip::kSource, burst.tuples[i]);
    }
  }
  const auto packets = static_cast<double>(state.iterations()) * 2 * kBurst;
  state.counters["packet"] =
      benchmark::Counter(packets, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(BM_Rewrite)->ArgName("tcp")->Arg(0)->Arg(1);

}  // namespace
}  // namespace postern::perf

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  postern::dpdk::RuntimeConfig config;
  config.workers = {0};
  config.hugepages = false;
  if (const auto status = postern::dpdk::StartEal(config); !status) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

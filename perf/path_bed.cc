#include "perf/path_bed.h"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "dataplane/net/random.h"

namespace postern::perf {
namespace {

constexpr unsigned kPollMicroseconds = 1000;
constexpr double kOpeningSeconds = 300;
constexpr size_t kZipfLength = 1U << 20;

double Seconds() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// RFC 6985's genome of a simple IMIX: seven of 64 bytes, four of 594, one of 1518, FCS included.
uint16_t LengthOf(FrameSizes sizes, uint32_t index) {
  constexpr uint16_t kFcs = 4;
  const uint32_t place = index % 12;
  if (sizes == FrameSizes::kLarge || (sizes == FrameSizes::kImix && place == 11)) {
    return 1518 - kFcs;
  }
  if (sizes == FrameSizes::kImix && place >= 7) return 594 - kFcs;
  return kFrameBytes;
}

}  // namespace

uint64_t Window::sent() const { return std::accumulate(moved.begin(), moved.end(), uint64_t{0}); }

double Window::Rate(const std::vector<uint64_t>& counted) const {
  double rate = 0;
  for (size_t i = 0; i < counted.size(); ++i) {
    if (cpu[i] > 0) rate += static_cast<double>(counted[i]) / cpu[i];
  }
  return rate;
}

net::Result<std::unique_ptr<PathBed>> PathBed::Create(const PathScenario& scenario,
                                                      const RunOptions& options, uint32_t spare) {
  std::unique_ptr<PathBed> bed(new PathBed(scenario, options));
  Appliance::Options appliance;
  if (options.cpus.empty()) return net::Error{"no CPU for a worker"};
  for (unsigned w = 0; w < scenario.workers; ++w) {
    appliance.cpus.push_back(options.cpus[w % options.cpus.size()]);
  }
  appliance.main_cpu = options.main_cpu;
  appliance.connections = std::max(scenario.flows + spare, 1U);
  appliance.rules = scenario.rules;
  appliance.nat = scenario.nat;
  appliance.fast_path = scenario.fast_path;
  appliance.tcp_closing = 1;
  auto started = Appliance::Start(appliance);
  if (!started) return net::Error{started.error()};
  bed->appliance_ = std::move(*started);
  auto ports = MemoryPorts::Create(scenario.workers);
  if (!ports) return net::Error{ports.error()};
  bed->ports_ = std::move(*ports);
  if (net::Status status = bed->appliance_->Begin(); !status) return net::Error{status.error()};
  // The first polls: the workers are known then.
  while (std::any_of(
      appliance.cpus.begin(), appliance.cpus.end(),
      [&bed, w = 0U](unsigned) mutable { return bed->ports_->counters(w++).polls.Get() == 0; })) {
    usleep(kPollMicroseconds);
  }
  return bed;
}

PathBed::~PathBed() {
  // The workers use what is ours.
  if (appliance_) appliance_->runtime().Stop();
}

ConnectionKind PathBed::KindOf(unsigned worker, Transport transport) const {
  ConnectionKind kind;
  kind.transport = transport;
  kind.family = scenario_.family;
  kind.inwards = scenario_.nat == Nat::kDnat;
  kind.owners = &appliance_->runtime().owners();
  kind.worker = worker;
  return kind;
}

void PathBed::Keep(const ConnectionKind& kind, uint32_t index, const Endpoints& server,
                   Frames* to) const {
  const uint16_t length = LengthOf(scenario_.sizes, index);
  constexpr uint8_t kAck = net::kTcpAck;
  to->client.push_back(kind.Make(FlowAt(index, kind.inwards), {true, kAck, 1, 1}, length));
  to->server.push_back(kind.Make(server, {false, kAck, 1, 1}, length));
}

net::Status PathBed::RunOpeners(std::vector<Frames>* frames) {
  std::vector<std::unique_ptr<ScriptSource>> openers;
  std::vector<Source*> sources;
  for (unsigned w = 0; w < workers(); ++w) {
    Frames* to = &(*frames)[w];
    to->client.reserve(scenario_.flows);
    to->server.reserve(scenario_.flows);
    ScriptSource::Plan plan;
    plan.kind = KindOf(w, scenario_.transport);
    plan.script = &OpeningScript(scenario_.transport);
    plan.end = scenario_.flows;
    plan.on_done = [this, kind = plan.kind, to](uint32_t index, const Endpoints& server) {
      Keep(kind, index, server, to);
    };
    openers.push_back(std::make_unique<ScriptSource>(plan));
    sources.push_back(openers.back().get());
  }
  Use(sources);
  const double end = Seconds() + kOpeningSeconds;
  const auto finished = [](const auto& opener) { return opener->finished(); };
  while (!std::all_of(openers.begin(), openers.end(), finished) && Seconds() < end) {
    usleep(kPollMicroseconds);
  }
  Silence();
  uint64_t done = 0;
  for (const auto& opener : openers) {
    done += opener->done();
    foreign_ += opener->foreign();
  }
  if (done == scenario_.flows) return {};
  return net::Error{fmt::format("{} of {} connections could be opened", done, scenario_.flows)};
}

net::Status PathBed::Open() {
  std::vector<Frames> frames(workers());
  if (net::Status status = RunOpeners(&frames); !status) return status;
  for (unsigned w = 0; w < workers(); ++w) {
    Frames& all = frames[w];
    // In random order, both sides in the same.
    net::Rng random(scenario_.flows + w);
    for (size_t i = all.client.size(); i > 1; --i) {
      const size_t other = random.Next() % i;
      std::swap(all.client[i - 1], all.client[other]);
      std::swap(all.server[i - 1], all.server[other]);
    }
    std::vector<uint32_t> order;
    const auto flows = static_cast<uint32_t>(all.client.size());
    if (scenario_.zipf) order = ZipfOrder(flows, kZipfLength, w + 1);
    loops_.push_back(std::make_unique<LoopSource>(KindOf(w, scenario_.transport).PortOf(true),
                                                  std::move(all.client), std::move(all.server),
                                                  std::move(order)));
  }
  return {};
}

void PathBed::Use(const std::vector<Source*>& sources) {
  for (unsigned w = 0; w < workers(); ++w) ports_->Use(w, sources[w]);
}

void PathBed::UseLoops() {
  for (unsigned w = 0; w < workers(); ++w) ports_->Use(w, loops_[w].get());
}

void PathBed::Silence() {
  for (unsigned w = 0; w < workers(); ++w) ports_->Use(w, nullptr);
}

Window PathBed::Measure(double seconds) const {
  const auto look = [this] {
    Window now;
    now.wall = Seconds();
    for (unsigned w = 0; w < workers(); ++w) {
      now.cpu.push_back(ports_->CpuSeconds(w));
      now.moved.push_back(ports_->counters(w).sent.Get());
    }
    return now;
  };
  const Window before = look();
  usleep(static_cast<useconds_t>(seconds * 1e6));
  Window after = look();
  after.wall -= before.wall;
  for (unsigned w = 0; w < workers(); ++w) {
    after.cpu[w] -= before.cpu[w];
    after.moved[w] -= before.moved[w];
  }
  return after;
}

int64_t PathBed::Lost() const {
  int64_t lost = 0;
  for (unsigned w = 0; w < workers(); ++w) {
    lost += static_cast<int64_t>(ports_->counters(w).received.Get()) -
            static_cast<int64_t>(ports_->counters(w).sent.Get());
  }
  return lost;
}

uint64_t PathBed::Handoffs() {
  uint64_t handoffs = 0;
  for (const pipeline::WorkerStats& worker : appliance_->runtime().Workers()) {
    handoffs += worker.handoffs_out;
  }
  return handoffs;
}

}  // namespace postern::perf

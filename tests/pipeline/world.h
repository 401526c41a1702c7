// A router between a LAN and a WAN on the offline engine, with rules made in code.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/pipeline/offline.h"
#include "tests/support/packet_builder.h"

namespace postern::test {

inline constexpr net::PortId kWan = 0;
inline constexpr net::PortId kLan = 1;
inline constexpr char kWanMac[] = "02:00:00:00:00:01";
inline constexpr char kLanMac[] = "02:00:00:00:00:02";
inline constexpr char kPeerMac[] = "02:00:00:00:00:99";
inline constexpr net::Time kStart = 1'000 * net::kSecond;

// What came out, in order.
struct Sent {
  net::PortId port = 0;
  bool host = false;
  Bytes frame;
  friend bool operator==(const Sent&, const Sent&) = default;
};

class WorldOutput final : public pipeline::OfflineOutput,
                          public pipeline::EventSink,
                          public pipeline::PacketObserver {
 public:
  void OnTransmit(net::PortId port, const net::Packet& frame) override {
    sent.push_back({port, false, {frame.data, frame.data + frame.length}});
  }
  void OnHost(net::PortId twin, const net::Packet& frame) override {
    sent.push_back({twin, true, {frame.data, frame.data + frame.length}});
  }
  void OnLog(const pipeline::LogRecord& record) override { logs.emplace_back(record.prefix); }
  bool WantsConnections() const override { return wants_connections; }
  void OnConnection(const pipeline::ConnRecord& record) override {
    connections.push_back(record.event);
  }
  void OnTrouble(net::DropReason reason, net::Time) override { troubles.push_back(reason); }
  void OnOutcome(const net::Packet&, const pipeline::Outcome& outcome,
                 const rules::PathBuilder&) override {
    verdict = outcome.verdict;
    remembered += outcome.remembered ? 1 : 0;
  }
  void OnDrop(const net::Packet&, net::DropReason reason) override { drops.push_back(reason); }

  std::vector<Sent> sent;
  std::vector<std::string> logs;
  std::vector<net::DropReason> drops;
  std::vector<net::DropReason> troubles;
  bool wants_connections = false;
  std::vector<ctrack::ConnEvent> connections;
  net::Verdict verdict = net::Verdict::kStolen;
  uint64_t remembered = 0;
};

// Rules by the sentence.
inline rules::Rule MakeRule(rules::Target target, std::vector<rules::Match> matches = {}) {
  rules::Rule rule;
  rule.target = std::move(target);
  rule.matches = std::move(matches);
  return rule;
}
inline rules::Rule From(std::string in, rules::Rule rule) {
  rule.ip.in.name = std::move(in);
  return rule;
}
inline rules::Rule To(std::string out, rules::Rule rule) {
  rule.ip.out.name = std::move(out);
  return rule;
}
inline rules::Rule Proto(uint8_t protocol, rules::Rule rule) {
  rule.ip.protocol = protocol;
  return rule;
}
inline rules::Match State(uint16_t bits) {
  rules::ConntrackMatch match;
  match.fields = rules::ConntrackMatch::kState;
  match.state = bits;
  return match;
}
inline rules::Match DestinationPort(uint8_t protocol, uint16_t port) {
  if (protocol == net::kProtoUdp) {
    rules::UdpMatch match;
    match.destination = {port, port};
    return match;
  }
  rules::TcpMatch match;
  match.destination = {port, port};
  return match;
}
inline net::NatRange RangeTo(const char* address, uint16_t port = 0) {
  net::NatRange range;
  range.has_address = true;
  range.first_address = *net::ParseAddress(net::Family::kIpv4, address);
  range.last_address = range.first_address;
  if (port != 0) {
    range.has_ports = true;
    range.ports = {port, port};
  }
  return range;
}

class World {
 public:
  struct Options {
    unsigned workers = 1;
    pipeline::Arrival arrival = pipeline::Arrival::kRss;
    bool fast_path = true;
    uint32_t conntrack_max = 4096;
    uint16_t wan_mtu = 1500;
    bool assume_neighbors = true;
    bool strict_port_preservation = false;
    uint16_t tailroom = pipeline::HeapPool::kTailroom;
    // Of each worker: beyond them rules are counted singly.
    uint32_t max_paths = 1U << 15;
    uint32_t max_path_steps = 1U << 19;
  };

  World() : World(Options{}) {}
  explicit World(const Options& options) : options_(options) {
    pipeline::OfflineEngine::Options engine;
    engine.workers = options.workers;
    engine.connections = options.conntrack_max + 64;
    engine.seed = 7;
    engine.arrival = options.arrival;
    engine.assume_neighbors = options.assume_neighbors;
    engine.tailroom = options.tailroom;
    engine.port_names = {"wan0", "lan0"};
    engine_ = std::make_unique<pipeline::OfflineEngine>(engine, &output, &output, &output);
    for (rules::FamilyModel* family : {&model.ipv4, &model.ipv6}) {
      family->present = {true, true, true, true};
    }
  }

  rules::Chain& Chain(net::Table table, const char* name, net::Family family = net::Family::kIpv4) {
    return *model.family(family).table(table).Find(name);
  }

  void Publish() {
    ++generation_;
    auto next = std::make_unique<pipeline::Snapshot>();
    next->generation = generation_;
    rules::RuleSet::Options rule_options;
    rule_options.port_names = {"wan0", "lan0"};
    rule_options.generation = generation_;
    rule_options.connlimit_keys = 2 * options_.conntrack_max;
    const pipeline::Snapshot* current = engine_->current();
    next->rules = rules::RuleSet::Compile(model, rule_options, &shared_,
                                          current == nullptr ? nullptr : current->rules.get());
    for (unsigned i = 0; i < options_.workers; ++i) {
      next->worker_rules.push_back(std::make_unique<rules::WorkerRules>(
          *next->rules, options_.max_paths, options_.max_path_steps));
    }
    // Rules change alone, as when iptables is called.
    next->routes = current == nullptr ? MakeRoutes() : current->routes;
    next->conntrack.max = options_.conntrack_max;
    next->fast_path = options_.fast_path;
    next->strict_port_preservation = options_.strict_port_preservation;
    old_ = engine_->Publish(std::move(next));
  }

  // The frame with the MACs that the port wants.
  std::vector<Sent> Send(net::PortId port, Packet packet, net::Time at) {
    output.sent.clear();
    packet.Eth(kPeerMac, port == kWan ? kWanMac : kLanMac);
    const Bytes frame = packet.Build().Frame();
    engine_->Inject(port, frame, at);
    return output.sent;
  }
  std::vector<Sent> SendRaw(net::PortId port, const Bytes& frame, net::Time at) {
    output.sent.clear();
    engine_->Inject(port, frame, at);
    return output.sent;
  }

  std::vector<Sent> SendBurst(net::PortId port, std::span<const Bytes> frames, net::Time at) {
    output.sent.clear();
    engine_->InjectBurst(port, frames, at);
    return output.sent;
  }

  // Totals of the snapshot in force, by rule id.
  std::vector<rules::Counters> Totals() {
    const pipeline::Snapshot& snapshot = *engine_->current();
    std::vector<rules::Counters> totals(snapshot.rules->rule_count());
    for (const auto& worker : snapshot.worker_rules) worker->AddTo(totals);
    return totals;
  }
  rules::Counters Count(net::Table table, uint16_t chain, uint32_t rule) {
    return Totals()[engine_->current()->rules->IdOf({net::Family::kIpv4, table, chain, rule})];
  }

  pipeline::OfflineEngine& engine() { return *engine_; }

  rules::Model model;
  WorldOutput output;

 private:
  std::shared_ptr<const route::RouteTable> MakeRoutes() const {
    route::PortConfig wan{
        kWan,
        "wan0",
        *net::ParseMac(kWanMac),
        *net::ParseMac("02:00:00:00:01:01"),
        options_.wan_mtu,
        true,
        {*net::ParsePrefix("203.0.113.2/24"), *net::ParsePrefix("2001:db8:1::2/64")}};
    route::PortConfig lan{
        kLan,
        "lan0",
        *net::ParseMac(kLanMac),
        *net::ParseMac("02:00:00:00:01:02"),
        1500,
        true,
        {*net::ParsePrefix("192.168.1.1/24"), *net::ParsePrefix("2001:db8:2::1/64")}};
    std::vector<route::StaticRoute> routes = {{*net::ParsePrefix("0.0.0.0/0"),
                                               net::ParseAddress(net::Family::kIpv4, "203.0.113.1"),
                                               net::kNoPort}};
    return std::make_shared<const route::RouteTable>(std::vector{wan, lan}, routes,
                                                     route::MakeTrieFib(), generation_);
  }

  const Options options_;
  rules::SharedState shared_;
  uint32_t generation_ = 0;
  std::unique_ptr<pipeline::Snapshot> old_;
  std::unique_ptr<pipeline::OfflineEngine> engine_;
};

// A sent frame, parsed.
inline net::ParsedPacket ParseSent(const Sent& sent) {
  OwnedPacket packet(sent.frame);
  net::Parse(&packet.packet);
  return packet->ip;
}

}  // namespace postern::test

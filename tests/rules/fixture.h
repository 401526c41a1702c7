// Packets and rules as the tables of this folder's tests write them.
//
// The rules see a parsed packet, so the packets here are made parsed: header bytes where a match
// reads them, ParsedPacket filled in by hand. Addresses are those of RFC 5737 and RFC 3849.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/net/packet.h"
#include "dataplane/net/wire.h"
#include "dataplane/rules/rule_set.h"
#include "dataplane/rules/worker_rules.h"

namespace postern::rules::testing {

using net::Hook;
using net::Table;
using net::Verdict;

inline IpAddress Address(std::string_view text) {
  const Family family = text.find(':') == std::string_view::npos ? Family::kIpv4 : Family::kIpv6;
  return net::ParseAddress(family, text).value();
}

// "192.0.2.0/24", "2001:db8::/32", "192.0.2.1".
inline AddressMatch Subnet(std::string_view text, bool invert = false) {
  const net::Prefix prefix = net::ParsePrefix(text).value();
  return {prefix.address, net::PrefixMask(prefix.family, prefix.length), invert};
}

class TestPacket {
 public:
  explicit TestPacket(std::string_view source = "192.0.2.1",
                      std::string_view destination = "198.51.100.2") {
    net::ParsedPacket& ip = packet_.ip;
    ip.family = source.find(':') == std::string_view::npos ? Family::kIpv4 : Family::kIpv6;
    ip.source = Address(source);
    ip.destination = Address(destination);
    ip.ttl = 64;
    ip.l3_offset = sizeof(net::EthernetHeader);
    ip.l4_offset = static_cast<uint16_t>(ip.l3_offset + (ip.family == Family::kIpv4 ? 20 : 40));
    packet_.data = bytes_.data();
    packet_.in_port = 0;
    SetL4Length(0);
  }
  TestPacket(const TestPacket& other) : bytes_(other.bytes_), packet_(other.packet_) {
    packet_.data = bytes_.data();
  }
  TestPacket& operator=(const TestPacket&) = delete;

  TestPacket& Tcp(uint16_t source, uint16_t destination, uint8_t flags = net::kTcpSyn,
                  const std::vector<uint8_t>& options = {}) {
    net::TcpHeader header{};
    header.source_port = source;
    header.destination_port = destination;
    header.flags = flags;
    const size_t length = sizeof(header) + options.size();
    header.offset_reserved = static_cast<uint8_t>((length / 4) << 4);
    Put(net::kProtoTcp, &header, sizeof(header));
    if (!options.empty()) {
      std::memcpy(packet_.L4() + sizeof(header), options.data(), options.size());
    }
    SetL4Length(static_cast<uint32_t>(length));
    SetPorts(source, destination);
    packet_.ip.tcp_flags = flags;
    return *this;
  }
  TestPacket& Udp(uint16_t source, uint16_t destination, uint8_t protocol = net::kProtoUdp) {
    net::UdpHeader header{};
    header.source_port = source;
    header.destination_port = destination;
    header.length = uint16_t{8};
    Put(protocol, &header, sizeof(header));
    SetPorts(source, destination);
    return *this;
  }
  TestPacket& Icmp(uint8_t type, uint8_t code) {
    net::IcmpHeader header{};
    header.type = type;
    header.code = code;
    Put(packet_.ip.family == Family::kIpv4 ? net::kProtoIcmp : net::kProtoIcmpv6, &header,
        sizeof(header));
    packet_.ip.icmp_type = type;
    packet_.ip.icmp_code = code;
    return *this;
  }
  TestPacket& Protocol(uint8_t protocol) {
    packet_.ip.protocol = protocol;
    packet_.ip.l4_valid = true;
    return *this;
  }
  // Cuts the transport header (with its payload) to `length` bytes.
  TestPacket& Cut(uint32_t length) {
    SetL4Length(length);
    packet_.ip.l4_valid = false;
    return *this;
  }
  TestPacket& Fragment(uint16_t offset) {
    packet_.ip.fragment_offset = offset;
    packet_.ip.fragment = true;
    packet_.ip.l4_valid = packet_.ip.l4_valid && offset == 0;
    return *this;
  }
  TestPacket& Mark(uint32_t mark) {
    packet_.mark = mark;
    return *this;
  }
  TestPacket& Ttl(uint8_t ttl) {
    packet_.ip.ttl = ttl;
    return *this;
  }
  TestPacket& Length(uint32_t l3_length) {
    packet_.ip.l3_length = l3_length;
    return *this;
  }

  net::Packet& packet() { return packet_; }

 private:
  void Put(uint8_t protocol, const void* header, size_t size) {
    packet_.ip.protocol = protocol;
    packet_.ip.l4_valid = true;
    std::memcpy(packet_.L4(), header, size);
    SetL4Length(static_cast<uint32_t>(size));
  }
  void SetPorts(uint16_t source, uint16_t destination) {
    packet_.ip.source_port = source;
    packet_.ip.destination_port = destination;
  }
  void SetL4Length(uint32_t length) {
    packet_.ip.l3_length = packet_.ip.l4_offset - packet_.ip.l3_offset + length;
    packet_.length = packet_.ip.l3_offset + packet_.ip.l3_length;
  }

  std::array<uint8_t, 256> bytes_{};
  net::Packet packet_;
};

// A rule in one expression: RuleOf(AcceptTarget{}).From("192.0.2.0/24").Tcp(22).
class RuleOf {
 public:
  explicit RuleOf(Target target = NoTarget{}) { rule_.target = std::move(target); }
  RuleOf& From(std::string_view prefix, bool invert = false) {
    rule_.ip.source = Subnet(prefix, invert);
    return *this;
  }
  RuleOf& To(std::string_view prefix, bool invert = false) {
    rule_.ip.destination = Subnet(prefix, invert);
    return *this;
  }
  RuleOf& In(std::string_view name, bool invert = false) {
    rule_.ip.in = {std::string(name), invert};
    return *this;
  }
  RuleOf& Out(std::string_view name, bool invert = false) {
    rule_.ip.out = {std::string(name), invert};
    return *this;
  }
  RuleOf& Protocol(uint8_t protocol, bool invert = false) {
    rule_.ip.protocol = protocol;
    rule_.ip.invert_protocol = invert;
    return *this;
  }
  RuleOf& Tcp(uint16_t port) {
    TcpMatch match;
    match.destination = {port, port};
    return Protocol(net::kProtoTcp).With(match);
  }
  // A template, because gcc 12 warns of a moved variant's other alternatives.
  template <typename OneMatch>
  RuleOf& With(const OneMatch& match) {
    rule_.matches.emplace_back(match);
    return *this;
  }
  RuleOf& State(uint16_t state) {
    ConntrackMatch match;
    match.fields = ConntrackMatch::kState;
    match.state = state;
    return With(match);
  }
  RuleOf& At(std::string_view file, int line) {
    rule_.origin = {std::string(file), line};
    return *this;
  }
  operator Rule() const { return rule_; }  // NOLINT(google-explicit-constructor)

 private:
  Rule rule_;
};

inline RuleOf Jump(std::string_view chain) { return RuleOf(JumpTarget{std::string(chain), false}); }
inline RuleOf Goto(std::string_view chain) { return RuleOf(JumpTarget{std::string(chain), true}); }

// A model with rules in chains of one family; chains that aren't built in are made.
class ModelOf {
 public:
  explicit ModelOf(Family family = Family::kIpv4) : family_(family) {}
  ModelOf& Add(Table table, std::string_view chain, std::vector<Rule> rules) {
    FamilyModel& model = model_.family(family_);
    model.present[static_cast<size_t>(table)] = true;
    if (model.table(table).Find(chain) == nullptr) {
      Chain user;
      user.name = chain;
      model.table(table).chains.push_back(std::move(user));
    }
    auto& into = model.table(table).Find(chain)->rules;
    into.insert(into.end(), rules.begin(), rules.end());
    return *this;
  }
  ModelOf& Input(std::vector<Rule> rules) { return Add(Table::kFilter, "INPUT", std::move(rules)); }
  ModelOf& Policy(Table table, std::string_view chain, Verdict verdict) {
    FamilyModel& model = model_.family(family_);
    model.present[static_cast<size_t>(table)] = true;
    model.table(table).Find(chain)->policy = verdict;
    return *this;
  }
  operator const Model&() const { return model_; }  // NOLINT(google-explicit-constructor)
  const Model& model() const { return model_; }

 private:
  Family family_;
  Model model_;
};

// A rule set with what a worker has beside it; one packet at a time.
struct Walker {
  std::shared_ptr<const RuleSet> rules;
  PathBuilder path;
  ctrack::CtRef ct;
  ConnectionFinder* finder = nullptr;
  LogSink* log = nullptr;
  WorkerRules* worker = nullptr;
  net::Time now = 1000 * net::kSecond;
  Hook hook = Hook::kInput;
  net::PortId in = 0;
  net::PortId out = net::kNoPort;

  explicit Walker(const Model& model, SharedState* shared = nullptr,
                  const RuleSet* previous = nullptr,
                  std::vector<std::string> ports = {"lan0", "wan0", "wan1"},
                  uint32_t index_from = RuleSet::Options().index_from) {
    RuleSet::Options options;
    options.index_from = index_from;
    options.port_names = std::move(ports);
    rules = RuleSet::Compile(model, options, shared, previous);
  }

  WalkResult Walk(TestPacket& packet, Table table = Table::kFilter) {
    path.Clear();
    WalkContext context;
    context.packet = &packet.packet();
    context.ct = &ct;
    context.hook = hook;
    context.in = in;
    context.out = out;
    context.now = now;
    context.worker = worker;
    context.log = log;
    context.path = &path;
    context.finder = finder;
    return rules->Walk(table, context);
  }
  // Whether rule `number` of filter INPUT was counted.
  bool Matched(TestPacket& packet, uint32_t number = 1) {
    Walk(packet);
    const RuleId id = rules->IdOf({packet.packet().ip.family, Table::kFilter, 0, number});
    for (uint32_t i = 0; i < path.size; ++i) {
      if (path.rules[i] == id) return true;
    }
    return false;
  }
  std::vector<RuleId> Path() const { return {path.rules, path.rules + path.size}; }
};

}  // namespace postern::rules::testing

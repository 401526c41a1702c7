// The established path leaves packets, connections and counters as the slow path would.
//
// Conversations that live long enough to have shortcuts, plain and translated, over IPv4 and IPv6,
// with everything in between that must leave the path: odd segments, bad sums, padding, TTLs,
// pauses, closes, a new rule set. The same frames go through a router that walks every hook for
// every packet, and after every few of them the two are compared whole.
#include "dataplane/pipeline/established.h"

#include <gtest/gtest.h>

#include <map>
#include <tuple>

#include "dataplane/net/random.h"
#include "tests/pipeline/world.h"

namespace postern::test {
namespace {

using net::Table;

struct End {
  net::PortId port;  // where its packets come in
  std::string source, destination;
  uint16_t source_port, destination_port;
};

// Two ends of a conversation, each with the addresses that it sees.
struct Flow {
  bool tcp = false;
  net::Family family = net::Family::kIpv4;
  std::array<End, 2> ends;
  std::array<uint32_t, 2> seq{1000, 900000};
  unsigned opened = 0;  // packets of the handshake that have passed
};

Flow MakeFlow(bool tcp, net::Family family, const End& first, const End& second) {
  Flow flow;
  flow.tcp = tcp;
  flow.family = family;
  flow.ends = {first, second};
  return flow;
}

std::vector<Flow> Flows() {
  std::vector<Flow> flows;
  for (uint16_t i = 0; i < 4; ++i) {
    const bool tcp = i % 2 == 0;
    const auto port = static_cast<uint16_t>(5000 + i);
    const std::string server = "198.51.100.7";
    const std::string number = std::to_string(10 + i);
    const std::string plain = "192.168.1." + number;
    flows.push_back(MakeFlow(tcp, net::Family::kIpv4, {kLan, plain, server, port, 53},
                             {kWan, server, plain, 53, port}));
    const std::string hidden = "192.168.1.1" + number;
    const auto other = static_cast<uint16_t>(port + 100);
    flows.push_back(MakeFlow(tcp, net::Family::kIpv4, {kLan, hidden, server, other, 53},
                             {kWan, server, "203.0.113.2", 53, other}));
    const auto third = static_cast<uint16_t>(port + 200);
    flows.push_back(MakeFlow(tcp, net::Family::kIpv4, {kWan, server, "203.0.113.2", third, 8080},
                             {kLan, "192.168.1.99", server, 80, third}));
    const std::string client6 = "2001:db8:2::" + number;
    flows.push_back(MakeFlow(tcp, net::Family::kIpv6, {kLan, client6, "2001:db8:9::1", port, 53},
                             {kWan, "2001:db8:9::1", client6, 53, port}));
    const std::string hidden6 = "2001:db8:2::f" + number;
    flows.push_back(MakeFlow(tcp, net::Family::kIpv6, {kLan, hidden6, "2001:db8:9::1", other, 53},
                             {kWan, "2001:db8:9::1", "2001:db8:1::2", 53, other}));
  }
  return flows;
}

struct Frame {
  net::PortId port;
  Bytes bytes;
  net::Time at;
};

class Conversations {
 public:
  explicit Conversations(uint64_t seed) : rng_(seed), flows_(Flows()) {}

  Frame Next() {
    now_ += rng_.Below(60) * net::kMillisecond;
    if (rng_.Below(250) == 0) now_ += rng_.Below(150) * net::kSecond;
    Flow& flow = flows_[rng_.Below(static_cast<uint32_t>(flows_.size()))];
    size_t from = rng_.Below(2);
    if (flow.opened < 3) from = flow.opened % 2;
    const End& end = flow.ends[from];
    Packet packet;
    if (flow.family == net::Family::kIpv4) {
      packet.Ipv4(end.source, end.destination).Id(static_cast<uint16_t>(rng_.Next()));
    } else {
      packet.Ipv6(end.source, end.destination);
    }
    packet.Eth(kPeerMac, end.port == kWan ? kWanMac : kLanMac);
    packet.Tos(static_cast<uint8_t>(rng_.Below(4) << 2)).DontFragment(rng_.Below(2) == 0);
    if (flow.tcp) {
      Segment(&flow, from, &packet);
    } else {
      packet.Udp(end.source_port, end.destination_port).PayloadLength(Length());
      if (rng_.Below(10) == 0) packet.NoUdpChecksum();
      if (rng_.Below(60) == 0) packet.UdpLengthAs(static_cast<uint16_t>(rng_.Below(40)));
      flow.opened = std::min(flow.opened + 1, 3U);
    }
    Spoil(&packet);
    return {end.port, packet.Frame(), now_};
  }

 private:
  size_t Length() { return rng_.Below(8) == 0 ? rng_.Below(1473) : rng_.Below(70); }

  void Segment(Flow* flow, size_t from, Packet* packet) {
    const End& end = flow->ends[from];
    const uint32_t ack = flow->seq[1 - from];
    uint32_t* seq = &flow->seq[from];
    if (flow->opened < 3) {
      constexpr uint8_t kHandshake[] = {net::kTcpSyn, net::kTcpSyn | net::kTcpAck, net::kTcpAck};
      packet->Tcp(end.source_port, end.destination_port, kHandshake[flow->opened]);
      packet->Seq(*seq).Ack(flow->opened == 0 ? 0 : ack).Window(20000);
      if (flow->opened < 2) {
        packet->Mss(1460).SackPermitted().WindowScale(7);
        ++*seq;
      }
      ++flow->opened;
      return;
    }
    uint8_t flags = net::kTcpAck;
    if (rng_.Below(3) == 0) flags |= net::kTcpPsh;
    if (rng_.Below(50) == 0) flags |= net::kTcpUrg;
    const size_t length = rng_.Below(3) == 0 ? 0 : Length();
    uint32_t at = *seq;
    uint32_t acknowledged = ack;
    switch (rng_.Below(30)) {
      case 0:
        at -= rng_.Below(3000);  // once more, or long ago
        break;
      case 1:
        at += rng_.Below(6'000'000);
        break;
      case 2:
        acknowledged += rng_.Below(100);
        break;
      case 3:
        acknowledged -= rng_.Below(200'000);
        break;
      default:
        *seq += static_cast<uint32_t>(length);
    }
    if (rng_.Below(120) == 0) {
      constexpr uint8_t kEnds[] = {net::kTcpFin | net::kTcpAck, net::kTcpRst, net::kTcpSyn,
                                   net::kTcpRst | net::kTcpAck, 0};
      flags = kEnds[rng_.Below(5)];
      flow->opened = rng_.Below(2) == 0 ? 3 : 0;
    }
    packet->Tcp(end.source_port, end.destination_port, flags).Seq(at).Ack(acknowledged);
    packet->Window(static_cast<uint16_t>(rng_.Below(20) == 0 ? 0 : 100 + rng_.Below(3) * 7000));
    if (rng_.Below(3) == 0) packet->TcpOptions({1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2});
    if (rng_.Below(15) == 0) packet->Sack(acknowledged + 10, acknowledged + rng_.Below(300));
    if (rng_.Below(80) == 0) packet->TcpOffsetAs(static_cast<uint8_t>(rng_.Below(16)));
    packet->PayloadLength(length);
  }

  void Spoil(Packet* packet) {
    if (rng_.Below(40) == 0) packet->BadChecksum();
    if (rng_.Below(60) == 0) packet->BadIpChecksum();
    if (rng_.Below(40) == 0) packet->Ttl(static_cast<uint8_t>(rng_.Below(3)));
    if (rng_.Below(20) == 0) packet->PadTo(rng_.Below(200));
    if (rng_.Below(60) == 0) packet->TruncateTo(rng_.Below(80));
    if (rng_.Below(80) == 0) packet->Eth(kPeerMac, "02:00:00:00:00:77");
    if (rng_.Below(80) == 0) packet->Eth(kPeerMac, "ff:ff:ff:ff:ff:ff");
  }

  net::Rng rng_;
  std::vector<Flow> flows_;
  net::Time now_ = kStart;
};

rules::AddressMatch Within(const char* text) {
  const net::Prefix prefix = *net::ParsePrefix(text);
  return {prefix.address, net::PrefixMask(prefix.family, prefix.length), false};
}

rules::Rule ToAddress(const char* prefix, rules::Rule rule) {
  rule.ip.destination = Within(prefix);
  return rule;
}

rules::Rule FromAddress(const char* prefix, rules::Rule rule) {
  rule.ip.source = Within(prefix);
  return rule;
}

// What the rules look at before they accept an established packet.
enum class Reads : uint8_t { kState, kFlags, kAddresses, kAddressesBehindState, kCount };

void LoadRules(World* world, Reads reads) {
  world->Chain(Table::kNat, "PREROUTING").rules = {
      ToAddress("203.0.113.2",
                From("wan0",
                     Proto(net::kProtoTcp, MakeRule(rules::DnatTarget{RangeTo("192.168.1.99", 80)},
                                                    {DestinationPort(net::kProtoTcp, 8080)})))),
      ToAddress("203.0.113.2",
                From("wan0",
                     Proto(net::kProtoUdp, MakeRule(rules::DnatTarget{RangeTo("192.168.1.99", 80)},
                                                    {DestinationPort(net::kProtoUdp, 8080)}))))};
  world->Chain(Table::kNat, "POSTROUTING").rules = {
      FromAddress("192.168.1.110/31", To("wan0", MakeRule(rules::MasqueradeTarget{}))),
      FromAddress("192.168.1.112/31", To("wan0", MakeRule(rules::MasqueradeTarget{})))};
  world->Chain(Table::kNat, "POSTROUTING", net::Family::kIpv6).rules = {
      FromAddress("2001:db8:2::f00/120", To("wan0", MakeRule(rules::MasqueradeTarget{})))};
  for (const net::Family family : {net::Family::kIpv4, net::Family::kIpv6}) {
    auto& forward = world->Chain(Table::kFilter, "FORWARD", family);
    rules::TcpMatch pushed;
    pushed.flag_mask = net::kTcpPsh;
    pushed.flag_compare = net::kTcpPsh;
    forward.rules = {MakeRule(rules::DropTarget{}, {State(rules::kCtStateInvalid)})};
    if (reads == Reads::kFlags) {
      forward.rules.push_back(Proto(net::kProtoTcp, MakeRule(rules::NoTarget{}, {pushed})));
    }
    const rules::Rule to_some =
        Proto(net::kProtoUdp, MakeRule(rules::NoTarget{}, {DestinationPort(net::kProtoUdp, 53)}));
    if (reads == Reads::kAddresses) forward.rules.push_back(to_some);
    forward.rules.push_back(MakeRule(rules::AcceptTarget{}, {State(rules::kCtStateEstablished)}));
    if (reads == Reads::kAddressesBehindState) forward.rules.push_back(to_some);
    forward.rules.push_back(MakeRule(rules::AcceptTarget{}));
  }
  world->Publish();
}

// Everything of a connection but the paths that it remembers.
std::string Describe(const ctrack::Connection& c) {
  std::string text = net::ToString(c.original()) + " " + net::ToString(c.reply());
  const auto add = [&text](const char* name, uint64_t value) {
    text += " " + std::string(name) + "=" + std::to_string(value);
  };
  add("status", c.status);
  add("expires", c.expires);
  add("id", c.id);
  if (c.extension != nullptr) {
    for (size_t i = 0; i < 2; ++i) {
      add("packets", c.extension->packets[i]);
      add("bytes", c.extension->bytes[i]);
    }
  }
  if (c.original().protocol == net::kProtoUdp) add("stream", c.protocol.udp.stream_at);
  if (c.original().protocol != net::kProtoTcp) return text;
  const ctrack::TcpTracking& tcp = c.protocol.tcp;
  for (const ctrack::TcpPeer& peer : tcp.peer) {
    add("end", peer.end);
    add("max_end", peer.max_end);
    add("max_window", peer.max_window);
    add("max_ack", peer.max_ack);
    add("scale", peer.scale);
    add("flags", peer.flags);
  }
  add("last_seq", tcp.last_seq);
  add("last_ack", tcp.last_ack);
  add("last_end", tcp.last_end);
  add("last_window", tcp.last_window);
  add("state", static_cast<uint64_t>(tcp.state));
  add("last_dir", tcp.last_dir);
  add("last_index", tcp.last_index);
  add("retransmissions", tcp.retransmissions);
  return text;
}

class Census final : public pipeline::WorkerCommand {
 public:
  bool Step(pipeline::Pipeline& pipeline, net::Time now) override {
    shortcuts = pipeline.stats().shortcuts;
    return pipeline.tracker().Visit(now, 4096, &cursor_, [this](ctrack::Connection& connection) {
      connections[connection.id] = Describe(connection);
    });
  }
  std::map<uint32_t, std::string> connections;
  uint64_t shortcuts = 0;

 private:
  uint32_t cursor_ = 0;
};

Census Count(World* world) {
  Census census;
  world->engine().Run(0, &census);
  return census;
}

// Postern's own packets get an IP id by chance.
std::vector<Sent> WithoutOwn(std::vector<Sent> sent) {
  std::erase_if(sent, [](const Sent& one) {
    const net::ParsedPacket ip = ParseSent(one);
    return ip.protocol == net::kProtoIcmp || ip.protocol == net::kProtoIcmpv6;
  });
  return sent;
}

class EstablishedPath : public testing::TestWithParam<uint64_t> {};

TEST_P(EstablishedPath, LeavesEverythingAsTheSlowPath) {
  World::Options options;
  options.fast_path = false;
  World slow(options);
  options.fast_path = true;
  World fast(options);
  for (World* world : {&slow, &fast}) LoadRules(world, Reads::kState);
  Conversations conversations(GetParam());
  net::Rng rng(GetParam());
  for (int i = 0; i < 12'000; ++i) {
    // Often enough that shortcuts are several rule sets old.
    if (rng.Below(i % 3000 < 1000 ? 20 : 1000) == 0) {
      ASSERT_EQ(slow.Totals(), fast.Totals());
      const auto reads = static_cast<Reads>(rng.Below(static_cast<uint32_t>(Reads::kCount)));
      for (World* world : {&slow, &fast}) LoadRules(world, reads);
    }
    const Frame frame = conversations.Next();
    const auto expected = WithoutOwn(slow.SendRaw(frame.port, frame.bytes, frame.at));
    ASSERT_EQ(expected, WithoutOwn(fast.SendRaw(frame.port, frame.bytes, frame.at))) << i;
    ASSERT_EQ(slow.output.verdict, fast.output.verdict) << i;
    if (i % 10 != 0) continue;
    ASSERT_EQ(Count(&slow).connections, Count(&fast).connections) << i;
  }
  EXPECT_EQ(slow.Totals(), fast.Totals());
  EXPECT_EQ(slow.output.drops, fast.output.drops);
  EXPECT_EQ(Count(&slow).shortcuts, 0U);
  EXPECT_GT(Count(&fast).shortcuts, 3000U);
  EXPECT_EQ(fast.engine().buffers_in_use(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, EstablishedPath, testing::Values(1, 2, 3, 4, 5, 6));

// ---- the steps, one by one ----

TEST(ShortcutKey, TellsEverythingApart) {
  const uint64_t key = pipeline::ShortcutKey(7, ctrack::kConfirmed, 3, 0);
  EXPECT_NE(key, pipeline::ShortcutKey(8, ctrack::kConfirmed, 3, 0));
  EXPECT_NE(key, pipeline::ShortcutKey(7, ctrack::kConfirmed | ctrack::kAssured, 3, 0));
  EXPECT_NE(key, pipeline::ShortcutKey(7, ctrack::kConfirmed, 4, 0));
  EXPECT_NE(key, pipeline::ShortcutKey(7, ctrack::kConfirmed, 3, net::kTcpAck));
  EXPECT_NE(key, 0U);
}

}  // namespace
}  // namespace postern::test

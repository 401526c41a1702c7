// The same traffic through different machines must give the same answers:
//   remembered paths on and off (DESIGN.md section 4),
//   frames one by one and in bursts,
//   one worker and several, frames arriving where RSS sends them or anywhere (section 3).
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "dataplane/net/random.h"
#include "tests/pipeline/world.h"

namespace postern::test {
namespace {

using net::Table;

struct Frame {
  net::PortId port;
  Bytes bytes;
  net::Time at;
};

// Conversations of many clients with a few servers: TCP with handshakes, data, resets and closes in
// no particular order, UDP, pings, fragments, errors and noise.
class Traffic {
 public:
  // Of each client, so many ports talk.
  explicit Traffic(uint64_t seed, uint32_t client_ports = 6)
      : rng_(seed), client_ports_(client_ports) {}

  std::vector<Frame> Make(size_t count) {
    std::vector<Frame> frames;
    net::Time at = kStart;
    for (size_t i = 0; i < count; ++i) {
      at += rng_.Below(20) * net::kMillisecond;
      const net::PortId port = rng_.Below(2) == 0 ? kWan : kLan;
      frames.push_back({port, Next(port), at});
    }
    return frames;
  }
  // The same in bursts of up to 32 of one port, now and then with a frame twice.
  std::vector<Frame> MakeBursts(size_t count) {
    std::vector<Frame> frames;
    net::Time at = kStart;
    while (frames.size() < count) {
      at += rng_.Below(200) * net::kMillisecond;
      const net::PortId port = rng_.Below(3) == 0 ? kWan : kLan;
      for (uint32_t i = rng_.Below(32) + 1; i > 0; --i) {
        frames.push_back({port, Next(port), at});
        if (rng_.Below(8) == 0) frames.push_back(frames.back());
      }
    }
    return frames;
  }

 private:
  std::string Client() { return "192.168.1." + std::to_string(10 + rng_.Below(4)); }
  std::string Server() { return "198.51.100." + std::to_string(1 + rng_.Below(3)); }

  Bytes Next(net::PortId port) {
    const bool out = port == kLan;
    const std::string source = out ? Client() : Server();
    const std::string destination =
        out ? Server() : (rng_.Below(3) == 0 ? std::string("203.0.113.2") : Client());
    const auto client_port = static_cast<uint16_t>(5000 + rng_.Below(client_ports_));
    const uint16_t server_port = rng_.Below(2) == 0 ? 80 : 53;
    const uint16_t from = out ? client_port : server_port;
    const uint16_t to = out ? server_port : client_port;
    Packet packet;
    packet.Ipv4(source, destination).Eth(kPeerMac, out ? kLanMac : kWanMac);
    packet.Ttl(rng_.Below(30) == 0 ? 1 : 64).Id(static_cast<uint16_t>(rng_.Next()));
    switch (rng_.Below(8)) {
      case 0:
        packet.Icmp(out ? 8 : 0, 0, client_port, 1).PayloadLength(rng_.Below(64));
        break;
      case 1:
      case 2:
      case 3:
        packet.Udp(from, to).PayloadLength(rng_.Below(300));
        break;
      default: {
        constexpr uint8_t kFlags[] = {net::kTcpSyn,
                                      net::kTcpSyn | net::kTcpAck,
                                      net::kTcpAck,
                                      net::kTcpAck,
                                      net::kTcpAck | net::kTcpPsh,
                                      net::kTcpFin | net::kTcpAck,
                                      net::kTcpRst,
                                      net::kTcpAck};
        packet.Tcp(from, to, kFlags[rng_.Below(8)])
            .Seq(1000 + rng_.Below(3))
            .Ack(1000 + rng_.Below(3))
            .Window(8192)
            .PayloadLength(rng_.Below(3) * 10);
        break;
      }
    }
    if (rng_.Below(40) == 0) packet.BadChecksum();
    return packet.Build().Frame();
  }

  net::Rng rng_;
  const uint32_t client_ports_;
};

// Rules that read everything that a path may depend on. No port is chosen freely: with several
// workers a translated port may differ by right, so translation keeps to addresses here.
void LoadRules(World* world) {
  auto& prerouting = world->Chain(Table::kRaw, "PREROUTING");
  rules::Rule notrack = MakeRule(rules::NotrackTarget{}, {DestinationPort(net::kProtoTcp, 5005)});
  prerouting.rules = {Proto(net::kProtoTcp, notrack)};

  // Only what is for the router itself: a translated port that clashed would be chosen by chance.
  rules::Rule dnat =
      From("wan0", Proto(net::kProtoTcp, MakeRule(rules::DnatTarget{RangeTo("192.168.1.99")})));
  dnat.ip.destination = {*net::ParseAddress(net::Family::kIpv4, "203.0.113.2"),
                         net::PrefixMask(net::Family::kIpv4, 32), false};
  world->Chain(Table::kNat, "PREROUTING").rules = {dnat};

  rules::TcpMatch rst;
  rst.flag_mask = net::kTcpRst;
  rst.flag_compare = net::kTcpRst;
  rules::ConntrackMatch assured;
  assured.fields = rules::ConntrackMatch::kStatus;
  assured.status = ctrack::kAssured;
  rules::LimitMatch limit;
  limit.average = 10000 / 5;  // five a second
  limit.burst = 3;
  auto& forward = world->Chain(Table::kFilter, "FORWARD");
  forward.rules = {
      MakeRule(rules::DropTarget{}, {State(rules::kCtStateInvalid)}),
      Proto(net::kProtoTcp, MakeRule(rules::NoTarget{}, {rst})),
      MakeRule(rules::NoTarget{}, {assured}),
      Proto(net::kProtoIcmp, MakeRule(rules::AcceptTarget{}, {limit})),
      MakeRule(rules::AcceptTarget{}, {State(rules::kCtStateEstablished)}),
      From("lan0", MakeRule(rules::AcceptTarget{})),
      Proto(net::kProtoTcp,
            MakeRule(rules::AcceptTarget{}, {DestinationPort(net::kProtoTcp, 5001)})),
      Proto(net::kProtoUdp, MakeRule(rules::RejectTarget{rules::RejectWith::kIcmpAdminProhibited})),
  };
  forward.policy = net::Verdict::kDrop;
  world->Publish();
}

// Rules that tell first packets by their tuples, flags and ports, and translate them. Nothing that
// must be walked stands before conntrack.
void LoadOpeningRules(World* world) {
  const auto prefix = [](const char* text) {
    const net::Prefix parsed = *net::ParsePrefix(text);
    return rules::AddressMatch{parsed.address, net::PrefixMask(parsed.family, parsed.length),
                               false};
  };
  world->model.ipv4.present[static_cast<size_t>(Table::kRaw)] = false;

  // To where the others go by the same port.
  rules::Rule dnat = Proto(net::kProtoUdp, MakeRule(rules::DnatTarget{RangeTo("198.51.100.77")}));
  dnat.ip.destination = prefix("198.51.100.3/32");
  world->Chain(Table::kNat, "PREROUTING").rules = {dnat};
  // A client an address, so that no port clashes.
  rules::Rule masquerade = To("wan0", MakeRule(rules::MasqueradeTarget{}));
  masquerade.ip.source = prefix("192.168.1.12/32");
  rules::Rule snat =
      To("wan0", Proto(net::kProtoUdp, MakeRule(rules::SnatTarget{RangeTo("203.0.113.9")})));
  snat.ip.source = prefix("192.168.1.11/32");
  world->Chain(Table::kNat, "POSTROUTING").rules = {masquerade, snat};

  rules::TcpMatch syn;
  syn.flag_mask = net::kTcpSyn | net::kTcpAck;
  syn.flag_compare = net::kTcpSyn;
  rules::MultiportMatch some;
  some.which = rules::MultiportMatch::Which::kEither;
  some.ports = {{5003, 5004}, {80, 80}};
  some.is_range = {true, false};
  rules::ConntrackMatch original;
  original.fields = rules::ConntrackMatch::kOrigDst;
  original.orig_dst = prefix("198.51.100.2/32");
  rules::LimitMatch limit;
  limit.average = 10000;  // one a second
  auto& forward = world->Chain(Table::kFilter, "FORWARD");
  rules::Rule refused =
      Proto(net::kProtoTcp, MakeRule(rules::DropTarget{}, {DestinationPort(net::kProtoTcp, 5002)}));
  refused.ip.source = prefix("198.51.100.0/30");
  forward.rules = {
      MakeRule(rules::AcceptTarget{}, {State(rules::kCtStateEstablished)}),
      MakeRule(rules::DropTarget{}, {State(rules::kCtStateInvalid)}),
      refused,
      Proto(net::kProtoTcp, MakeRule(rules::NoTarget{}, {syn})),
      Proto(net::kProtoUdp, MakeRule(rules::NoTarget{}, {some})),
      MakeRule(rules::NoTarget{}, {original}),
      From("lan0", MakeRule(rules::AcceptTarget{})),
      Proto(net::kProtoUdp, MakeRule(rules::AcceptTarget{}, {some, limit})),
      Proto(net::kProtoTcp,
            MakeRule(rules::AcceptTarget{}, {DestinationPort(net::kProtoTcp, 5001)})),
  };
  forward.policy = net::Verdict::kDrop;
  world->Publish();
}

struct Answers {
  std::vector<std::vector<Sent>> sent;
  std::vector<rules::Counters> totals;
  uint32_t connections = 0;
  uint64_t remembered = 0;
};

// An IP id of Postern's own packets is random by right.
void ForgetOwnIds(std::vector<Sent>* sent) {
  for (Sent& one : *sent) {
    OwnedPacket packet(one.frame);
    net::Parse(&packet.packet);
    if (packet->ip.protocol != net::kProtoIcmp || packet->ip.icmp_type != net::kIcmpUnreachable) {
      if (packet->ip.icmp_type != net::kIcmpTimeExceeded) continue;
    }
    auto* header = packet->At<net::Ipv4Header>(packet->ip.l3_offset);
    header->id = 0;
    header->checksum = 0;
    one.frame = packet.Frame();
  }
}

// How frames come that have come at once.
enum class Coming { kOneByOne, kInBursts };

Answers RunWith(const World::Options& options, const std::vector<Frame>& frames,
                void (*load)(World*) = LoadRules, Coming coming = Coming::kOneByOne) {
  World world(options);
  load(&world);
  Answers answers;
  for (size_t i = 0; i < frames.size();) {
    const size_t first = i;
    std::vector<Sent> sent;
    std::vector<Bytes> burst;
    for (; i < frames.size() && frames[i].at == frames[first].at && burst.size() < 32; ++i) {
      burst.push_back(frames[i].bytes);
    }
    if (coming == Coming::kInBursts) {
      sent = world.SendBurst(frames[first].port, burst, frames[first].at);
    } else {
      for (const Bytes& frame : burst) {
        const auto some = world.SendRaw(frames[first].port, frame, frames[first].at);
        sent.insert(sent.end(), some.begin(), some.end());
      }
    }
    ForgetOwnIds(&sent);
    answers.sent.push_back(std::move(sent));
  }
  answers.totals = world.Totals();
  answers.connections = world.engine().conntrack_entries();
  answers.remembered = world.output.remembered;
  EXPECT_EQ(world.engine().buffers_in_use(), 0U);
  return answers;
}

std::string InHex(const std::vector<Sent>& sent) {
  std::string text;
  for (const Sent& one : sent) {
    text += (one.host ? "host " : "port ") + std::to_string(one.port) + ":";
    for (const uint8_t byte : one.frame) {
      constexpr char kDigits[] = "0123456789abcdef";
      text += {kDigits[byte >> 4], kDigits[byte & 15]};
    }
    text += "\n";
  }
  return text;
}

void ExpectSame(const Answers& expected, const Answers& got) {
  ASSERT_EQ(expected.sent.size(), got.sent.size());
  for (size_t i = 0; i < expected.sent.size(); ++i) {
    ASSERT_EQ(InHex(expected.sent[i]), InHex(got.sent[i])) << "packet " << i + 1;
  }
  EXPECT_EQ(expected.totals, got.totals);
  EXPECT_EQ(expected.connections, got.connections);
}

// Those of a burst may leave in another order: by the port and path that they share.
std::vector<std::string> Sorted(const std::vector<Sent>& sent) {
  std::vector<std::string> texts;
  for (const Sent& one : sent) texts.push_back(InHex({one}));
  std::sort(texts.begin(), texts.end());
  return texts;
}

class Equivalence : public testing::TestWithParam<uint64_t> {};

TEST_P(Equivalence, RememberedPathsGiveTheAnswersOfTheWalk) {
  const auto frames = Traffic(GetParam()).Make(4000);
  World::Options slow;
  slow.fast_path = false;
  const Answers walked = RunWith(slow, frames);
  const Answers remembered = RunWith({}, frames);
  EXPECT_EQ(walked.remembered, 0U);
  EXPECT_GT(remembered.remembered, 100U);
  ExpectSame(walked, remembered);
}

TEST_P(Equivalence, FirstPacketsOfKnownOpeningsGiveTheAnswersOfTheWalk) {
  const auto frames = Traffic(GetParam(), 400).MakeBursts(4000);
  World::Options slow;
  slow.fast_path = false;
  const Answers walked = RunWith(slow, frames, LoadOpeningRules);
  const Answers alone = RunWith({}, frames, LoadOpeningRules);
  EXPECT_GT(alone.remembered, 600U);
  ExpectSame(walked, alone);
  const Answers together = RunWith({}, frames, LoadOpeningRules, Coming::kInBursts);
  EXPECT_GT(together.remembered, 600U);
  ASSERT_EQ(walked.sent.size(), together.sent.size());
  for (size_t i = 0; i < walked.sent.size(); ++i) {
    ASSERT_EQ(Sorted(walked.sent[i]), Sorted(together.sent[i])) << "burst " << i + 1;
  }
  EXPECT_EQ(walked.totals, together.totals);
  EXPECT_EQ(walked.connections, together.connections);
}

TEST_P(Equivalence, WorkersGiveTheAnswersOfOne) {
  const auto frames = Traffic(GetParam()).Make(3000);
  const Answers one = RunWith({}, frames);
  for (const unsigned workers : {2U, 4U}) {
    for (const auto arrival : {pipeline::Arrival::kRss, pipeline::Arrival::kRandom}) {
      SCOPED_TRACE(testing::Message() << workers << " workers, "
                                      << (arrival == pipeline::Arrival::kRss ? "RSS" : "random"));
      World::Options options;
      options.workers = workers;
      options.arrival = arrival;
      ExpectSame(one, RunWith(options, frames));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Equivalence, testing::Values(1, 2, 3, 4, 5));

// Whatever arrives: no crash, no lost buffer, every frame accounted for.
TEST(Robustness, MutatedFramesAreCountedAndFreed) {
  auto frames = Traffic(99).Make(4000);
  net::Rng rng(5);
  World world;
  LoadRules(&world);
  for (Frame& frame : frames) {
    for (uint32_t i = rng.Below(4); i > 0; --i) {
      frame.bytes[rng.Below(static_cast<uint32_t>(frame.bytes.size()))] =
          static_cast<uint8_t>(rng.Next());
    }
    if (rng.Below(4) == 0) frame.bytes.resize(rng.Below(static_cast<uint32_t>(frame.bytes.size())));
    world.SendRaw(frame.port, frame.bytes, frame.at);
  }
  world.engine().AdvanceTo(frames.back().at + 100 * net::kSecond);
  EXPECT_EQ(world.engine().buffers_in_use(), 0U);
}

}  // namespace
}  // namespace postern::test

// Connections of which one worker holds the one and another worker owns the answers.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/pipeline/world.h"

namespace postern::test {
namespace {

using net::DropReason;
using net::Table;

constexpr char kClient[] = "198.51.100.7";
constexpr uint16_t kClients = 32;

// What the workers know of their connections.
class States final : public pipeline::WorkerCommand {
 public:
  bool Step(pipeline::Pipeline& pipeline, net::Time now) override {
    uint32_t cursor = 0;
    return pipeline.tracker().Visit(now, UINT32_MAX, &cursor, [this](ctrack::Connection& c) {
      if (c.original().protocol == net::kProtoTcp) states.insert(c.protocol.tcp.state);
    });
  }
  std::multiset<ctrack::TcpState> states;
};

std::multiset<ctrack::TcpState> TcpStates(World* world) {
  States states;
  for (unsigned i = 0; i < world->engine().workers(); ++i) world->engine().Run(i, &states);
  return states.states;
}

struct Arrangement {
  unsigned workers;
  pipeline::Arrival arrival;
};

class Claims : public testing::TestWithParam<Arrangement> {
 protected:
  static World::Options OptionsFor(const Arrangement& arrangement) {
    World::Options options;
    options.workers = arrangement.workers;
    options.arrival = arrangement.arrival;
    return options;
  }
  // Every UDP port of two public addresses leads to one server.
  void ForwardToServer(uint16_t port = 53, uint16_t last = 0) {
    for (const char* address : {"203.0.113.2", "203.0.113.3"}) {
      rules::DnatTarget dnat{RangeTo("192.168.1.100", port)};
      if (last != 0) dnat.range.ports = {port, last};
      rules::Rule rule = Proto(net::kProtoUdp, MakeRule(dnat));
      rule.ip.destination = {*net::ParseAddress(net::Family::kIpv4, address),
                             net::PrefixMask(net::Family::kIpv4, 32), false};
      world.Chain(Table::kNat, "PREROUTING").rules.push_back(rule);
    }
    world.output.wants_connections = true;
    world.Publish();
  }
  std::vector<Sent> Ask(uint16_t port, const char* to, net::Time at = kStart) {
    return world.Send(kWan, Packet().Ipv4(kClient, to).Udp(port, AskedPort(port)), at);
  }
  // With two workers one port decides for all clients whether the answers have another owner.
  static uint16_t AskedPort(uint16_t port) { return static_cast<uint16_t>(5000 + port % 32); }

  World world{OptionsFor(GetParam())};
};

// nf_nat_setup_info: the null binding of the second one's source meets a taken tuple.
TEST_P(Claims, TheSecondConnectionGetsAnotherSourcePort) {
  ForwardToServer();
  std::set<uint16_t> ports;
  for (uint16_t i = 0; i < kClients; ++i) {
    const auto port = static_cast<uint16_t>(20000 + i);
    auto sent = Ask(port, "203.0.113.2");
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(ParseSent(sent[0]).source_port, port);
    ports.insert(port);
    sent = Ask(port, "203.0.113.3");
    ASSERT_EQ(sent.size(), 1U);
    const uint16_t other = ParseSent(sent[0]).source_port;
    EXPECT_TRUE(ports.insert(other).second);
    // The answer finds its way to the right one.
    sent = world.Send(kLan, Packet().Ipv4("192.168.1.100", kClient).Udp(53, other), kStart);
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(net::ToString(net::Family::kIpv4, ParseSent(sent[0]).source), "203.0.113.3");
    EXPECT_EQ(ParseSent(sent[0]).destination_port, port);
  }
  EXPECT_TRUE(world.output.drops.empty());
  EXPECT_EQ(world.engine().conntrack_entries(), 2 * kClients);
  using ctrack::ConnEvent;
  const auto& events = world.output.connections;
  EXPECT_EQ(std::count(events.begin(), events.end(), ConnEvent::kNew), 2 * kClients);
  EXPECT_EQ(std::count(events.begin(), events.end(), ConnEvent::kDestroy), 0);
}

// A range of destination ports is searched before the source's turn.
TEST_P(Claims, ADestinationPortIsChosenByWhatOthersHave) {
  ForwardToServer(8000, 8003);
  for (uint16_t i = 0; i < kClients; ++i) {
    const auto port = static_cast<uint16_t>(20000 + i);
    uint16_t expected = 8000;
    for (const char* to : {"203.0.113.2", "203.0.113.3"}) {
      const auto sent = Ask(port, to);
      ASSERT_EQ(sent.size(), 1U);
      EXPECT_EQ(ParseSent(sent[0]).source_port, port);
      EXPECT_EQ(ParseSent(sent[0]).destination_port, expected++);
    }
  }
}

// What ended leaves its tuple to others.
TEST_P(Claims, AnEndedConnectionsTupleIsFree) {
  ForwardToServer();
  for (uint16_t i = 0; i < kClients; ++i) {
    Ask(static_cast<uint16_t>(20000 + i), "203.0.113.2");
  }
  const net::Time later = kStart + 100 * net::kSecond;
  for (uint16_t i = 0; i < kClients; ++i) {
    const auto port = static_cast<uint16_t>(20000 + i);
    const auto sent = Ask(port, "203.0.113.3", later);
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(ParseSent(sent[0]).source_port, port);
  }
  EXPECT_EQ(world.engine().conntrack_entries(), kClients);
}

// An error about a packet that conntrack makes nothing of belongs to the connection that it quotes,
// whoever holds that one.
TEST_P(Claims, AResetOfPosternsOwnClosesTheConnection) {
  World one;
  for (World* each : {&one, &world}) {
    each->Chain(Table::kNat, "PREROUTING").rules = {From(
        "wan0", Proto(net::kProtoTcp, MakeRule(rules::DnatTarget{RangeTo("192.168.1.100", 80)})))};
    rules::RejectTarget reset;
    reset.with = rules::RejectWith::kTcpReset;
    each->Chain(Table::kFilter, "FORWARD").rules = {
        Proto(net::kProtoTcp, MakeRule(reset, {State(rules::kCtStateInvalid)}))};
    each->Publish();
    for (uint16_t i = 0; i < kClients; ++i) {
      const auto port = static_cast<uint16_t>(20000 + i);
      const auto client = [&] { return Packet().Ipv4(kClient, "203.0.113.2"); };
      const auto server = [&] { return Packet().Ipv4("192.168.1.100", kClient); };
      each->Send(kWan, client().Tcp(port, AskedPort(port), net::kTcpSyn).Seq(1).Window(1000),
                 kStart);
      each->Send(kLan,
                 server().Tcp(80, port, net::kTcpSyn | net::kTcpAck).Seq(1).Ack(2).Window(1000),
                 kStart);
      each->Send(kWan, client().Tcp(port, AskedPort(port), net::kTcpAck).Seq(2).Ack(2).Window(1000),
                 kStart);
      Packet segment = server().Tcp(80, port, net::kTcpAck).Seq(2).Ack(2).Window(1000);
      Bytes broken = segment.Eth(kPeerMac, kLanMac).Build().Frame();
      constexpr size_t kDataOffset = 14 + 20 + 12;
      broken[kDataOffset] = 0x30;
      each->SendRaw(kLan, broken, kStart);
    }
  }
  EXPECT_EQ(TcpStates(&world), TcpStates(&one));
}

// An error about an untracked packet is one that NOTRACK leaves alone (nf_ct_attach), whoever sends
// it in the end: here not the holder of the connection, from which the packet was exempted. The
// quoted packet looks like none of the connection's, so that the error is INVALID.
TEST_P(Claims, AnErrorAboutAnUntrackedPacketIsTracked) {
  World one;
  for (World* each : {&one, &world}) {
    each->Chain(Table::kNat, "PREROUTING").rules = {From(
        "wan0", Proto(net::kProtoTcp, MakeRule(rules::DnatTarget{RangeTo("192.168.1.100", 80)})))};
    each->Chain(Table::kRaw, "PREROUTING").rules = {From("lan0", MakeRule(rules::NotrackTarget{}))};
    each->Chain(Table::kRaw, "OUTPUT").rules = {MakeRule(rules::NotrackTarget{})};
    each->Chain(Table::kFilter, "OUTPUT").rules = {
        MakeRule(rules::AcceptTarget{}, {State(rules::kCtStateInvalid)})};
    each->Publish();
    for (uint16_t i = 0; i < kClients; ++i) {
      const auto port = static_cast<uint16_t>(20000 + i);
      const net::Time at = kStart + i * 2 * net::kSecond;  // or errors are limited
      each->Send(
          kWan, Packet().Ipv4(kClient, "203.0.113.2").Tcp(port, AskedPort(port), net::kTcpSyn), at);
      each->Send(
          kLan,
          Packet().Ipv4("192.168.1.100", kClient).Ttl(1).Tcp(80, port, net::kTcpSyn | net::kTcpAck),
          at);
    }
    constexpr uint16_t kOutput = 2;
    EXPECT_EQ(each->Count(Table::kFilter, kOutput, 1).packets, kClients);
  }
}

// A SYN of the answering side begins a closed connection anew, in the other direction. Whoever held
// the old one has it, though its tuple's owner is another.
TEST_P(Claims, AnAnswerMayBeginAConnectionAnew) {
  World one;
  for (World* each : {&one, &world}) {
    each->Chain(Table::kNat, "PREROUTING").rules = {From(
        "wan0", Proto(net::kProtoTcp, MakeRule(rules::DnatTarget{RangeTo("192.168.1.100", 80)})))};
    each->Publish();
    for (uint16_t i = 0; i < kClients; ++i) {
      const auto port = static_cast<uint16_t>(20000 + i);
      const auto client = [&](uint8_t flags) {
        return Packet().Ipv4(kClient, "203.0.113.2").Tcp(port, AskedPort(port), flags);
      };
      const auto server = [&](uint8_t flags) {
        return Packet().Ipv4("192.168.1.100", kClient).Tcp(80, port, flags).Window(1000);
      };
      constexpr uint8_t kFinAck = net::kTcpFin | net::kTcpAck;
      each->Send(kWan, client(net::kTcpSyn).Seq(1).Window(1000), kStart);
      each->Send(kLan, server(net::kTcpSyn | net::kTcpAck).Seq(1).Ack(2), kStart);
      each->Send(kWan, client(net::kTcpAck).Seq(2).Ack(2).Window(1000), kStart);
      each->Send(kWan, client(kFinAck).Seq(2).Ack(2).Window(1000), kStart);
      each->Send(kLan, server(kFinAck).Seq(2).Ack(3), kStart);
      each->Send(kWan, client(net::kTcpAck).Seq(3).Ack(3).Window(1000), kStart);
      each->Send(kLan, server(net::kTcpSyn).Seq(100'000), kStart);
      each->Send(kLan, server(net::kTcpRst).Seq(100'001), kStart);
    }
  }
  EXPECT_EQ(TcpStates(&world), TcpStates(&one));
  EXPECT_EQ(world.engine().conntrack_entries(), one.engine().conntrack_entries());
}

// The question is under way: nothing is known of the connection, its packets wait in their order.
TEST_P(Claims, PacketsWaitForTheAnswerInTheirOrder) {
  ForwardToServer();
  world.engine().HoldEntries(true);
  size_t waiting = 0;
  for (uint16_t i = 0; i < kClients; ++i) {
    const auto port = static_cast<uint16_t>(20000 + i);
    const size_t at_once = Ask(port, "203.0.113.2").size();
    waiting += 1 - at_once;
    for (uint8_t length = 1; length < 4; ++length) {
      const auto sent = world.Send(
          kWan,
          Packet().Ipv4(kClient, "203.0.113.2").Udp(port, AskedPort(port)).PayloadLength(length),
          kStart);
      EXPECT_EQ(sent.size(), at_once);
    }
  }
  ASSERT_GT(waiting, 0U);
  EXPECT_EQ(world.output.connections.size(), kClients - waiting);
  EXPECT_EQ(world.engine().buffers_in_use(), 4 * waiting);
  world.output.sent.clear();
  world.engine().HoldEntries(false);
  EXPECT_EQ(world.output.connections.size(), kClients);
  EXPECT_EQ(world.engine().buffers_in_use(), 0U);
  ASSERT_EQ(world.output.sent.size(), 4 * waiting);
  for (size_t i = 0; i < world.output.sent.size(); ++i) {
    EXPECT_EQ(ParseSent(world.output.sent[i]).l3_length, 28 + i % 4);
    EXPECT_EQ(ParseSent(world.output.sent[i]).source_port,
              ParseSent(world.output.sent[i - i % 4]).source_port);
  }
}

// Two packets ask at once for the same tuple.
TEST_P(Claims, OfTwoThatAskAtOnceOneGetsIt) {
  ForwardToServer();
  world.engine().HoldEntries(true);
  std::vector<Sent> all;
  for (uint16_t i = 0; i < kClients; ++i) {
    for (const char* to : {"203.0.113.2", "203.0.113.3"}) {
      for (Sent& sent : Ask(static_cast<uint16_t>(20000 + i), to)) {
        all.push_back(std::move(sent));
      }
    }
  }
  world.output.sent.clear();
  world.engine().HoldEntries(false);
  for (Sent& sent : world.output.sent) all.push_back(std::move(sent));
  std::set<uint16_t> ports;
  for (const Sent& sent : all) ports.insert(ParseSent(sent).source_port);
  EXPECT_EQ(all.size(), 2 * kClients);
  EXPECT_EQ(ports.size(), 2 * kClients);
  EXPECT_TRUE(world.output.drops.empty());
}

// No packet meets half of one rule set and half of another, and none is counted twice.
TEST_P(Claims, NewRulesJudgeWhatWaitedBeforeThem) {
  ForwardToServer(8000, 8003);
  world.engine().HoldEntries(true);
  size_t sent = 0;
  for (uint16_t i = 0; i < kClients; ++i) {
    sent += Ask(static_cast<uint16_t>(20000 + i), "203.0.113.2").size();
  }
  ASSERT_LT(sent, kClients);
  world.Chain(Table::kNat, "PREROUTING").rules.clear();
  world.Chain(Table::kFilter, "INPUT").policy = net::Verdict::kDrop;
  world.Publish();
  world.engine().HoldEntries(false);
  EXPECT_EQ(
      std::count(world.output.drops.begin(), world.output.drops.end(), DropReason::kPolicyDrop),
      kClients - sent);
  EXPECT_EQ(world.Count(Table::kFilter, 0, 0).packets, kClients - sent);
  EXPECT_EQ(world.engine().conntrack_entries(), sent);
  EXPECT_EQ(world.engine().buffers_in_use(), 0U);
}

// Who had met the old rules when they went leaves as they said, but is no example for others.
TEST_P(Claims, WhatHasMetTheOldRulesTeachesNothingAboutTheNew) {
  const auto translate_to = [this](const char* address) {
    world.Chain(Table::kNat, "POSTROUTING").rules = {
        To("wan0", Proto(net::kProtoUdp, MakeRule(rules::SnatTarget{RangeTo(address, 4000)})))};
    world.Publish();
  };
  // Sources as they left. By the client's port the answers' owner is the holder or not.
  const auto send = [this](unsigned first) {
    std::multiset<std::string> sources;
    for (unsigned i = first; i < first + kClients; ++i) {
      const std::string server = "198.51.100." + std::to_string(i);
      const auto port = static_cast<uint16_t>(6000 + i);
      for (const Sent& one :
           world.Send(kLan, Packet().Ipv4("192.168.1.10", server).Udp(port, 53), kStart)) {
        sources.insert(net::ToString(net::Family::kIpv4, ParseSent(one).source));
      }
    }
    return sources;
  };
  translate_to("203.0.113.9");
  world.engine().HoldEntries(true);
  const size_t sent = send(1).size();
  ASSERT_LT(sent, kClients);
  world.Chain(Table::kFilter, "FORWARD").rules = {MakeRule(rules::AcceptTarget{})};
  translate_to("203.0.113.10");
  world.engine().HoldEntries(false);
  EXPECT_EQ(world.engine().conntrack_entries(), kClients);
  EXPECT_EQ(send(101).count("203.0.113.10"), kClients);
  EXPECT_EQ(world.Count(Table::kFilter, 1, 1).packets, kClients);
  EXPECT_EQ(world.Count(Table::kNat, 3, 1).packets, kClients);
}

// Room is bounded; who finds none is counted, and nothing is kept of him.
TEST_P(Claims, MoreQuestionsThanRoomAreRefused) {
  ForwardToServer();
  world.engine().HoldEntries(true);
  const unsigned room = pipeline::MostClaims(GetParam().workers);
  constexpr unsigned kMany = 4000;
  for (unsigned i = 0; i < kMany; ++i) {
    Ask(static_cast<uint16_t>(20000 + i), "203.0.113.2");
  }
  EXPECT_EQ(world.engine().buffers_in_use(), room * GetParam().workers);
  const size_t lost = world.output.drops.size();
  EXPECT_EQ(
      std::count(world.output.drops.begin(), world.output.drops.end(), DropReason::kHandoffFull),
      lost);
  EXPECT_GT(lost, 0U);
  EXPECT_EQ(world.engine().conntrack_entries(), kMany - lost);
  world.engine().HoldEntries(false);
  EXPECT_EQ(world.engine().conntrack_entries(), kMany - lost);
  EXPECT_EQ(world.engine().buffers_in_use(), 0U);
}

// The engine goes while packets wait.
TEST_P(Claims, WhatWaitsAtTheEndIsFreed) {
  ForwardToServer();
  world.engine().HoldEntries(true);
  for (uint16_t i = 0; i < kClients; ++i) {
    Ask(static_cast<uint16_t>(20000 + i), "203.0.113.2");
    Ask(static_cast<uint16_t>(20000 + i), "203.0.113.2");
  }
  EXPECT_GT(world.engine().buffers_in_use(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Workers, Claims,
                         testing::Values(Arrangement{2, pipeline::Arrival::kRss},
                                         Arrangement{2, pipeline::Arrival::kRandom},
                                         Arrangement{4, pipeline::Arrival::kRss},
                                         Arrangement{4, pipeline::Arrival::kRandom}),
                         [](const auto& one) {
                           return std::to_string(one.param.workers) +
                                  (one.param.arrival == pipeline::Arrival::kRss ? "Rss" : "Random");
                         });

}  // namespace
}  // namespace postern::test

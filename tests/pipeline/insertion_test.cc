// `conntrack -I` of connections whose answers another worker owns.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/pipeline/world.h"

namespace postern::test {
namespace {

using ctrack::ConnEvent;
using ctrack::RequestOutcome;
using net::Table;

constexpr char kClient[] = "198.51.100.7";
constexpr char kServer[] = "192.168.1.100";
constexpr char kPublic[] = "203.0.113.2";
constexpr char kOther[] = "203.0.113.3";
constexpr uint16_t kClients = 32;

net::Tuple Udp(const char* source, uint16_t source_port, const char* destination,
               uint16_t destination_port) {
  net::Tuple tuple;
  tuple.source = *net::ParseAddress(net::Family::kIpv4, source);
  tuple.destination = *net::ParseAddress(net::Family::kIpv4, destination);
  tuple.source_key = source_port;
  tuple.destination_key = destination_port;
  tuple.protocol = net::kProtoUdp;
  return tuple;
}

// With two workers one port decides for all clients whether the answers have another owner.
uint16_t AskedPort(uint16_t port) { return static_cast<uint16_t>(5000 + port % 32); }

class InsertCommand final : public pipeline::WorkerCommand {
 public:
  bool Step(pipeline::Pipeline& pipeline, net::Time now) override {
    if (!pipeline.Owns(request.original)) return true;
    outcome = pipeline.Insert(request, nat, now);
    return outcome.has_value();
  }
  ctrack::ConnectionRequest request;
  pipeline::NatWish nat;
  std::optional<RequestOutcome> outcome;
};

class Insertions : public testing::TestWithParam<unsigned> {
 protected:
  static World::Options OptionsFor(unsigned workers) {
    World::Options options;
    options.workers = workers;
    return options;
  }
  void SetUp() override {
    // kPublic leads to the server.
    rules::Rule rule = Proto(net::kProtoUdp, MakeRule(rules::DnatTarget{RangeTo(kServer, 53)}));
    rule.ip.destination = {*net::ParseAddress(net::Family::kIpv4, kPublic),
                           net::PrefixMask(net::Family::kIpv4, 32), false};
    world.Chain(Table::kNat, "PREROUTING").rules = {rule};
    world.output.wants_connections = true;
    world.Publish();
    world.engine().AdvanceTo(kStart);
  }
  std::vector<Sent> FromClient(uint16_t port, const char* to) {
    return world.Send(kWan, Packet().Ipv4(kClient, to).Udp(port, AskedPort(port)), kStart);
  }
  // As the client's packet to kOther, answered by the server.
  static InsertCommand Wish(uint16_t port) {
    InsertCommand command;
    command.request.original = Udp(kClient, port, kOther, AskedPort(port));
    command.request.reply = Udp(kServer, 53, kClient, port);
    command.request.timeout = 100;
    return command;
  }
  void Run(InsertCommand* command) {
    for (unsigned worker = 0; worker < GetParam() && !command->outcome; ++worker) {
      world.engine().Run(worker, command);
    }
  }
  long Events(ConnEvent event) const {
    const auto& events = world.output.connections;
    return std::count(events.begin(), events.end(), event);
  }

  World world{OptionsFor(GetParam())};
};

TEST_P(Insertions, AFreeReplyIsGranted) {
  for (uint16_t i = 0; i < kClients; ++i) {
    const auto port = static_cast<uint16_t>(20000 + i);
    InsertCommand wish = Wish(port);
    Run(&wish);
    EXPECT_EQ(wish.outcome, RequestOutcome::kDone);
  }
  EXPECT_EQ(world.engine().conntrack_entries(), kClients);
  EXPECT_EQ(Events(ConnEvent::kNew), kClients);
  // The answers' owners know who holds them: nobody else is given the tuples.
  for (uint16_t i = 0; i < kClients; ++i) {
    const auto port = static_cast<uint16_t>(20000 + i);
    const auto sent = FromClient(port, kPublic);
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_NE(ParseSent(sent[0]).source_port, port);
  }
}

// Nobody hears of a connection that isn't made.
TEST_P(Insertions, ATakenReplyIsRefusedInSilence) {
  for (uint16_t i = 0; i < kClients; ++i) FromClient(static_cast<uint16_t>(20000 + i), kPublic);
  ASSERT_EQ(Events(ConnEvent::kNew), kClients);
  for (uint16_t i = 0; i < kClients; ++i) {
    InsertCommand wish = Wish(static_cast<uint16_t>(20000 + i));
    Run(&wish);
    EXPECT_EQ(wish.outcome, RequestOutcome::kExists);
  }
  EXPECT_EQ(world.engine().conntrack_entries(), kClients);
  EXPECT_EQ(Events(ConnEvent::kNew), kClients);
  EXPECT_EQ(Events(ConnEvent::kDestroy), 0);
  EXPECT_TRUE(world.output.troubles.empty());
  // Who had the tuples has them still.
  for (uint16_t i = 0; i < kClients; ++i) {
    const auto port = static_cast<uint16_t>(20000 + i);
    const auto sent = world.Send(kLan, Packet().Ipv4(kServer, kClient).Udp(53, port), kStart);
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(net::ToString(net::Family::kIpv4, ParseSent(sent[0]).source), kPublic);
  }
}

// --dst-nat: the source's half of the translation gives way, as for a packet.
TEST_P(Insertions, ATranslationFindsAnotherPort) {
  std::set<uint16_t> ports;
  for (uint16_t i = 0; i < kClients; ++i) {
    const auto port = static_cast<uint16_t>(20000 + i);
    FromClient(port, kPublic);
    ports.insert(port);
    InsertCommand wish = Wish(port);
    wish.request.reply = *net::Mirror(wish.request.original);
    wish.nat.destination = RangeTo(kServer, 53);
    Run(&wish);
    ASSERT_EQ(wish.outcome, RequestOutcome::kDone);
    const auto sent = FromClient(port, kOther);
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(net::ToString(net::Family::kIpv4, ParseSent(sent[0]).destination), kServer);
    const uint16_t other = ParseSent(sent[0]).source_port;
    EXPECT_TRUE(ports.insert(other).second);
    const auto answer = world.Send(kLan, Packet().Ipv4(kServer, kClient).Udp(53, other), kStart);
    ASSERT_EQ(answer.size(), 1U);
    EXPECT_EQ(net::ToString(net::Family::kIpv4, ParseSent(answer[0]).source), kOther);
    EXPECT_EQ(ParseSent(answer[0]).destination_port, port);
  }
  EXPECT_EQ(Events(ConnEvent::kNew), 2 * kClients);
  EXPECT_EQ(Events(ConnEvent::kDestroy), 0);
}

// Its packets wait with it.
TEST_P(Insertions, PacketsWaitForTheAnswer) {
  unsigned waited = 0;
  for (uint16_t i = 0; i < kClients; ++i) {
    const auto port = static_cast<uint16_t>(20000 + i);
    world.engine().HoldEntries(true);
    InsertCommand wish = Wish(port);
    Run(&wish);
    const bool waits = !wish.outcome;
    FromClient(port, kOther);
    EXPECT_EQ(world.engine().buffers_in_use(), waits ? 1U : 0U);
    world.engine().HoldEntries(false);
    Run(&wish);
    EXPECT_EQ(wish.outcome, RequestOutcome::kDone);
    EXPECT_EQ(world.engine().conntrack_entries(), i + 1U);
    waited += waits ? 1 : 0;
  }
  EXPECT_EQ(waited > 0, GetParam() > 1);
  EXPECT_EQ(Events(ConnEvent::kNew), kClients);
  EXPECT_EQ(world.engine().buffers_in_use(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Workers, Insertions, testing::Values(1U, 2U, 4U));

}  // namespace
}  // namespace postern::test

// -m connlimit: what is listed, when a list is looked over, and what is left of it then.
#include "dataplane/rules/matches/connlimit.h"

#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "dataplane/net/random.h"
#include "tests/rules/fixture.h"

namespace postern::rules {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

ConnlimitMatch Above(uint32_t limit, unsigned prefix = 32, bool destination = false) {
  ConnlimitMatch match;
  match.limit = limit;
  match.destination = destination;
  match.mask = net::PrefixMask(Family::kIpv4, prefix);
  match.mask_length = static_cast<uint8_t>(prefix);
  return match;
}

// Connections that a test makes, closes and ends, and their packets through a walker. A tick passes
// with each packet, unless the test says otherwise.
class Connections : public ConnectionFinder {
 public:
  explicit Connections(Walker* walker) : walker_(*walker) { walker->finder = this; }
  // The first packet of a new connection, which is confirmed after it.
  bool Open(std::string_view source = "192.0.2.1", std::string_view destination = "198.51.100.2") {
    const bool matched = Refuse(source, destination);
    all_.back()->status |= ctrack::kConfirmed;
    Note(all_.size() - 1);
    return matched;
  }
  // The first packet of a new connection, which is dropped.
  bool Refuse(std::string_view source = "192.0.2.1",
              std::string_view destination = "198.51.100.2") {
    auto connection = std::make_unique<ctrack::Connection>();
    connection->tuples[0].source = Address(source);
    connection->tuples[0].destination = Address(destination);
    connection->tuples[0].source_key = static_cast<uint16_t>(1024 + all_.size());
    connection->tuples[0].destination_key = 80;
    connection->tuples[0].protocol = net::kProtoTcp;
    connection->tuples[1] = *net::Mirror(connection->tuples[0]);
    connection->protocol.tcp.state = ctrack::TcpState::kSynSent;
    all_.push_back(std::move(connection));
    return Send(all_.size() - 1);
  }
  bool Send(size_t i) {
    walker_.ct = {all_[i].get(), ctrack::CtInfo::kNew};
    packet_ = PacketOf(all_[i]->original());
    return Matched();
  }
  bool Answer(size_t i) {
    walker_.ct = {all_[i].get(), ctrack::CtInfo::kEstablishedReply};
    packet_ = PacketOf(all_[i]->reply());
    return Matched();
  }
  // An answer that isn't valid, so that it has no connection with it.
  bool AnswerInvalid(size_t i) {
    walker_.ct = {};
    packet_ = PacketOf(all_[i]->reply());
    return Matched();
  }
  // A packet with the connection's tuple before conntrack has seen it.
  bool SendRaw(size_t i) {
    walker_.ct = {nullptr, ctrack::CtInfo::kUntracked};
    packet_ = PacketOf(all_[i]->original());
    return Matched();
  }
  ctrack::Connection& At(size_t i) { return *all_[i]; }
  void SetState(size_t i, ctrack::TcpState state) {
    At(i).protocol.tcp.state = state;
    Note(i);
  }
  void End(size_t i) {
    At(i).status |= ctrack::kDying;
    Note(i);
  }
  const ctrack::Connection* FindConnection(const net::Tuple& tuple, net::Time) override {
    for (const auto& connection : all_) {
      const bool living = connection->Has(ctrack::kConfirmed) && !connection->Has(ctrack::kDying);
      if (living && (connection->original() == tuple || connection->reply() == tuple)) {
        return connection.get();
      }
    }
    return nullptr;
  }
  net::Time pause = 10 * net::kMillisecond;  // before each packet

 private:
  static std::unique_ptr<TestPacket> PacketOf(const net::Tuple& tuple) {
    auto packet = std::make_unique<TestPacket>();
    packet->Tcp(tuple.source_key, tuple.destination_key);
    packet->packet().ip.source = tuple.source;
    packet->packet().ip.destination = tuple.destination;
    return packet;
  }
  bool Matched() {
    walker_.now += pause;
    return walker_.Matched(*packet_);
  }
  void Note(size_t i) { walker_.rules->NoteConnection(*all_[i]); }

  Walker& walker_;
  std::vector<std::unique_ptr<ctrack::Connection>> all_;
  std::unique_ptr<TestPacket> packet_;
};

TEST(Connlimit, MatchesTheTwentyFirstConnection) {
  Walker walker(ModelOf().Input({RuleOf(RejectTarget{}).Tcp(80).With(Above(20))}));
  Connections connections(&walker);
  for (int i = 1; i <= 20; ++i) EXPECT_FALSE(connections.Open()) << i;
  EXPECT_TRUE(connections.Refuse()) << "never confirmed: forgotten at the next look";
  EXPECT_FALSE(connections.Open("192.0.2.2")) << "another source";
  EXPECT_TRUE(connections.Send(3)) << "the look ends at its own tuple, before the refused one";
  EXPECT_FALSE(connections.Open("192.0.2.2", "198.51.100.3"));
  connections.At(3).status |= ctrack::kAssured;
  EXPECT_FALSE(connections.Send(3)) << "a known connection isn't one more";
  EXPECT_TRUE(connections.Open());
  connections.End(23);
  connections.End(0);
  EXPECT_FALSE(connections.Open()) << "there is room again";
  EXPECT_TRUE(connections.Open());
}

TEST(Connlimit, TellsWhatItHolds) {
  Walker walker(ModelOf().Input({RuleOf(RejectTarget{}).Tcp(80).With(Above(20))}));
  Connections connections(&walker);
  const auto held = [&] { return Limiters(*walker.rules).at(0); };
  EXPECT_EQ(held().entries, 0U);
  EXPECT_GT(held().max_entries, 0U);
  const uint64_t empty = held().bytes;
  for (int i = 0; i < 3; ++i) connections.Open();
  connections.Open("192.0.2.2");
  EXPECT_EQ(held().entries, 2U);
  EXPECT_EQ(held().listed, 4U);
  EXPECT_GT(held().max_listed, 4U);
  EXPECT_GT(held().bytes, empty);
  connections.End(0);
  connections.End(1);
  EXPECT_EQ(held().listed, 4U) << "until the list is looked over";
  connections.Open();
  EXPECT_EQ(held().listed, 3U);
}

TEST(Connlimit, UptoIsTheInversion) {
  ConnlimitMatch upto = Above(2);
  upto.invert = true;
  Walker walker(ModelOf().Input({RuleOf().With(upto)}));
  Connections connections(&walker);
  EXPECT_TRUE(connections.Open());
  EXPECT_TRUE(connections.Open());
  EXPECT_FALSE(connections.Open());
}

TEST(Connlimit, GroupsByMaskAndSide) {
  Walker nets(ModelOf().Input({RuleOf().With(Above(2, 24))}));
  Connections of_net(&nets);
  EXPECT_FALSE(of_net.Open("192.0.2.1"));
  EXPECT_FALSE(of_net.Open("192.0.2.2"));
  EXPECT_TRUE(of_net.Open("192.0.2.3"));
  EXPECT_FALSE(of_net.Open("203.0.113.3"));

  Walker all(ModelOf().Input({RuleOf().With(Above(1, 0))}));
  Connections of_all(&all);
  EXPECT_FALSE(of_all.Open("192.0.2.1"));
  EXPECT_TRUE(of_all.Open("203.0.113.3"));

  Walker servers(ModelOf().Input({RuleOf().With(Above(1, 32, true))}));
  Connections of_server(&servers);
  EXPECT_FALSE(of_server.Open("192.0.2.1", "198.51.100.1"));
  EXPECT_TRUE(of_server.Open("192.0.2.2", "198.51.100.1"));
  EXPECT_FALSE(of_server.Open("192.0.2.2", "198.51.100.2"));
}

TEST(Connlimit, LeavesOutConnectionsThatAreClosed) {
  using ctrack::TcpState;
  struct Row {
    TcpState state;
    bool counts;
  };
  const Row rows[] = {
      {TcpState::kSynSent, true},   {TcpState::kEstablished, true}, {TcpState::kFinWait, true},
      {TcpState::kCloseWait, true}, {TcpState::kLastAck, true},     {TcpState::kTimeWait, false},
      {TcpState::kClose, false},
  };
  for (const Row& row : rows) {
    Walker walker(ModelOf().Input({RuleOf().With(Above(1))}));
    Connections connections(&walker);
    EXPECT_FALSE(connections.Open());
    connections.SetState(0, row.state);
    EXPECT_FALSE(connections.Send(0)) << "its own packet finds itself";
    EXPECT_EQ(connections.Open(), row.counts) << static_cast<int>(row.state);
  }
}

TEST(Connlimit, DropsAnAssuredConnectionThatIsCountedNoMore) {
  Walker walker(ModelOf().Input({RuleOf().With(Above(0))}));
  Connections connections(&walker);
  EXPECT_TRUE(connections.Open());
  connections.At(0).status |= ctrack::kAssured;
  EXPECT_TRUE(connections.Send(0)) << "one";
  connections.SetState(0, ctrack::TcpState::kClose);
  EXPECT_FALSE(connections.Send(0));
  auto packet = TestPacket("192.0.2.1").Tcp(1024, 80);
  EXPECT_EQ(walker.Walk(packet).reason, net::DropReason::kMatchHotdrop) << "nothing to count";
  connections.Open();
  EXPECT_TRUE(connections.Send(0)) << "the other one counts";
}

TEST(Connlimit, LooksAListOverOnceATick) {
  Walker walker(ModelOf().Input({RuleOf().With(Above(1))}));
  Connections connections(&walker);
  connections.pause = 0;
  EXPECT_FALSE(connections.Open());
  connections.End(0);
  EXPECT_TRUE(connections.Open()) << "the list began in this very tick";
  walker.now += 10 * net::kMillisecond;
  EXPECT_TRUE(connections.Open()) << "the first is gone now";
  connections.End(1);
  EXPECT_TRUE(connections.Refuse()) << "unnoticed in the tick of the last look";
  walker.now += 10 * net::kMillisecond;
  connections.End(2);
  EXPECT_FALSE(connections.Open());
}

TEST(Connlimit, ListsThePacketsOwnTupleWhereThereIsNoConnection) {
  Walker walker(ModelOf().Input({RuleOf().With(Above(1))}));
  Connections connections(&walker);
  EXPECT_FALSE(connections.Open());
  EXPECT_FALSE(connections.SendRaw(0)) << "its connection is found";
  connections.Refuse();
  EXPECT_TRUE(connections.SendRaw(1)) << "one and itself";
  EXPECT_TRUE(connections.SendRaw(1)) << "itself anew";
  walker.ct = {nullptr, ctrack::CtInfo::kUntracked};
  auto cut = TestPacket("192.0.2.1").Tcp(1, 2).Cut(2);
  EXPECT_EQ(walker.Walk(cut).reason, net::DropReason::kMatchHotdrop) << "no tuple";
  auto ports = TestPacket("192.0.2.1").Tcp(1, 2).Cut(4);
  EXPECT_TRUE(walker.Matched(ports)) << "the ports are all that a tuple needs";
  connections.End(0);
  EXPECT_FALSE(connections.Open()) << "nothing was left behind";
}

TEST(Connlimit, ListsAnInvalidAnswerByTheTupleThatItHas) {
  Walker walker(ModelOf().Input({RuleOf().With(Above(1))}));
  Connections connections(&walker);
  EXPECT_FALSE(connections.Open());
  EXPECT_FALSE(connections.Answer(0)) << "listed by the connection's first tuple";
  EXPECT_TRUE(connections.AnswerInvalid(0)) << "and by its own";
  EXPECT_TRUE(connections.AnswerInvalid(0)) << "once";
}

TEST(Connlimit, KeepsARawTupleForTheConnectionThatFollows) {
  Walker walker(ModelOf().Input({RuleOf().With(Above(1))}));
  Connections connections(&walker);
  connections.Refuse();
  connections.SendRaw(0);
  connections.At(0).status |= ctrack::kConfirmed;
  walker.rules->NoteConnection(connections.At(0));
  EXPECT_TRUE(connections.Open()) << "two";
  connections.End(0);
  EXPECT_FALSE(connections.Send(1)) << "one";
}

TEST(Connlimit, CountsTheAddressOfThePacketNotOfTheConnection) {
  // A rule without --ctstate NEW meets replies too: they count for the server's address.
  Walker walker(ModelOf().Input({RuleOf().With(Above(1))}));
  Connections connections(&walker);
  EXPECT_FALSE(connections.Open("192.0.2.1"));
  EXPECT_FALSE(connections.Open("192.0.2.2"));
  EXPECT_FALSE(connections.Answer(0)) << "one for the server";
  EXPECT_FALSE(connections.Answer(0)) << "the same one";
  EXPECT_TRUE(connections.Answer(1)) << "two";
  connections.End(0);
  EXPECT_FALSE(connections.Answer(1)) << "it took back both";
}

TEST(Connlimit, CountsEachRuleByItself) {
  Walker walker(ModelOf().Input({RuleOf().With(Above(0)), RuleOf().With(Above(1)),
                                 RuleOf().With(Above(1, 24)), RuleOf().With(Above(1, 24, true)),
                                 RuleOf().With(Above(1, 0))}));
  Connections connections(&walker);
  connections.Open();
  EXPECT_EQ(walker.Path().size(), 2U) << "rule 1 and the policy";
  connections.Open();
  EXPECT_EQ(walker.Path().size(), 6U) << "every rule and the policy";
  connections.End(0);
  connections.Send(1);
  EXPECT_EQ(walker.Path().size(), 2U);
}

TEST(Connlimit, DropsWhereItCannotCount) {
  RuleSet::Options options;
  options.connlimit_keys = 2;
  Walker walker(ModelOf().Input({RuleOf().With(Above(5))}));
  walker.rules =
      RuleSet::Compile(ModelOf().Input({RuleOf().With(Above(5))}), options, nullptr, nullptr);
  Connections connections(&walker);
  const auto reason_of = [&](const char* source) {
    walker.ct = {nullptr, ctrack::CtInfo::kUntracked};
    walker.now += 10 * net::kMillisecond;
    auto packet = TestPacket(source).Tcp(1, 2);
    return walker.Walk(packet).reason;
  };
  connections.Open("192.0.2.1");
  connections.Open("192.0.2.2");
  EXPECT_EQ(reason_of("192.0.2.3"), net::DropReason::kMatchHotdrop) << "no room for a third list";
  EXPECT_EQ(reason_of("192.0.2.1"), net::DropReason::kNone);
  connections.Open("192.0.2.2");
  EXPECT_EQ(reason_of("192.0.2.2"), net::DropReason::kMatchHotdrop) << "no room for a fifth tuple";
}

ConnlimitState::Key KeyOf(uint32_t number, uint16_t zone = 0) {
  return {IpAddress::V4(number), Family::kIpv4, zone};
}

ConnlimitState::Seen SeenOf(uint32_t number, uint64_t tick) {
  ConnlimitState::Seen seen;
  seen.tuple.protocol = net::kProtoUdp;
  seen.tuple.destination = IpAddress::V4(number);
  seen.tick = tick;
  return seen;
}

TEST(ConnlimitState, FindsItsWayThroughManyKeys) {
  constexpr uint32_t kKeys = 100000;
  ConnlimitState state(kKeys);
  for (uint32_t i = 0; i < kKeys; ++i) {
    ASSERT_EQ(state.Count(KeyOf(i), SeenOf(i, 1)), 1U);
    state.Change(SeenOf(i, 1).tuple, Standing::kOpen);
  }
  EXPECT_EQ(state.Count(KeyOf(kKeys), SeenOf(kKeys, 2)), 0U) << "no list left";
  EXPECT_EQ(state.Count(KeyOf(77, 1), SeenOf(78, 2)), 0U) << "another zone is another list";
  for (uint32_t i = 0; i < kKeys; i += 2) state.Change(SeenOf(i, 1).tuple, Standing::kAbsent);
  for (uint32_t i = 0; i < kKeys; ++i) {
    ASSERT_EQ(state.Count(KeyOf(i), SeenOf(kKeys + 1 + i, 3)), 1 + i % 2) << i;
  }
}

TEST(ConnlimitState, MakesRoomWhereListsHaveBecomeEmpty) {
  constexpr uint32_t kKeys = 256;  // one a chain
  ConnlimitState state(kKeys);
  for (uint32_t i = 0; i < 1000 * kKeys; ++i) state.Count(KeyOf(i), SeenOf(i, i));
  EXPECT_NE(state.Count(KeyOf(0), SeenOf(0, 1000 * kKeys)), 0U)
      << "sources that were never confirmed";
}

TEST(ConnlimitState, CountsExactlyForTwoThreads) {
  constexpr uint32_t kKeys = 50;
  ConnlimitState state(4096);
  // Each thread has tuples of its own and goes through the life of a connection with them.
  const auto run = [&state](uint32_t thread) {
    net::Rng rng(thread);
    std::map<uint32_t, uint32_t> open;  // tuple to key
    for (uint32_t i = 1; i <= 50000; ++i) {
      const uint32_t number = thread << 24 | rng.Below(100);
      if (const auto it = open.find(number); it != open.end()) {
        state.Change(SeenOf(number, i).tuple, Standing::kAbsent);
        open.erase(it);
        continue;
      }
      ConnlimitState::Seen seen = SeenOf(number, i);
      seen.worker = thread;
      ASSERT_NE(state.Count(KeyOf(number % kKeys), seen), 0U);
      state.Change(seen.tuple, Standing::kOpen);
      open[number] = number % kKeys;
    }
    for (const auto& [number, key] : open) {
      state.Change(SeenOf(number, 0).tuple, Standing::kAbsent);
    }
    // Leaves one tuple open with a key of its own.
    state.Count(KeyOf(1000 + thread), SeenOf(thread, 0));
    state.Change(SeenOf(thread, 0).tuple, Standing::kOpen);
  };
  std::thread one(run, 1U), two(run, 2U);
  one.join();
  two.join();
  for (uint32_t i = 0; i < kKeys; ++i) {
    EXPECT_EQ(state.Count(KeyOf(i), SeenOf(3U << 24, 100000)), 1U) << i;
  }
  EXPECT_EQ(state.Count(KeyOf(1001), SeenOf(4U << 24, 100000)), 2U);
}

}  // namespace
}  // namespace postern::rules

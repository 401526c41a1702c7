#include "dataplane/route/neighbor_table.h"

#include <gtest/gtest.h>

#include <map>

#include "dataplane/net/parse.h"
#include "dataplane/route/arp.h"
#include "dataplane/route/neighbor_discovery.h"
#include "tests/support/heap_pool.h"

namespace postern::route {
namespace {

using net::DropReason;
using test::Packet;

constexpr PortId kLan = 0;
constexpr PortId kWan = 1;

IpAddress V4(std::string_view text) { return *net::ParseAddress(Family::kIpv4, text); }
IpAddress V6(std::string_view text) { return *net::ParseAddress(Family::kIpv6, text); }
MacAddress Mac(std::string_view text) { return *net::ParseMac(text); }

const MacAddress kOwnMac = Mac("02:00:00:00:00:aa");
const MacAddress kHostMac = Mac("02:00:00:00:00:01");
const MacAddress kOtherMac = Mac("02:00:00:00:00:66");
const IpAddress kOwn = V4("192.0.2.1");
const IpAddress kHost = V4("192.0.2.10");
const IpAddress kOwn6 = V6("2001:db8:1::1");
const IpAddress kHost6 = V6("2001:db8:1::10");

std::vector<PortConfig> Ports() {
  PortConfig lan, wan;
  lan.id = kLan;
  lan.mac = kOwnMac;
  lan.addresses = {*net::ParsePrefix("192.0.2.1/24"), *net::ParsePrefix("2001:db8:1::1/64")};
  wan.id = kWan;
  wan.mac = Mac("02:00:00:00:00:bb");
  wan.addresses = {*net::ParsePrefix("203.0.113.2/24")};
  return {lan, wan};
}

class NeighborTest : public testing::Test, public NeighborSink {
 public:
  NeighborTest() { Make({}); }
  ~NeighborTest() override {
    Clear();
    table.reset();
    EXPECT_EQ(pool.lent(), 0U);
    EXPECT_EQ(pool.bad_frees(), 0U);
  }
  void Make(const NeighborSettings& settings) {
    table = std::make_unique<NeighborTable>(settings, &pool, this, 1);
    table->Configure(&routes, {});
  }

  void SendFrame(net::Packet* packet) override { sent.push_back(*packet); }
  void Unresolved(net::Packet* packet) override {
    ++unresolved;
    pool.Free(packet);
  }
  void Drop(net::Packet* packet, DropReason reason) override {
    ++drops[reason];
    pool.Free(packet);
  }
  void Clear() {
    for (net::Packet& packet : sent) pool.Free(&packet);
    sent.clear();
  }

  void Send(const IpAddress& to = kHost) {
    net::Packet packet = pool.Take(Packet().Ipv4(V4("198.51.100.1"), to).Udp(1, 2));
    packet.out_port = kLan;
    table->Send(&packet, Family::kIpv4, to, now);
  }
  void Send6(const IpAddress& to = kHost6) {
    net::Packet packet = pool.Take(Packet().Ipv6(V6("2001:db8:9::1"), to).Udp(1, 2));
    packet.out_port = kLan;
    table->Send(&packet, Family::kIpv6, to, now);
  }
  void Arp(bool request, const MacAddress& sender_mac, const IpAddress& sender,
           const IpAddress& target, const MacAddress& frame_to, bool copy = false) {
    ArpMessage message;
    message.request = request;
    message.sender_mac = sender_mac;
    message.sender = sender;
    message.target = target;
    net::Packet packet;
    ASSERT_TRUE(BuildArp(&pool, message, frame_to, &packet));
    packet.in_port = kLan;
    table->HandleArp(&packet, now, copy);
  }
  void Reply(const MacAddress& mac = kHostMac, const IpAddress& sender = kHost) {
    Arp(false, mac, sender, kOwn, kOwnMac);
  }
  bool Nd(NdMessage message, bool copy = false) {
    net::Packet packet;
    EXPECT_TRUE(BuildNeighborMessage(&pool, message, kHostMac, kOwnMac, &packet));
    packet.in_port = kLan;
    const bool was = table->HandleNd(packet, now, copy);
    pool.Free(&packet);
    return was;
  }
  NdMessage Advert(bool solicited, bool override_flag, std::optional<MacAddress> mac) {
    NdMessage message;
    message.source = message.target = kHost6;
    message.destination = solicited ? LinkLocalAddress(kOwnMac) : V6("ff02::1");
    message.solicited = solicited;
    message.override_flag = override_flag;
    message.link_layer = mac;
    return message;
  }
  NdMessage Solicit(const IpAddress& target = kOwn6) {
    NdMessage message;
    message.solicitation = true;
    message.source = kHost6;
    message.target = target;
    message.destination = SolicitedNodeAddress(target);
    message.link_layer = kHostMac;
    return message;
  }
  void Pass(net::Time time) {
    const net::Time until = now + time;
    while (now < until) {
      now = std::min(until, now + 100 * net::kMillisecond);
      table->Tick(now);
    }
  }
  const MacAddress* Find() { return table->Find(kLan, Family::kIpv4, kHost, now); }
  // "arp? <to>", "arp! <to>", "ns <to>", "na <to>" or "ip <to>" of each frame sent.
  std::vector<std::string> Sent() {
    std::vector<std::string> out;
    for (const net::Packet& packet : sent) {
      const auto* ethernet = packet.At<net::EthernetHeader>(0);
      std::string what = "ip";
      if (ethernet->type.Host() == net::kEtherTypeArp) {
        what = packet.At<net::ArpHeader>(14)->operation.Host() == 1 ? "arp?" : "arp!";
      } else if (packet.ip.icmp_type == net::kIcmpv6NeighborSolicit) {
        what = "ns";
      } else if (packet.ip.icmp_type == net::kIcmpv6NeighborAdvert) {
        what = "na";
      }
      out.push_back(what + " " + net::ToString(ethernet->destination));
    }
    Clear();
    return out;
  }
  using Frames = std::vector<std::string>;

  test::HeapPool pool;
  RouteTable routes{Ports(), {}, MakeTrieFib(), 1};
  std::unique_ptr<NeighborTable> table;
  std::vector<net::Packet> sent;
  std::map<DropReason, int> drops;
  int unresolved = 0;
  net::Time now = 1000 * net::kSecond;
};

TEST_F(NeighborTest, AsksThenSendsWhatWaited) {
  Send();
  Send();
  ASSERT_EQ(sent.size(), 1U);
  const auto* arp = sent[0].At<net::ArpHeader>(14);
  EXPECT_EQ(arp->sender_mac, kOwnMac);
  EXPECT_EQ(IpAddress::FromWire(Family::kIpv4, arp->sender_ip), kOwn);
  EXPECT_EQ(arp->target_mac, MacAddress{});
  EXPECT_EQ(IpAddress::FromWire(Family::kIpv4, arp->target_ip), kHost);
  EXPECT_EQ(sent[0].out_port, kLan);
  EXPECT_EQ(Find(), nullptr);
  EXPECT_EQ(Sent(), Frames{"arp? ff:ff:ff:ff:ff:ff"});
  Reply();
  EXPECT_EQ(Sent(), (Frames{"ip 02:00:00:00:00:01", "ip 02:00:00:00:00:01"}));
  ASSERT_NE(Find(), nullptr);
  EXPECT_EQ(*Find(), kHostMac);
  Send();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].At<net::EthernetHeader>(0)->source, kOwnMac);
  EXPECT_EQ(sent[0].At<net::EthernetHeader>(0)->type.Host(), net::kEtherTypeIpv4);
}

TEST_F(NeighborTest, ADeadNeighbourIsUnreachableAndStaysSoForAWhile) {
  Send();
  Send();
  Pass(3 * net::kSecond - net::kMillisecond);
  EXPECT_EQ(Sent().size(), 3U);
  EXPECT_EQ(unresolved, 0);
  Pass(100 * net::kMillisecond);
  EXPECT_EQ(unresolved, 2);
  Send();
  EXPECT_EQ(unresolved, 3);
  EXPECT_TRUE(Sent().empty());
  Pass(4 * net::kSecond);
  EXPECT_EQ(table->size(), 0U);
  Send();
  EXPECT_EQ(Sent().size(), 1U);
}

TEST_F(NeighborTest, TheQueueLosesItsOldest) {
  for (int i = 0; i < 11; ++i) Send();
  EXPECT_EQ(drops[DropReason::kNeighborQueueFull], 3);
  Clear();
  Reply();
  EXPECT_EQ(Sent().size(), 8U);
}

TEST_F(NeighborTest, StaleIsProbedByUnicastWhenUsed) {
  Send();
  Reply();
  Clear();
  Pass(30 * net::kSecond);
  EXPECT_TRUE(Sent().empty());
  Send();  // stale, used: delay
  EXPECT_EQ(Sent(), Frames{"ip 02:00:00:00:00:01"});
  Pass(5 * net::kSecond);
  EXPECT_EQ(Sent(), Frames{"arp? 02:00:00:00:00:01"});
  Reply();
  Pass(20 * net::kSecond);
  EXPECT_TRUE(Sent().empty());
  EXPECT_NE(Find(), nullptr);
}

TEST_F(NeighborTest, AnUnansweredProbeEndsTheNeighbour) {
  Send();
  Reply();
  Pass(31 * net::kSecond);
  Send();
  Clear();
  const uint32_t before = table->generation();
  Pass(5 * net::kSecond);
  EXPECT_NE(Find(), nullptr);
  Pass(3 * net::kSecond);
  EXPECT_EQ(Sent().size(), 3U);
  EXPECT_EQ(Find(), nullptr);
  EXPECT_NE(table->generation(), before);
}

TEST_F(NeighborTest, AnUnusedStaleNeighbourGoes) {
  Send();
  Reply();
  // The sweep goes round the table once in a few seconds.
  Pass(130 * net::kSecond);
  EXPECT_EQ(table->size(), 0U);
}

TEST_F(NeighborTest, AnswersRequestsForOurAddressesOnAnyPort) {
  Arp(true, kHostMac, kHost, kOwn, MacAddress::Broadcast());
  ASSERT_EQ(sent.size(), 1U);
  const auto* arp = sent[0].At<net::ArpHeader>(14);
  EXPECT_EQ(arp->sender_mac, kOwnMac);
  EXPECT_EQ(IpAddress::FromWire(Family::kIpv4, arp->sender_ip), kOwn);
  EXPECT_EQ(arp->target_mac, kHostMac);
  EXPECT_EQ(IpAddress::FromWire(Family::kIpv4, arp->target_ip), kHost);
  EXPECT_EQ(Sent(), Frames{"arp! 02:00:00:00:00:01"});
  EXPECT_NE(Find(), nullptr);  // who asks for us is learned
  Arp(true, kHostMac, kHost, V4("203.0.113.2"), MacAddress::Broadcast());
  EXPECT_EQ(Sent().size(), 1U);  // arp_ignore=0
  Arp(true, kHostMac, kHost, V4("192.0.2.99"), MacAddress::Broadcast());
  EXPECT_TRUE(Sent().empty());
}

TEST_F(NeighborTest, AnswersDuplicateDetectionWithoutLearning) {
  Arp(true, kHostMac, IpAddress{}, kOwn, MacAddress::Broadcast());
  EXPECT_EQ(Sent(), Frames{"arp! 02:00:00:00:00:01"});
  EXPECT_EQ(table->size(), 0U);
}

TEST_F(NeighborTest, ACopyIsLearnedFromButNotAnswered) {
  Arp(true, kHostMac, kHost, kOwn, MacAddress::Broadcast(), true);
  EXPECT_TRUE(Sent().empty());
  EXPECT_NE(Find(), nullptr);
}

TEST_F(NeighborTest, GratuitousArpUpdatesButMakesNoEntry) {
  Arp(true, kHostMac, kHost, kHost, MacAddress::Broadcast());
  Reply();  // not asked for either
  EXPECT_EQ(table->size(), 0U);
  Send();
  Reply();
  Clear();
  // Within the lock time the first answer counts.
  Arp(true, kOtherMac, kHost, kHost, MacAddress::Broadcast());
  EXPECT_EQ(*Find(), kHostMac);
  const uint32_t before = table->generation();
  now += 2 * net::kSecond;
  Arp(true, kOtherMac, kHost, kHost, MacAddress::Broadcast());
  EXPECT_EQ(*Find(), kOtherMac);
  EXPECT_NE(table->generation(), before);
}

TEST_F(NeighborTest, NobodyElseIsUs) {
  Arp(true, kOtherMac, kOwn, kOwn, MacAddress::Broadcast());
  Arp(false, kOtherMac, kOwn, kHost, MacAddress::Broadcast());
  EXPECT_EQ(table->size(), 0U);
  EXPECT_TRUE(sent.empty());
}

TEST_F(NeighborTest, MalformedArpIsDropped) {
  Arp(true, MacAddress::Broadcast(), kHost, kOwn, MacAddress::Broadcast());
  Arp(true, kHostMac, kHost, V4("224.0.0.1"), MacAddress::Broadcast());
  Arp(true, kHostMac, kHost, V4("127.0.0.1"), MacAddress::Broadcast());
  EXPECT_EQ(drops[DropReason::kArpMalformed], 3);
}

TEST_F(NeighborTest, StaticEntriesNeverChange) {
  table->Configure(&routes, {{Family::kIpv4, kHost, kHostMac, kLan}});
  now += 10 * net::kSecond;
  Reply(kOtherMac);
  Pass(200 * net::kSecond);
  Send();
  EXPECT_EQ(Sent(), Frames{"ip 02:00:00:00:00:01"});
  table->Configure(&routes, {});
  EXPECT_EQ(Find(), nullptr);
}

TEST_F(NeighborTest, AFullTableKeepsTheNeighboursThatAnswer) {
  NeighborSettings settings;
  settings.capacity = 16;
  Make(settings);
  Send();
  Reply();
  for (uint32_t i = 20; i < 220; ++i) Send(IpAddress::V4(0xc0000200 + i));
  EXPECT_EQ(table->size(), 16U);
  EXPECT_NE(Find(), nullptr);
}

TEST_F(NeighborTest, ReplayAssumesItsNeighbours) {
  NeighborSettings settings;
  settings.assume_reachable = true;
  Make(settings);
  Send();
  Send6();
  EXPECT_EQ(Sent(), (Frames{"ip 02:00:c0:00:02:0a", "ip 02:00:00:00:00:10"}));
  Reply();
  Pass(500 * net::kSecond);
  Send();
  EXPECT_EQ(Sent(), Frames{"ip 02:00:00:00:00:01"});  // what the capture says is better
}

// ---- neighbour discovery ----

TEST_F(NeighborTest, AsksBySolicitedNodeMulticast) {
  Send6();
  ASSERT_EQ(sent.size(), 1U);
  const auto message = ReadNeighborMessage(sent[0]);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->source, LinkLocalAddress(kOwnMac));
  EXPECT_EQ(message->destination, V6("ff02::1:ff00:10"));
  EXPECT_EQ(message->target, kHost6);
  EXPECT_EQ(message->link_layer, kOwnMac);
  EXPECT_EQ(Sent(), Frames{"ns 33:33:ff:00:00:10"});
  EXPECT_TRUE(Nd(Advert(true, true, kHostMac)));
  EXPECT_EQ(Sent(), Frames{"ip 02:00:00:00:00:01"});
}

TEST_F(NeighborTest, AnswersSolicitationsForThePortsOwnAddresses) {
  EXPECT_TRUE(Nd(Solicit()));
  ASSERT_EQ(sent.size(), 1U);
  const auto answer = ReadNeighborMessage(sent[0]);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->solicitation);
  EXPECT_TRUE(answer->router && answer->solicited && answer->override_flag);
  EXPECT_EQ(answer->source, kOwn6);
  EXPECT_EQ(answer->destination, kHost6);
  EXPECT_EQ(answer->link_layer, kOwnMac);
  EXPECT_EQ(Sent(), Frames{"na 02:00:00:00:00:01"});
  Nd(Solicit(LinkLocalAddress(kOwnMac)));
  EXPECT_EQ(Sent().size(), 1U);
  Nd(Solicit(V6("2001:db8:1::77")));
  EXPECT_TRUE(Sent().empty());
  Nd(Solicit(), true);
  EXPECT_TRUE(Sent().empty());
}

TEST_F(NeighborTest, AnswersIpv6DuplicateDetectionToAllNodes) {
  NdMessage probe = Solicit();
  probe.source = IpAddress{};
  probe.link_layer.reset();
  Nd(probe);
  ASSERT_EQ(sent.size(), 1U);
  const auto answer = ReadNeighborMessage(sent[0]);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->solicited);
  EXPECT_TRUE(answer->override_flag);
  EXPECT_EQ(Sent(), Frames{"na 33:33:00:00:00:01"});
  EXPECT_EQ(table->size(), 0U);
}

TEST_F(NeighborTest, AdvertisementFlagsDecideWhatChanges) {
  Nd(Advert(false, true, kHostMac));
  EXPECT_EQ(table->size(), 0U);  // unknown neighbours aren't learned
  Send6();
  Nd(Advert(true, false, kHostMac));
  const auto find = [&] { return *table->Find(kLan, Family::kIpv6, kHost6, now); };
  EXPECT_EQ(find(), kHostMac);
  Nd(Advert(true, false, kOtherMac));  // no override: the MAC stays, but is doubted
  EXPECT_EQ(find(), kHostMac);
  Clear();
  Pass(6 * net::kSecond);
  EXPECT_FALSE(Sent().empty());
  Nd(Advert(false, true, kOtherMac));
  EXPECT_EQ(find(), kOtherMac);
}

TEST_F(NeighborTest, BadNeighborMessagesChangeNothing) {
  const auto broken = [&](auto&& change) {
    net::Packet packet;
    EXPECT_TRUE(BuildNeighborMessage(&pool, Solicit(), kHostMac, kOwnMac, &packet));
    packet.in_port = kLan;
    change(packet);
    net::Parse(&packet);
    EXPECT_TRUE(table->HandleNd(packet, now, false));
    pool.Free(&packet);
    EXPECT_EQ(table->size(), 0U);
    EXPECT_TRUE(sent.empty());
  };
  broken([](net::Packet& p) { p.At<net::Ipv6Header>(14)->hop_limit = 254; });
  broken([](net::Packet& p) { p.L4()[1] = 1; });    // code, and so the checksum
  broken([](net::Packet& p) { p.L4()[25] ^= 1; });  // checksum
  broken([](net::Packet& p) {                       // an option without length
    p.L4()[25] = 0;
    p.checksum_verified = true;
  });
  broken([](net::Packet& p) {  // an option beyond the end
    p.L4()[25] = 2;
    p.checksum_verified = true;
  });
  broken([](net::Packet& p) {  // a multicast link-layer address
    p.L4()[26] = 1;
    p.checksum_verified = true;
  });
  broken([](net::Packet& p) {  // a multicast target
    p.L4()[8] = 0xff;
    p.checksum_verified = true;
  });
  broken([](net::Packet& p) {  // duplicate detection with a link-layer address
    std::memset(p.L3() + 8, 0, 16);
    p.checksum_verified = true;
  });
  broken([](net::Packet& p) { p.largest_fragment = 1280; });  // RFC 6980
}

}  // namespace
}  // namespace postern::route

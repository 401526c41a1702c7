#include "dataplane/route/neighbor_discovery.h"

#include "tests/route/neighbor_fixture.h"

namespace postern::route {
namespace {

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

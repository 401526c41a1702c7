// Datagrams become fragments: those that fit, or those that they came in.
#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/net/random.h"
#include "tests/route/fragment_fixture.h"

namespace postern::route {
namespace {

class Collector : public FragmentEmitter {
 public:
  void Emit(net::Packet* fragment) override { fragments.push_back(*fragment); }
  std::vector<net::Packet> fragments;
};

TEST(FragmentTest, FragmentsFitAndComeTogetherAgain) {
  net::Rng rng(11);
  for (int round = 0; round < 300; ++round) {
    Reassembly f;
    const bool v4 = rng.Below(2) == 0;
    const auto length = static_cast<uint16_t>(1 + rng.Below(round % 10 == 0 ? 65000 : 6000));
    const auto mtu = static_cast<uint16_t>(v4 ? 68 + rng.Below(2000) : 1280 + rng.Below(1000));
    const Packet builder = Whole(v4, 9, length);
    net::Packet packet = f.pool.Take(builder);
    Collector out;
    ASSERT_TRUE(Fragment(&f.pool, &packet, mtu, 77, &out));
    // Any order.
    for (size_t i = out.fragments.size(); i > 1; --i) {
      std::swap(out.fragments[i - 1], out.fragments[rng.Below(static_cast<uint32_t>(i))]);
    }
    ReassemblySettings settings;
    settings.max_fragments = 4096;
    Reassembler reassembler(settings, &f.pool, &f);
    size_t whole = 0;
    for (net::Packet& fragment : out.fragments) {
      EXPECT_LE(fragment.ip.l3_length, mtu);
      if (v4) {
        EXPECT_EQ(net::OnesSum(fragment.L3(), 20), 0xffff);
      }
      if (!reassembler.Add(&fragment, kStart)) continue;
      ++whole;
      EXPECT_EQ(BytesOf(fragment), DatagramOf(builder));
      f.pool.Free(&fragment);
    }
    EXPECT_EQ(whole, 1U);
  }
}

// ---- fragments that came in are sent again ----

struct AgainRow {
  const char* name;
  bool v4;
  std::vector<Arrival> arrivals;
  uint16_t mtu;
  std::vector<uint32_t> payloads;  // of the fragments sent
};

std::vector<net::Packet> SendAgain(Reassembly* f, net::Packet* whole, uint16_t mtu) {
  Collector out;
  EXPECT_TRUE(Fragment(&f->pool, whole, mtu, 77, &out));
  return out.fragments;
}

std::vector<uint32_t> PayloadsOf(const std::vector<net::Packet>& fragments) {
  std::vector<uint32_t> lengths;
  for (const net::Packet& fragment : fragments) {
    const bool v4 = fragment.ip.family == net::Family::kIpv4;
    const uint32_t header = v4 ? 20U : fragment.ip.fragment_header_offset + 8U - 14U;
    lengths.push_back(fragment.ip.l3_length - header);
  }
  return lengths;
}

void FreeAll(Reassembly* f, std::vector<net::Packet>* fragments) {
  for (net::Packet& fragment : *fragments) f->pool.Free(&fragment);
}

// The datagram that these pieces make, in a buffer.
net::Packet Assembled(Reassembly* f, bool v4, const std::vector<Arrival>& arrivals) {
  for (const Arrival& a : arrivals) {
    net::Packet packet = f->pool.Take(Piece(v4, 5, a.begin, a.end, a.more));
    if (f->reassembler->Add(&packet, kStart)) return packet;
  }
  ADD_FAILURE() << "not whole";
  return {};
}

TEST(FragmentTest, ADatagramLeavesInTheFragmentsItCameIn) {
  const std::vector<Arrival> uneven = {
      {0, 16, true}, {16, 56, true}, {56, 64, true}, {64, 67, false}};
  const AgainRow rows[] = {
      {"in order", true, uneven, 60, {16, 40, 8, 3}},
      {"IPv6, though below its least MTU", false, uneven, 88, {16, 40, 8, 3}},
      {"in reverse",
       true,
       {{64, 67, false}, {56, 64, true}, {16, 56, true}, {0, 16, true}},
       60,
       {16, 40, 8, 3}},
      {"trimmed to eight", true, {{0, 21, true}, {16, 20, false}}, 41, {16, 4}},
      {"a smaller MTU cuts evenly", true, uneven, 59, {32, 35}},
      {"the last cut fills the MTU", true, {{0, 40, true}, {40, 75, false}}, 55, {32, 32, 11}},
      {"not rounded at the end", true, {{0, 40, true}, {40, 67, false}}, 55, {32, 35}},
  };
  for (const AgainRow& row : rows) {
    SCOPED_TRACE(row.name);
    Reassembly f;
    net::Packet whole = Assembled(&f, row.v4, row.arrivals);
    const Bytes before = BytesOf(whole);
    auto fragments = SendAgain(&f, &whole, row.mtu);
    EXPECT_EQ(PayloadsOf(fragments), row.payloads);
    uint32_t offset = 0;
    for (size_t i = 0; i < fragments.size(); ++i) {
      EXPECT_EQ(fragments[i].ip.fragment_offset, offset);
      EXPECT_EQ(fragments[i].ip.more_fragments, i + 1 != fragments.size());
      offset += row.payloads[i];
    }
    // They make the same datagram again.
    std::optional<Bytes> again;
    for (net::Packet& fragment : fragments) {
      if (!f.reassembler->Add(&fragment, kStart)) continue;
      again = BytesOf(fragment);
      f.pool.Free(&fragment);
    }
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, before);
  }
}

TEST(FragmentTest, ADatagramOfAnotherLengthIsCutEvenly) {
  Reassembly f;
  net::Packet whole = Assembled(&f, true, {{0, 16, true}, {16, 56, true}, {56, 67, false}});
  // As a translation of the payload does that makes it a byte longer.
  ++whole.length;
  --whole.tailroom;
  ++whole.ip.l3_length;
  whole.data[whole.length - 1] = 0;
  auto fragments = SendAgain(&f, &whole, 60);
  EXPECT_EQ(PayloadsOf(fragments), (std::vector<uint32_t>{40, 28}));
  FreeAll(&f, &fragments);
}

TEST(FragmentTest, MoreFragmentsThanTheTailroomHolds) {
  Reassembly f;
  std::vector<Arrival> arrivals;
  std::vector<uint32_t> payloads;
  for (uint32_t at = 0, i = 0; i < 128; ++i) {
    const uint32_t length = i % 2 == 0 ? 16 : 8;
    arrivals.push_back({at, at + length, i != 127});
    payloads.push_back(length);
    at += length;
  }
  net::Packet whole = Assembled(&f, true, arrivals);
  EXPECT_EQ(whole.fragment_count, 128);
  EXPECT_EQ(whole.length, 14 + whole.ip.l3_length);
  auto fragments = SendAgain(&f, &whole, 1500);
  EXPECT_EQ(PayloadsOf(fragments), payloads);
  FreeAll(&f, &fragments);
}

TEST(FragmentTest, ALaterHeaderMayBeShorterThanTheFirst) {
  Reassembly f;
  const Bytes alert = {0x94, 4, 0, 0};
  net::Packet last = f.pool.Take(Piece(true, 5, 40, 80, false));
  EXPECT_FALSE(f.reassembler->Add(&last, kStart));
  net::Packet first = f.pool.Take(Piece(true, 5, 0, 40, true).IpOptions(alert));
  ASSERT_TRUE(f.reassembler->Add(&first, kStart));
  auto fragments = SendAgain(&f, &first, first.largest_fragment);
  ASSERT_EQ(fragments.size(), 2U);
  for (const net::Packet& fragment : fragments) EXPECT_EQ(fragment.ip.l3_length, 24U + 40);
  FreeAll(&f, &fragments);
}

// ip6_find_1stfragopt splits between a routing header and destination options, wherever the
// fragment header stood.
TEST(FragmentTest, Ipv6HeadersThatBecomePayloadBelongToTheFirst) {
  const auto piece = [](uint32_t begin, uint32_t end, bool more) {
    return Piece(false, 1, begin, end, more)
        .Extension(net::kProtoRouting, {0, 4, 0, 0, 0, 0, 0})
        .Extension(net::kProtoDestinationOptions, {0, 1, 4, 0, 0, 0, 0});
  };
  Reassembly f;
  net::Packet last = f.pool.Take(piece(16, 20, false));
  EXPECT_FALSE(f.reassembler->Add(&last, kStart));
  net::Packet first = f.pool.Take(piece(0, 16, true));
  ASSERT_TRUE(f.reassembler->Add(&first, kStart));
  auto fragments = SendAgain(&f, &first, 1500);
  EXPECT_EQ(PayloadsOf(fragments), (std::vector<uint32_t>{8 + 16, 4}));
  FreeAll(&f, &fragments);
}

// ip_fraglist_init and ip_fraglist_prepare know no DF; ip_frag_next does.
TEST(FragmentTest, DontFragmentStaysOnlyWhereCutAnew) {
  for (const uint16_t mtu : {60, 59}) {
    Reassembly f;
    net::Packet first = f.pool.Take(Piece(true, 5, 0, 40, true).DontFragment());
    EXPECT_FALSE(f.reassembler->Add(&first, kStart));
    net::Packet whole = f.pool.Take(Piece(true, 5, 40, 80, false).DontFragment());
    ASSERT_TRUE(f.reassembler->Add(&whole, kStart));
    ASSERT_TRUE(whole.ip.dont_fragment);
    auto fragments = SendAgain(&f, &whole, mtu);
    for (const net::Packet& fragment : fragments) {
      EXPECT_EQ(fragment.ip.dont_fragment, mtu == 59);
    }
    FreeAll(&f, &fragments);
  }
}

TEST(FragmentTest, LaterFragmentsCarryOnlyCopiedOptions) {
  Reassembly f;
  // Record route (not copied), then router alert (copied).
  net::Packet packet =
      f.pool.Take(Whole(true, 9, 3000).IpOptions({7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 0}));
  Collector out;
  ASSERT_TRUE(Fragment(&f.pool, &packet, 1500, 0, &out));
  ASSERT_EQ(out.fragments.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    const uint8_t* options = out.fragments[i].L3() + 20;
    EXPECT_EQ(options[0], i == 0 ? 7 : 1);
    EXPECT_EQ(options[6], i == 0 ? 0 : 1);
    EXPECT_EQ(options[7], 0x94);
    EXPECT_EQ(out.fragments[i].ip.more_fragments, i != 2);
    f.pool.Free(&out.fragments[i]);
  }
}

TEST(FragmentTest, DontFragmentStaysOnTheFragments) {
  Reassembly f;
  net::Packet packet = f.pool.Take(Whole(true, 9, 3000).DontFragment());
  Collector out;
  ASSERT_TRUE(Fragment(&f.pool, &packet, 1500, 0, &out));
  for (net::Packet& fragment : out.fragments) {
    EXPECT_TRUE(fragment.ip.dont_fragment);
    f.pool.Free(&fragment);
  }
}

TEST(FragmentTest, Ipv6FragmentHeaderFollowsRoutingAndHopByHop) {
  const Bytes pad = {0, 1, 4, 0, 0, 0, 0};
  Reassembly f;
  net::Packet packet = f.pool.Take(Whole(false, 9, 3000)
                                       .Extension(net::kProtoHopByHop, pad)
                                       .Extension(net::kProtoRouting, {0, 4, 0, 0, 0, 0, 0})
                                       .Extension(net::kProtoDestinationOptions, pad));
  Collector out;
  ASSERT_TRUE(Fragment(&f.pool, &packet, 1500, 0x12345678, &out));
  for (net::Packet& fragment : out.fragments) {
    EXPECT_EQ(fragment.ip.fragment_header_offset, 14 + 40 + 16);
    EXPECT_EQ(fragment.ip.fragment_id, 0x12345678U);
    EXPECT_EQ(fragment.data[14 + 40 + 16], net::kProtoDestinationOptions);
    f.pool.Free(&fragment);
  }
}

TEST(FragmentTest, HeadersThatFillTheMtuCannotBeCut) {
  Reassembly f;
  Bytes options(128 * 8 - 1, 0);
  options[0] = 127;  // units of 8 bytes behind the first
  net::Packet packet = f.pool.Take(Whole(false, 9, 3000)
                                       .Extension(net::kProtoHopByHop, options)
                                       .Extension(net::kProtoRouting, options));
  Collector out;
  EXPECT_FALSE(Fragment(&f.pool, &packet, 1500, 0, &out));
  EXPECT_TRUE(out.fragments.empty());
  f.pool.Free(&packet);
}

TEST(FragmentTest, WithoutBuffersTheDatagramIsUntouched) {
  Reassembly f;
  net::Packet packet = f.pool.Take(Whole(true, 9, 3000));
  const Bytes before = BytesOf(packet);
  f.pool.set_limit(3);
  Collector out;
  EXPECT_FALSE(Fragment(&f.pool, &packet, 1500, 0, &out));
  EXPECT_TRUE(out.fragments.empty());
  EXPECT_EQ(BytesOf(packet), before);
  EXPECT_EQ(f.pool.lent(), 1U);
  f.pool.Free(&packet);
}

}  // namespace
}  // namespace postern::route

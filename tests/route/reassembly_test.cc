#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/net/random.h"
#include "dataplane/route/fragment.h"
#include "tests/support/heap_pool.h"

namespace postern::route {
namespace {

using net::DropReason;
using test::Bytes;
using test::Packet;

constexpr const char* kHost = "192.0.2.10";
constexpr const char* kServer = "198.51.100.20";
constexpr const char* kHost6 = "2001:db8:1::10";
constexpr const char* kServer6 = "2001:db8:2::20";
constexpr net::Time kStart = 1000 * net::kSecond;

Bytes BytesOf(const net::Packet& packet) { return {packet.L3(), packet.L3End()}; }

class Fixture : public FragmentSink {
 public:
  explicit Fixture(ReassemblySettings settings = {})
      : reassembler(std::make_unique<Reassembler>(settings, &pool, this)) {}
  ~Fixture() override {
    reassembler.reset();
    EXPECT_EQ(pool.lent(), 0U);
    EXPECT_EQ(pool.bad_frees(), 0U);
  }

  void Drop(net::Packet* packet, DropReason reason) override {
    ++drops[reason];
    pool.Free(packet);
  }
  void TimedOut(net::Packet* first) override {
    ++timed_out;
    EXPECT_EQ(first->ip.fragment_offset, 0);
    pool.Free(first);
  }
  // The whole datagram from l3 on, when this fragment completed it.
  std::optional<Bytes> Add(const Packet& fragment, net::Time now = kStart) {
    net::Packet packet = pool.Take(fragment);
    if (!reassembler->Add(&packet, now)) return std::nullopt;
    last = packet;
    const Bytes bytes = BytesOf(packet);
    pool.Free(&packet);
    return bytes;
  }
  int dropped(DropReason reason) const {
    const auto it = drops.find(reason);
    return it == drops.end() ? 0 : it->second;
  }

  test::HeapPool pool;
  std::unique_ptr<Reassembler> reassembler;
  std::map<DropReason, int> drops;
  int timed_out = 0;
  net::Packet last;
};

// `[begin, end)` of a datagram of counting bytes.
Packet Piece(bool v4, uint32_t id, uint32_t begin, uint32_t end, bool more) {
  Bytes payload(end - begin);
  for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<uint8_t>((begin + i) * 7);
  Packet packet;
  v4 ? packet.Ipv4(kHost, kServer) : packet.Ipv6(kHost6, kServer6);
  return packet.Fragment(id, static_cast<uint16_t>(begin), more)
      .Raw(net::kProtoUdp)
      .Payload(payload);
}
Packet Whole(bool v4, uint16_t id, uint16_t length) {
  Bytes payload(length);
  for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<uint8_t>(i * 7);
  Packet packet;
  v4 ? packet.Ipv4(kHost, kServer).Id(id) : packet.Ipv6(kHost6, kServer6);
  return packet.Raw(net::kProtoUdp).Payload(payload);
}
Bytes DatagramOf(const Packet& packet) {
  const Bytes frame = packet.Frame();
  return {frame.begin() + 14, frame.end()};
}

TEST(ReassemblyTest, FourFragmentsInEveryOrder) {
  for (const bool v4 : {true, false}) {
    const std::array<Packet, 4> pieces = {Piece(v4, 5, 0, 16, true), Piece(v4, 5, 16, 40, true),
                                          Piece(v4, 5, 40, 48, true), Piece(v4, 5, 48, 51, false)};
    std::array<size_t, 4> order;
    std::iota(order.begin(), order.end(), 0);
    do {
      Fixture f;
      for (size_t i = 0; i < 3; ++i) EXPECT_FALSE(f.Add(pieces[order[i]]));
      const auto whole = f.Add(pieces[order[3]]);
      ASSERT_TRUE(whole);
      EXPECT_EQ(*whole, DatagramOf(Whole(v4, 5, 51)));
      EXPECT_FALSE(f.last.ip.fragment);
      EXPECT_EQ(f.last.largest_fragment, v4 ? 20 + 24 : 48 + 24);
      EXPECT_EQ(f.reassembler->datagrams(), 0U);
      EXPECT_TRUE(f.drops.empty());
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

struct Arrival {
  uint32_t begin, end;
  bool more;
};
struct ConflictRow {
  const char* name;
  std::vector<Arrival> arrivals;
  DropReason reason;
  size_t dropped;  // of the arrivals
  size_t waiting;  // datagrams left
};

TEST(ReassemblyTest, ContradictionsDropTheDatagramAndDuplicatesOnlyThemselves) {
  const DropReason overlap = DropReason::kFragmentOverlap, invalid = DropReason::kFragmentInvalid;
  const ConflictRow rows[] = {
      {"exact duplicate of the first", {{0, 16, true}, {0, 16, true}}, overlap, 1, 1},
      {"duplicate within a run", {{0, 16, true}, {16, 32, true}, {8, 24, true}}, overlap, 1, 1},
      // Two runs, though they touch: Linux doesn't join them.
      {"within two runs", {{16, 32, true}, {0, 16, true}, {8, 24, true}}, overlap, 3, 0},
      {"overlap behind", {{0, 16, true}, {8, 24, true}}, overlap, 2, 0},
      {"overlap before", {{16, 32, true}, {8, 24, true}}, overlap, 2, 0},
      {"covers all", {{8, 16, true}, {0, 32, true}}, overlap, 2, 0},
      {"one byte in the last", {{8, 17, false}, {16, 24, true}}, invalid, 2, 0},
      {"two ends", {{8, 16, false}, {16, 24, false}}, invalid, 2, 0},
      {"end before data", {{16, 32, true}, {8, 16, false}}, invalid, 2, 0},
      {"data behind the end", {{8, 16, false}, {16, 32, true}}, invalid, 2, 0},
      {"empty", {{8, 8, false}}, invalid, 1, 0},
      {"empty, more", {{8, 8, true}}, invalid, 1, 0},
      {"beyond 65535", {{65528, 65544, true}}, invalid, 1, 0},
  };
  for (const bool v4 : {true, false}) {
    for (const ConflictRow& row : rows) {
      SCOPED_TRACE(row.name);
      Fixture f;
      for (const Arrival& a : row.arrivals) {
        EXPECT_FALSE(f.Add(Piece(v4, 1, a.begin, a.end, a.more)));
      }
      EXPECT_EQ(f.dropped(row.reason), static_cast<int>(row.dropped));
      EXPECT_EQ(f.reassembler->datagrams(), row.waiting);
    }
  }
}

TEST(ReassemblyTest, ADuplicateDoesNotSpoilTheDatagram) {
  Fixture f;
  EXPECT_FALSE(f.Add(Piece(true, 1, 16, 20, false)));
  EXPECT_FALSE(f.Add(Piece(true, 1, 16, 20, false)));
  EXPECT_TRUE(f.Add(Piece(true, 1, 0, 16, true)));
}

TEST(ReassemblyTest, OddLengthsAreCutForIpv4AndFatalForIpv6) {
  Fixture f;
  EXPECT_FALSE(f.Add(Piece(true, 1, 0, 21, true)));  // counts as 16
  EXPECT_TRUE(f.Add(Piece(true, 1, 16, 20, false)));
  EXPECT_FALSE(f.Add(Piece(false, 1, 0, 21, true)));
  EXPECT_EQ(f.dropped(DropReason::kFragmentInvalid), 1);
  EXPECT_EQ(f.reassembler->datagrams(), 0U);
}

TEST(ReassemblyTest, TinyFragmentsAreReassembledLikeOthers) {
  Fixture f;
  for (uint16_t at = 8; at < 64; at = static_cast<uint16_t>(at + 8)) {
    EXPECT_FALSE(f.Add(Piece(true, 1, at, static_cast<uint16_t>(at + 8), at != 56)));
  }
  const auto whole = f.Add(Piece(true, 1, 0, 8, true));
  ASSERT_TRUE(whole);
  EXPECT_EQ(*whole, DatagramOf(Whole(true, 1, 64)));
}

TEST(ReassemblyTest, AnIpv6FirstFragmentMustHoldTheTransportHeader) {
  Fixture f;
  EXPECT_FALSE(f.Add(
      Packet().Ipv6(kHost6, kServer6).Fragment(1, 0, true).Raw(net::kProtoTcp).PayloadLength(16)));
  EXPECT_EQ(f.dropped(DropReason::kFragmentInvalid), 1);
}

TEST(ReassemblyTest, AnAtomicFragmentLosesItsHeader) {
  Fixture f;
  const auto whole = f.Add(Piece(false, 1, 0, 13, false));
  ASSERT_TRUE(whole);
  EXPECT_EQ(*whole, DatagramOf(Whole(false, 0, 13)));
}

TEST(ReassemblyTest, ExtensionHeadersBeforeTheFragmentHeaderStay) {
  const Bytes pad = {0, 1, 4, 0, 0, 0, 0};  // length 0, PadN
  const auto with_options = [&](Packet packet) {
    return packet.Extension(net::kProtoHopByHop, pad).Extension(net::kProtoDestinationOptions, pad);
  };
  Fixture f;
  EXPECT_FALSE(f.Add(with_options(Piece(false, 1, 16, 20, false))));
  const auto whole = f.Add(with_options(Piece(false, 1, 0, 16, true)));
  ASSERT_TRUE(whole);
  EXPECT_EQ(*whole, DatagramOf(with_options(Whole(false, 0, 20))));
}

TEST(ReassemblyTest, KeysKeepDatagramsApart) {
  Fixture f;
  EXPECT_FALSE(f.Add(Piece(true, 1, 0, 16, true)));
  EXPECT_FALSE(f.Add(Piece(true, 2, 16, 20, false)));
  EXPECT_FALSE(f.Add(
      Packet().Ipv4(kHost, kServer).Fragment(1, 16, false).Raw(net::kProtoIcmp).PayloadLength(4)));
  EXPECT_FALSE(f.Add(Piece(false, 1, 16, 20, false)));
  EXPECT_EQ(f.reassembler->datagrams(), 4U);
}

TEST(ReassemblyTest, DontFragmentSurvivesOnlyOnTheLargest) {
  Fixture f;
  EXPECT_FALSE(f.Add(Piece(true, 1, 0, 16, true).DontFragment()));
  ASSERT_TRUE(f.Add(Piece(true, 1, 16, 20, false)));
  EXPECT_TRUE(f.last.ip.dont_fragment);
  EXPECT_EQ(f.last.largest_df_fragment, 36);
  EXPECT_FALSE(f.Add(Piece(true, 2, 0, 16, true)));
  ASSERT_TRUE(f.Add(Piece(true, 2, 16, 20, false).DontFragment()));
  EXPECT_FALSE(f.last.ip.dont_fragment);
  EXPECT_EQ(f.last.largest_df_fragment, 24);
}

TEST(ReassemblyTest, CongestionMarksAddUpByRfc3168) {
  struct Row {
    uint8_t first, second;
    int result;  // the ECN field, or -1: dropped
  };
  const Row rows[] = {{0, 0, 0}, {1, 1, 1}, {2, 2, 2},  {3, 3, 3},  {2, 1, 2},
                      {2, 3, 3}, {1, 3, 3}, {0, 3, -1}, {0, 2, -1}, {1, 0, -1}};
  for (const bool v4 : {true, false}) {
    for (const Row& row : rows) {
      Fixture f;
      EXPECT_FALSE(f.Add(Piece(v4, 1, 0, 16, true).Tos(0x10 | row.first)));
      const bool whole = f.Add(Piece(v4, 1, 16, 20, false).Tos(0x10 | row.second)).has_value();
      ASSERT_EQ(whole, row.result >= 0);
      if (whole) {
        EXPECT_EQ(f.last.ip.tos, 0x10 | row.result);
      }
    }
  }
}

TEST(ReassemblyTest, TimeoutsTellOfTheFirstFragmentOnly) {
  Fixture f;
  EXPECT_FALSE(f.Add(Piece(true, 1, 0, 16, true)));
  EXPECT_FALSE(f.Add(Piece(true, 1, 16, 32, true), kStart + 20 * net::kSecond));
  EXPECT_FALSE(f.Add(Piece(true, 2, 16, 32, true)));
  EXPECT_FALSE(f.Add(Piece(false, 3, 0, 16, true)));
  f.reassembler->Tick(kStart + 30 * net::kSecond - 1);
  EXPECT_EQ(f.reassembler->datagrams(), 3U);
  f.reassembler->Tick(kStart + 30 * net::kSecond);  // not prolonged by later fragments
  EXPECT_EQ(f.reassembler->datagrams(), 1U);
  EXPECT_EQ(f.timed_out, 1);
  EXPECT_EQ(f.dropped(DropReason::kFragmentTimeout), 2);
  f.reassembler->Tick(kStart + 60 * net::kSecond);
  EXPECT_EQ(f.reassembler->datagrams(), 0U);
  EXPECT_EQ(f.timed_out, 2);
}

TEST(ReassemblyTest, CapsHold) {
  ReassemblySettings settings;
  settings.max_per_source = 3;
  settings.max_datagrams = 5;
  settings.max_fragments = 4;
  Fixture f(settings);
  for (uint32_t id = 0; id < 5; ++id) f.Add(Piece(true, id, 0, 16, true));
  EXPECT_EQ(f.reassembler->datagrams(), 3U);
  EXPECT_EQ(f.dropped(DropReason::kFragmentMemory), 2);
  for (uint32_t id = 0; id < 5; ++id) f.Add(Piece(false, id, 0, 16, true));
  EXPECT_EQ(f.reassembler->datagrams(), 5U);
  // A fifth fragment costs its datagram, but only that.
  for (uint16_t at = 16; at < 64; at = static_cast<uint16_t>(at + 16)) {
    f.Add(Piece(true, 0, at, static_cast<uint16_t>(at + 16), true));
  }
  EXPECT_EQ(f.reassembler->datagrams(), 5U);
  f.Add(Piece(true, 0, 80, 96, true));
  EXPECT_EQ(f.reassembler->datagrams(), 4U);
}

TEST(ReassemblyTest, MemoryIsBounded) {
  ReassemblySettings settings;
  settings.max_bytes = 2000;
  Fixture f(settings);
  for (uint32_t id = 0; id < 50; ++id) f.Add(Piece(true, id, 0, 16, true));
  EXPECT_LT(f.reassembler->datagrams(), 10U);
  const size_t waiting = f.reassembler->datagrams();
  // What is under way may still be completed, and makes room.
  EXPECT_TRUE(f.Add(Piece(true, 0, 16, 20, false)));
  EXPECT_EQ(f.reassembler->datagrams(), waiting - 1);
}

TEST(ReassemblyTest, WithoutABufferTheDatagramIsLost) {
  Fixture f;
  f.Add(Piece(true, 1, 0, 16, true));
  f.pool.set_limit(2);
  EXPECT_FALSE(f.Add(Piece(true, 1, 16, 20, false)));
  EXPECT_EQ(f.dropped(DropReason::kNoBuffer), 2);
}

// ---- fragmentation ----

class Collector : public FragmentEmitter {
 public:
  void Emit(net::Packet* fragment) override { fragments.push_back(*fragment); }
  std::vector<net::Packet> fragments;
};

TEST(FragmentTest, FragmentsFitAndComeTogetherAgain) {
  net::Rng rng(11);
  for (int round = 0; round < 300; ++round) {
    Fixture f;
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

std::vector<net::Packet> SendAgain(Fixture* f, net::Packet* whole, uint16_t mtu) {
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

void FreeAll(Fixture* f, std::vector<net::Packet>* fragments) {
  for (net::Packet& fragment : *fragments) f->pool.Free(&fragment);
}

// The datagram that these pieces make, in a buffer.
net::Packet Assembled(Fixture* f, bool v4, const std::vector<Arrival>& arrivals) {
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
    Fixture f;
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
  Fixture f;
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
  Fixture f;
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
  Fixture f;
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
  Fixture f;
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
    Fixture f;
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
  Fixture f;
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
  Fixture f;
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
  Fixture f;
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
  Fixture f;
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
  Fixture f;
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

// Fragments become datagrams: order, contradictions, limits, time.
#include <array>
#include <numeric>

#include "tests/route/fragment_fixture.h"

namespace postern::route {
namespace {

TEST(ReassemblyTest, FourFragmentsInEveryOrder) {
  for (const bool v4 : {true, false}) {
    const std::array<Packet, 4> pieces = {Piece(v4, 5, 0, 16, true), Piece(v4, 5, 16, 40, true),
                                          Piece(v4, 5, 40, 48, true), Piece(v4, 5, 48, 51, false)};
    std::array<size_t, 4> order;
    std::iota(order.begin(), order.end(), 0);
    do {
      Reassembly f;
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
  };
  for (const bool v4 : {true, false}) {
    for (const ConflictRow& row : rows) {
      SCOPED_TRACE(row.name);
      Reassembly f;
      for (const Arrival& a : row.arrivals) {
        EXPECT_FALSE(f.Add(Piece(v4, 1, a.begin, a.end, a.more)));
      }
      EXPECT_EQ(f.dropped(row.reason), static_cast<int>(row.dropped));
      EXPECT_EQ(f.reassembler->datagrams(), row.waiting);
    }
  }
}

TEST(ReassemblyTest, AnEndBeyond65535IsAnEndForIpv4AndNothingForIpv6) {
  for (const bool v4 : {true, false}) {
    Reassembly f;
    EXPECT_FALSE(f.Add(Piece(v4, 1, 65528, 65544, false)));
    EXPECT_EQ(f.reassembler->datagrams(), v4 ? 1 : 0);
    EXPECT_FALSE(f.Add(Piece(v4, 1, 64, 72, false)));
    EXPECT_EQ(f.dropped(DropReason::kFragmentInvalid), v4 ? 2 : 1);
    EXPECT_EQ(f.reassembler->datagrams(), v4 ? 0 : 1);
  }
}

TEST(ReassemblyTest, ADuplicateDoesNotSpoilTheDatagram) {
  Reassembly f;
  EXPECT_FALSE(f.Add(Piece(true, 1, 16, 20, false)));
  EXPECT_FALSE(f.Add(Piece(true, 1, 16, 20, false)));
  EXPECT_TRUE(f.Add(Piece(true, 1, 0, 16, true)));
}

TEST(ReassemblyTest, OddLengthsAreCutForIpv4AndFatalForIpv6) {
  Reassembly f;
  EXPECT_FALSE(f.Add(Piece(true, 1, 0, 21, true)));  // counts as 16
  EXPECT_TRUE(f.Add(Piece(true, 1, 16, 20, false)));
  EXPECT_FALSE(f.Add(Piece(false, 1, 0, 21, true)));
  EXPECT_EQ(f.dropped(DropReason::kFragmentInvalid), 1);
  EXPECT_EQ(f.reassembler->datagrams(), 0U);
}

TEST(ReassemblyTest, TinyFragmentsAreReassembledLikeOthers) {
  Reassembly f;
  for (uint16_t at = 8; at < 64; at = static_cast<uint16_t>(at + 8)) {
    EXPECT_FALSE(f.Add(Piece(true, 1, at, static_cast<uint16_t>(at + 8), at != 56)));
  }
  const auto whole = f.Add(Piece(true, 1, 0, 8, true));
  ASSERT_TRUE(whole);
  EXPECT_EQ(*whole, DatagramOf(Whole(true, 1, 64)));
}

TEST(ReassemblyTest, AnIpv6FirstFragmentMustHoldTheTransportHeader) {
  Reassembly f;
  EXPECT_FALSE(f.Add(Packet()
                         .Ipv6(kSender6, kReceiver6)
                         .Fragment(1, 0, true)
                         .Raw(net::kProtoTcp)
                         .PayloadLength(16)));
  EXPECT_EQ(f.dropped(DropReason::kFragmentInvalid), 1);
}

TEST(ReassemblyTest, AnAtomicFragmentLosesItsHeader) {
  Reassembly f;
  const auto whole = f.Add(Piece(false, 1, 0, 13, false));
  ASSERT_TRUE(whole);
  EXPECT_EQ(*whole, DatagramOf(Whole(false, 0, 13)));
}

TEST(ReassemblyTest, ExtensionHeadersBeforeTheFragmentHeaderStay) {
  const Bytes pad = {0, 1, 4, 0, 0, 0, 0};  // length 0, PadN
  const auto with_options = [&](Packet packet) {
    return packet.Extension(net::kProtoHopByHop, pad).Extension(net::kProtoDestinationOptions, pad);
  };
  Reassembly f;
  EXPECT_FALSE(f.Add(with_options(Piece(false, 1, 16, 20, false))));
  const auto whole = f.Add(with_options(Piece(false, 1, 0, 16, true)));
  ASSERT_TRUE(whole);
  EXPECT_EQ(*whole, DatagramOf(with_options(Whole(false, 0, 20))));
}

TEST(ReassemblyTest, KeysKeepDatagramsApart) {
  Reassembly f;
  EXPECT_FALSE(f.Add(Piece(true, 1, 0, 16, true)));
  EXPECT_FALSE(f.Add(Piece(true, 2, 16, 20, false)));
  EXPECT_FALSE(f.Add(Packet()
                         .Ipv4(kSender, kReceiver)
                         .Fragment(1, 16, false)
                         .Raw(net::kProtoIcmp)
                         .PayloadLength(4)));
  EXPECT_FALSE(f.Add(Piece(false, 1, 16, 20, false)));
  EXPECT_EQ(f.reassembler->datagrams(), 4U);
}

TEST(ReassemblyTest, DontFragmentSurvivesOnlyOnTheLargest) {
  Reassembly f;
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
      Reassembly f;
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
  Reassembly f;
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
  Reassembly f(settings);
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
  Reassembly f(settings);
  for (uint32_t id = 0; id < 50; ++id) f.Add(Piece(true, id, 0, 16, true));
  EXPECT_LT(f.reassembler->datagrams(), 10U);
  const size_t waiting = f.reassembler->datagrams();
  // What is under way may still be completed, and makes room.
  EXPECT_TRUE(f.Add(Piece(true, 0, 16, 20, false)));
  EXPECT_EQ(f.reassembler->datagrams(), waiting - 1);
}

TEST(ReassemblyTest, WithoutABufferTheDatagramIsLost) {
  Reassembly f;
  f.Add(Piece(true, 1, 0, 16, true));
  f.pool.set_limit(2);
  EXPECT_FALSE(f.Add(Piece(true, 1, 16, 20, false)));
  EXPECT_EQ(f.dropped(DropReason::kNoBuffer), 2);
}

}  // namespace
}  // namespace postern::route

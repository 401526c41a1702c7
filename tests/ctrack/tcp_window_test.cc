#include "ctrack/tcp_segment.h"
#include "tests/ctrack/tcp_fixture.h"

namespace postern::ctrack {
namespace {

const test::Bytes kSackPermitted = {1, 1, 4, 2};
const test::Bytes kScale7 = {1, 3, 3, 7};
const test::Bytes kScaleAndSack = {1, 3, 3, 7, 1, 1, 4, 2};

test::Bytes SackBlock(uint32_t left, uint32_t right) {
  test::Bytes bytes = {1, 1, 5, 10};
  for (const uint32_t v : {left, right}) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(v >> shift));
  }
  return bytes;
}

// CONFORMANCE 4.
TEST_F(TcpTest, RetransmissionBelowTheWindowIsValid) {
  Play(kHandshake);
  for (uint32_t i = 0; i < 10; ++i) {
    const uint32_t seq = 101 + 500 * i;
    Play({{kC, kAck, seq, 501, 500, kEst, kOpen, 300},
          {kS, kAck, 501, seq + 500, 0, kEstReply, kOpen, 432000}});
  }
  world.Pass(100);
  // Acknowledged 4,500 bytes ago, the window is 1,000: it passes and refreshes nothing.
  Play({{kC, kAck, 101, 501, 500, kEst, kOpen, 432000 - 101}});
  // The last one again is within the window.
  Play({{kC, kAck, 4601, 501, 500, kEst, kOpen, 432000}});
}

TEST_F(TcpTest, DataOverTheWindow) {
  Play(kHandshake);
  Play({
      {kC, kAck, 101, 501, 1000, kEst, kOpen},
      // Begins at the upper bound: some of it may be taken (II and I hold).
      {kC, kAck, 1101, 501, 100, kEst, kOpen},
      // Over it by less than a window: passes, counts as sent, moves nothing else.
      {kC, kAck, 1201, 501, 100, kEst, kOpen},
      {kS, kAck, 501, 1301, 0, kEstReply, kOpen},
      // Over it by far.
      {kC, kAck, 9001, 501, 100, kInvalid, kOpen},
  });
}

TEST_F(TcpTest, AcknowledgementOfWhatWasNeverSent) {
  Play(kHandshake);
  Play({
      {kC, kAck, 101, 501, 100, kEst, kOpen},
      {kS, kAck, 501, 202, 0, kInvalid, kOpen},
      {kS, kAck, 501, 201, 0, kEstReply, kOpen},
  });
}

TEST_F(TcpTest, AcknowledgementFromLongAgo) {
  Play({{kC, kSyn, 100000, 0, 0, kNew, kSynSent},
        {kS, kSynAckFlags, 500, 100001, 0, kEstReply, kSynRecv},
        {kC, kAck, 100001, 501, 0, kEst, kOpen}});
  world.Pass(50);
  // 66,000 behind is the limit (bound IV); beyond it the packet passes but refreshes nothing.
  Play({{kS, kAck, 501, 100001 - 66001, 0, kEstReply, kOpen, 432000 - 51},
        {kS, kAck, 501, 100001 - 66000, 0, kEstReply, kOpen, 432000}});
}

TEST_F(TcpTest, SequenceNumbersWrap) {
  const uint32_t isn = 0xfffffff0;
  Play({{kC, kSyn, isn, 0, 0, kNew, kSynSent},
        {kS, kSynAckFlags, 0xffffffff, isn + 1, 0, kEstReply, kSynRecv},
        {kC, kAck, isn + 1, 0, 0, kEst, kOpen},
        {kC, kAck, isn + 1, 0, 100, kEst, kOpen},
        {kS, kAck, 0, isn + 101, 50, kEstReply, kOpen},
        {kC, kAck, isn + 101, 50, 0, kEst, kOpen, 432000}});
  EXPECT_EQ(Tcp().peer[0].end, isn + 101);
}

// CONFORMANCE 6.
TEST_F(TcpTest, WindowScaleCountsOnlyIfBothOfferIt) {
  Play({{kC, kSyn, 100, 0, 0, kNew, kSynSent, -1, 1000, kScale7},
        {kS, kSynAckFlags, 500, 101, 0, kEstReply, kSynRecv, -1, 1000, kScale7},
        {kC, kAck, 101, 501, 0, kEst, kOpen, -1, 1000}});
  EXPECT_EQ(Tcp().peer[0].scale, 7);
  EXPECT_EQ(Tcp().peer[1].scale, 7);
  EXPECT_EQ(Tcp().peer[1].max_end, 501U + 1000 * 128);
  EXPECT_EQ(Tcp().peer[0].max_end, 101U + 1000) << "the window of a SYN is never scaled";
}

TEST_F(TcpTest, WindowScaleOfferedByOneSide) {
  Play({{kC, kSyn, 100, 0, 0, kNew, kSynSent, -1, 1000, kScale7},
        {kS, kSynAckFlags, 500, 101, 0, kEstReply, kSynRecv, -1, 1000, kSackPermitted},
        {kC, kAck, 101, 501, 0, kEst, kOpen, -1, 1000}});
  EXPECT_EQ(Tcp().peer[0].scale, 0);
  EXPECT_EQ(Tcp().peer[1].max_end, 501U + 1000);
  Play({{kS, kAck, 501 + 3000, 101, 10, kInvalid, kOpen}});
}

TEST_F(TcpTest, ScaleAboveFourteenIsFourteen) {
  Play({{kC, kSyn, 100, 0, 0, kNew, kSynSent, -1, 1000, {1, 3, 3, 255}}});
  EXPECT_EQ(Tcp().peer[0].scale, 14);
}

TEST_F(TcpTest, SackWidensTheWindow) {
  Play({{kC, kSyn, 100, 0, 0, kNew, kSynSent, -1, 1000, kScaleAndSack},
        {kS, kSynAckFlags, 500, 101, 0, kEstReply, kSynRecv, -1, 1000, kScaleAndSack},
        {kC, kAck, 101, 501, 0, kEst, kOpen, -1, 1},
        {kC, kAck, 101, 501, 400, kEst, kOpen, -1, 1},
        {kC, kAck, 501, 501, 400, kEst, kOpen, -1, 1},
        // The first segment was lost, the second arrived.
        {kS, kAck, 501, 101, 0, kEstReply, kOpen, -1, 1, SackBlock(501, 901)}});
  EXPECT_EQ(Tcp().peer[0].max_end, 1101U) << "the first window is still the widest";
  EXPECT_EQ(Tcp().peer[1].max_window, 1000U);
  // 800 SACKed beyond the ACK and a window of 2 * 128 more: that much may have been sent.
  Play({{kS, kAck, 501, 101, 0, kEstReply, kOpen, -1, 2, SackBlock(501, 901)}});
  EXPECT_EQ(Tcp().peer[0].max_end, 901U + 256);
  EXPECT_EQ(Tcp().peer[1].max_window, 256U + 800);
}

TEST_F(TcpTest, SackOfWhatWasNeverSent) {
  Play({{kC, kSyn, 100, 0, 0, kNew, kSynSent, -1, 1000, kSackPermitted},
        {kS, kSynAckFlags, 500, 101, 0, kEstReply, kSynRecv, -1, 1000, kSackPermitted},
        {kC, kAck, 101, 501, 0, kEst, kOpen},
        {kS, kAck, 501, 101, 0, kInvalid, kOpen, -1, 1000, SackBlock(500, 600)}});
}

TEST_F(TcpTest, SackWithoutPermissionIsNotRead) {
  Play(kHandshake);
  Play({{kS, kAck, 501, 101, 0, kEstReply, kOpen, -1, 1000, SackBlock(500, 600)}});
}

// CONFORMANCE 7.
TEST_F(TcpTest, MidStreamPickup) {
  Play({
      {kC, kAck, 5000, 9000, 100, kNew, kOpen, 300},
      {kS, kAck, 9000, 5100, 0, kEstReply, kOpen, 300},
      {kC, kAck, 5100, 9000, 100, kEst, kOpen, 300},
      // The scaling is unknown: a window far beyond the visible one is believed.
      {kS, kAck, 9000 + 60000, 5200, 100, kEstReply, kOpen},
  });
  EXPECT_TRUE(Find()->Has(kAssured));
}

TEST_F(TcpTest, PickupRefused) {
  world.settings.tcp_loose = false;
  Play({{kC, kAck, 5000, 9000, 100, kInvalid, kNone}, {kC, kSyn, 100, 0, 0, kNew, kSynSent}});
}

TEST_F(TcpTest, BeLiberal) {
  Play(kHandshake);
  Play({{kC, kAck, 90001, 501, 100, kInvalid, kOpen}});
  world.settings.tcp_be_liberal = true;
  Play({{kC, kAck, 90001, 501, 100, kEst, kOpen, 432000}});
}

// CONFORMANCE 9.
TEST_F(TcpTest, RetransmissionsShortenTheTimeout) {
  Play(kHandshake);
  world.settings.tcp_timeout_unacknowledged = 350;
  Play({{kC, kAck, 101, 501, 100, kEst, kOpen, 350},
        {kC, kAck, 101, 501, 100, kEst, kOpen, 350},
        {kC, kAck, 101, 501, 100, kEst, kOpen, 350},
        {kC, kAck, 101, 501, 100, kEst, kOpen, 300},  // the third retransmission
        {kS, kAck, 501, 201, 0, kEstReply, kOpen, 432000}});
}

TEST_F(TcpTest, UnacknowledgedDataShortensTheTimeout) {
  Play(kHandshake);
  world.settings.tcp_timeout_unacknowledged = 77;
  Play({{kC, kAck, 101, 501, 100, kEst, kOpen, 77},
        {kC, kAck, 201, 501, 100, kEst, kOpen, 77},
        {kS, kAck, 501, 201, 0, kEstReply, kOpen, 77},  // only half of it
        {kS, kAck, 501, 301, 0, kEstReply, kOpen, 432000}});
}

TEST_F(TcpTest, ZeroWindowShortensTheTimeout) {
  Play(kHandshake);
  Play({{kS, kAck, 501, 101, 0, kEstReply, kOpen, 300, 0},
        {kS, kAck, 501, 101, 0, kEstReply, kOpen, 432000, 1000}});
}

TEST_F(TcpTest, UnansweredPickupDoesntStayForDays) {
  Play({{kC, kAck, 5000, 9000, 0, kNew, kOpen, 300}});
}

// Both ends are gone, out of step with the table: days become minutes.
TEST_F(TcpTest, StrayFinsFromBothSidesShortenTheTimeout) {
  Play(kHandshake);
  Play({{kC, kFinAck, 990101, 501, 0, kInvalid, kOpen, 432000 - 1},
        {kS, kFinAck, 990501, 101, 0, kInvalid, kOpen, 300}});
}

TEST_F(TcpTest, OptionsCutShort) {
  struct Row {
    test::Bytes options;
    bool sack;
    int scale;  // -1: none
  };
  const Row rows[] = {
      {{}, false, -1},
      {{3}, false, -1},
      {{3, 3}, false, -1},
      {{3, 2, 4, 2}, true, -1},   // a scale without a value
      {{3, 0, 4, 2}, false, -1},  // a length that can't be
      {{3, 1, 4, 2}, false, -1},
      {{3, 99, 4, 2}, false, -1},
      {{0, 3, 3, 7}, false, -1},  // behind the end
      {{1, 1, 1, 3, 3, 7}, false, 7},
      {{4, 3, 0, 3, 3, 2}, false, 2},  // SACK permitted of a wrong length
      {{8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2, 3, 3, 9}, true, 9},
  };
  for (const Row& row : rows) {
    const SynOptions options = ReadSynOptions(row.options);
    EXPECT_EQ(options.present, !row.options.empty());
    EXPECT_EQ(options.sack_permitted, row.sack);
    EXPECT_EQ(options.window_scale ? options.scale : -1, row.scale);
  }
  EXPECT_EQ(HighestSack(SackBlock(10, 20), 5), 20U);
  EXPECT_EQ(HighestSack(SackBlock(10, 20), 30), 30U);
  EXPECT_EQ(HighestSack(SackBlock(0xfffffff0, 3), 0xfffffff8), 3U);
  test::Bytes cut = SackBlock(10, 20);
  cut.pop_back();
  EXPECT_EQ(HighestSack(cut, 5), 5U);
  EXPECT_EQ(HighestSack(test::Bytes{5, 9, 0, 0, 0, 1, 0, 0, 0}, 5), 5U);
}

}  // namespace
}  // namespace postern::ctrack

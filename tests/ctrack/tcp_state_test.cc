#include "ctrack/tcp_table.h"
#include "tests/ctrack/tcp_fixture.h"

namespace postern::ctrack {
namespace {

TEST_F(TcpTest, OpensTalksAndCloses) {
  Play(kHandshake);
  EXPECT_TRUE(Find()->Has(kSeenReply));
  EXPECT_TRUE(Find()->Has(kAssured));
  Play({
      {kC, kAck, 101, 501, 100, kEst, kOpen, 300},  // unacknowledged
      {kS, kAck, 501, 201, 0, kEstReply, kOpen, 432000},
      {kC, kFinAck, 201, 501, 0, kEst, kFinWait, 120},
      {kS, kAck, 501, 202, 0, kEstReply, kCloseWait, 60},
      {kS, kFinAck, 501, 202, 0, kEstReply, kLastAck, 30},
      {kC, kAck, 202, 502, 0, kEst, kTimeWait, 120},
      {kS, kFinAck, 501, 202, 0, kEstReply, kTimeWait, 120},  // retransmitted
  });
  EXPECT_EQ(world.observer.closed.size(), 1U);
  world.Pass(121);
  EXPECT_EQ(Find(), nullptr);
}

TEST_F(TcpTest, BothFinsAtOnce) {
  Play(kHandshake);
  Play({
      {kC, kFinAck, 101, 501, 0, kEst, kFinWait, 120},
      {kS, kFinAck, 501, 101, 0, kEstReply, kLastAck, 30},
      {kC, kAck, 102, 502, 0, kEst, kTimeWait, 120},
      {kS, kAck, 502, 102, 0, kEstReply, kTimeWait, 120},
  });
}

TEST_F(TcpTest, EveryStateHasItsDefaultTimeout) {
  const std::array<uint32_t, 10> expected = {0, 120, 60, 432000, 120, 60, 30, 120, 10, 120};
  EXPECT_EQ(Settings{}.tcp_timeout, expected);
  EXPECT_EQ(Settings{}.tcp_timeout_max_retrans, 300U);
  EXPECT_EQ(Settings{}.tcp_timeout_unacknowledged, 300U);
}

TEST_F(TcpTest, FlagCombinations) {
  for (unsigned flags = 0; flags < 256; ++flags) {
    const unsigned core = flags & 0x37;  // URG ACK RST SYN FIN
    const bool good = core == 0x02 || core == 0x22 || core == 0x12 || core == 0x04 ||
                      core == 0x14 || core == 0x11 || core == 0x31 || core == 0x10 || core == 0x30;
    EXPECT_EQ(TcpFlagsValid(static_cast<uint8_t>(flags)), good) << flags;
  }
  Play(kHandshake);
  Play({
      {kC, 0, 101, 501, 0, kInvalid, kOpen},
      {kC, 0x03, 101, 501, 0, kInvalid, kOpen},  // SYN FIN
      {kC, 0x29, 101, 501, 0, kInvalid, kOpen},  // FIN PSH URG
      {kC, 0x3f, 101, 501, 0, kInvalid, kOpen},
  });
}

TEST_F(TcpTest, FirstPacketsThatBeginNothing) {
  Play({
      {kC, kSynAckFlags, 100, 1, 0, kInvalid, kNone},
      {kC, kRst, 100, 0, 0, kInvalid, kNone},
      {kC, kRstAck, 100, 1, 0, kInvalid, kNone},
      {kC, kFinAck, 100, 1, 0, kInvalid, kNone},
  });
  EXPECT_EQ(world.shared.entries.load(), 0U);
  EXPECT_EQ(world.pool.used(), 0U);
  EXPECT_EQ(world.tracker.stats().invalid, 4U);
}

// CONFORMANCE 1.
TEST_F(TcpTest, ExactRstCloses) {
  Play(kHandshake);
  Play({{kS, kAck, 501, 101, 0, kEstReply, kOpen}, {kC, kRst, 101, 0, 0, kEst, kClose, 10}});
  EXPECT_EQ(world.observer.closed.size(), 1U);
}

TEST_F(TcpTest, InexactRstInTheWindowLeavesEstablished) {
  Play(kHandshake);
  Play({
      {kS, kAck, 501, 101, 0, kEstReply, kOpen},
      // The timeout becomes CLOSE's until the challenge ACK puts it right; the bytes up to 301 then
      // count as sent and not acknowledged.
      {kC, kRst, 301, 0, 0, kEst, kOpen, 10},
      {kS, kAck, 501, 101, 0, kEstReply, kOpen, 300},
      {kC, kAck, 101, 501, 200, kEst, kOpen, 300},
      {kS, kAck, 501, 301, 0, kEstReply, kOpen, 432000},
  });
}

TEST_F(TcpTest, RstBelowWhatWasAcknowledgedIsInvalid) {
  Play(kHandshake);
  Play({
      {kC, kAck, 101, 501, 100, kEst, kOpen},
      {kS, kAck, 501, 201, 0, kEstReply, kOpen},
      {kC, kRst, 150, 0, 0, kInvalid, kOpen, 432000 - 1},
  });
  world.settings.tcp_ignore_invalid_rst = true;
  Play({{kC, kRst, 150, 0, 0, kEst, kOpen, 10}});
}

TEST_F(TcpTest, RstOutsideTheWindowIsInvalid) {
  Play(kHandshake);
  Play({{kS, kAck, 501, 101, 0, kEstReply, kOpen}, {kC, kRst, 101 + 5000, 0, 0, kInvalid, kOpen}});
}

TEST_F(TcpTest, RstAtTheEndOfATrainCloses) {
  Play(kHandshake);
  Play({{kS, kAck, 501, 101, 0, kEstReply, kOpen},
        {kC, kAck, 101, 501, 19, kEst, kOpen},
        {kC, kRstAck, 120, 501, 0, kEst, kClose, 10}});
}

TEST_F(TcpTest, AnyRstClosesAClosingConnection) {
  Play(kHandshake);
  Play({{kC, kFinAck, 101, 501, 0, kEst, kFinWait},
        {kS, kRst, 4000000000, 0, 0, kEstReply, kClose, 10}});
}

TEST_F(TcpTest, RefusedConnectionLeavesNothing) {
  Play({{kC, kSyn, 100, 0, 0, kNew, kSynSent, 120}, {kS, kRstAck, 0, 101, 0, kEstReply, kNone}});
  EXPECT_EQ(world.observer.Count(ConnEvent::kDestroy), 1U);
  EXPECT_EQ(world.shared.entries.load(), 0U);
  EXPECT_EQ(world.pool.used(), 1U) << "the RST is still to be translated";
  world.tracker.Reap();
  EXPECT_EQ(world.pool.used(), 0U);
}

// CONFORMANCE 2.
TEST_F(TcpTest, SynOnEstablishedChallengeAckRstThenANewConnection) {
  Play(kHandshake);
  const uint32_t old_id = Find()->id;
  Play({
      {kC, kAck, 101, 501, 10, kEst, kOpen},
      {kS, kAck, 501, 111, 0, kEstReply, kOpen},
      {kC, kSyn, 70000, 0, 0, kEst, kOpen},       // let through
      {kS, kAck, 501, 111, 0, kEstReply, kOpen},  // challenge
      {kC, kRst, 111, 0, 0, kEst, kClose, 10},
      {kC, kSyn, 70000, 0, 0, kNew, kSynSent, 120},
      {kS, kSynAckFlags, 9000, 70001, 0, kEstReply, kSynRecv, 60},
      {kC, kAck, 70001, 9001, 0, kEst, kOpen, 432000},
  });
  EXPECT_NE(Find()->id, old_id);
  EXPECT_EQ(world.observer.Count(ConnEvent::kNew), 2U);
  EXPECT_EQ(world.observer.Count(ConnEvent::kDestroy), 1U);
}

TEST_F(TcpTest, ServerThatForgotAnswersASynWithASynAck) {
  Play(kHandshake);
  Play({
      {kC, kSyn, 70000, 0, 0, kEst, kOpen},
      {kS, kSynAckFlags, 9000, 70001, 0, kEstReply, kSynRecv, 60},
      {kC, kAck, 70001, 9001, 0, kEst, kOpen, 432000},
  });
}

TEST_F(TcpTest, SynInTimeWaitReopens) {
  Play(kHandshake);
  Play({
      {kC, kFinAck, 101, 501, 0, kEst, kFinWait},
      {kS, kFinAck, 501, 102, 0, kEstReply, kLastAck},
      {kC, kAck, 102, 502, 0, kEst, kTimeWait},
  });
  const uint32_t old_id = Find()->id;
  Play({{kC, kSyn, 90000, 0, 0, kNew, kSynSent, 120}});
  EXPECT_NE(Find()->id, old_id);
  EXPECT_EQ(world.tracker.size(), 1U);
}

TEST_F(TcpTest, ServerMayReopenFromTimeWaitInTheOtherDirection) {
  Play(kHandshake);
  Play({
      {kC, kFinAck, 101, 501, 0, kEst, kFinWait},
      {kS, kFinAck, 501, 102, 0, kEstReply, kLastAck},
      {kC, kAck, 102, 502, 0, kEst, kTimeWait},
  });
  const Seen seen = world.Send(TcpPacket(kS, kSyn, 90000, 0));
  EXPECT_EQ(seen.info, kNew);
  ASSERT_NE(seen.connection, nullptr);
  EXPECT_EQ(seen.connection->original().source_key, 80);
}

// RFC 5961 in LAST_ACK: the ACK that answers a stray SYN doesn't acknowledge the FIN.
TEST_F(TcpTest, ChallengeAckInLastAckChangesNothing) {
  Play(kHandshake);
  Play({
      {kC, kFinAck, 101, 501, 0, kEst, kFinWait},
      {kS, kFinAck, 501, 102, 0, kEstReply, kLastAck, 30},
      {kC, kSyn, 80000, 0, 0, kEst, kLastAck},
      {kS, kAck, 502, 102, 0, kEstReply, kLastAck},
      {kC, kAck, 102, 502, 0, kEst, kTimeWait, 120},
  });
}

// CONFORMANCE 3.
TEST_F(TcpTest, StaleSynAckDoesntWedgeTheNewAttempt) {
  Play({
      {kC, kSyn, 100, 0, 0, kNew, kSynSent},
      // A SYN/ACK for an attempt long gone: it acknowledges what we never saw.
      {kS, kSynAckFlags, 7000, 50101, 0, kInvalid, kSynSent},
      {kC, kRst, 50101, 0, 0, kInvalid, kSynSent},
      {kC, kSyn, 100, 0, 0, kNew, kSynSent},
      // The server's numbers rise with time, so the right one is above the stale one.
      {kS, kSynAckFlags, 9000, 101, 0, kEstReply, kSynRecv, 60},
      {kC, kAck, 101, 9001, 0, kEst, kOpen, 432000},
  });
}

TEST_F(TcpTest, HalfOpenServerIsReset) {
  Play({
      {kC, kSyn, 100, 0, 0, kNew, kSynSent},
      {kS, kAck, 60000, 70000, 0, kEstReply, kSynSent},  // challenge ACK, ignored
      {kC, kRst, 70000, 0, 0, kEst, kClose, 10},
      {kC, kSyn, 100, 0, 0, kNew, kSynSent, 120},
  });
}

// CONFORMANCE 5.
TEST_F(TcpTest, SimultaneousOpen) {
  Play({
      {kC, kSyn, 100, 0, 0, kNew, kSynSent, 120},
      {kS, kSyn, 500, 0, 0, kEstReply, kSynSent2, 119},  // a SYN that refreshes nothing
      {kC, kSynAckFlags, 100, 501, 0, kEst, kSynRecv, 60},
      {kS, kSynAckFlags, 500, 101, 0, kEstReply, kSynRecv},
      {kS, kAck, 501, 101, 0, kEstReply, kOpen, 432000},
      {kC, kAck, 101, 501, 10, kEst, kOpen},
  });
  EXPECT_TRUE(Find()->Has(kAssured));
}

TEST_F(TcpTest, SplitHandshake) {
  Play({
      {kC, kSyn, 100, 0, 0, kNew, kSynSent},
      {kS, kSyn, 500, 0, 0, kEstReply, kSynSent2},
      {kC, kSynAckFlags, 100, 501, 0, kEst, kSynRecv},
      {kS, kAck, 501, 101, 0, kEstReply, kOpen, 432000},
  });
}

// CONFORMANCE 8.
TEST_F(TcpTest, RetransmittedSynsDontRefresh) {
  Play({{kC, kSyn, 100, 0, 0, kNew, kSynSent, 120}});
  for (int i = 0; i < 3; ++i) {
    world.Pass(30);
    EXPECT_EQ(world.Send(TcpPacket(kC, kSyn, 100, 0)).info, kNew);
  }
  EXPECT_EQ(world.Left(*Find()), 30U);
  world.Pass(31);
  EXPECT_EQ(Find(), nullptr);
  EXPECT_EQ(world.Send(TcpPacket(kC, kSyn, 100, 0)).info, kNew);
  EXPECT_EQ(world.Left(*Find()), 120U);
}

TEST_F(TcpTest, EventsTellTheStory) {
  Play(kHandshake);
  EXPECT_EQ(world.observer.Count(ConnEvent::kNew), 1U);
  ASSERT_EQ(world.observer.events.size(), 3U);
  EXPECT_EQ(world.observer.events[1].changes, uint32_t{kChangeReply | kChangeProtoInfo});
  EXPECT_EQ(world.observer.events[2].changes, uint32_t{kChangeAssured | kChangeProtoInfo});
  Play({{kC, kAck, 101, 501, 0, kEst, kOpen}});
  EXPECT_EQ(world.observer.events.size(), 3U);
}

TEST_F(TcpTest, BadChecksumIsInvalidAtPreroutingOnly) {
  test::Packet bad = TcpPacket(kC, kSyn, 100, 0);
  bad.BadChecksum();
  EXPECT_EQ(world.Send(bad).info, kInvalid);
  EXPECT_EQ(world.Send(bad, net::Hook::kOutput).info, kNew);
  world.settings.checksum = false;
  EXPECT_EQ(world.Send(bad).info, kNew);
}

}  // namespace
}  // namespace postern::ctrack

#include "ctrack/sctp_tracking.h"

#include <string>
#include <vector>

#include "ctrack/sctp_table.h"
#include "tests/ctrack/fixture.h"

namespace postern::ctrack {
namespace {

using test::Bytes;

constexpr CtInfo kNew = CtInfo::kNew;
constexpr CtInfo kEst = CtInfo::kEstablished;
constexpr CtInfo kReply = CtInfo::kEstablishedReply;
constexpr CtInfo kInvalid = CtInfo::kInvalid;
constexpr Direction kC = Direction::kOriginal;  // the client speaks
constexpr Direction kS = Direction::kReply;     // the server speaks
constexpr uint8_t kTBit = 1;

void Append16(Bytes* bytes, uint16_t value) {
  bytes->push_back(static_cast<uint8_t>(value >> 8));
  bytes->push_back(static_cast<uint8_t>(value));
}
void Append32(Bytes* bytes, uint32_t value) {
  Append16(bytes, static_cast<uint16_t>(value >> 16));
  Append16(bytes, static_cast<uint16_t>(value));
}

struct TestChunk {
  uint8_t type;
  uint32_t init_tag = 0;  // of INIT and INIT ACK
  uint8_t flags = 0;
};

test::Packet SctpPacket(Direction from, uint32_t tag, const std::vector<TestChunk>& chunks) {
  Bytes bytes;
  Append16(&bytes, from == kC ? 1000 : 80);
  Append16(&bytes, from == kC ? 80 : 1000);
  Append32(&bytes, tag);
  Append32(&bytes, 0);
  for (const TestChunk& chunk : chunks) {
    const bool init = chunk.type == kSctpInit || chunk.type == kSctpInitAck;
    bytes.push_back(chunk.type);
    bytes.push_back(chunk.flags);
    Append16(&bytes, init ? 20 : 4);
    if (!init) continue;
    for (const uint32_t word : {chunk.init_tag, 65536U, 0x00010001U, 1U}) Append32(&bytes, word);
  }
  const auto crc = net::SctpChecksum(bytes.data(), bytes.size());
  std::copy(crc.begin(), crc.end(), bytes.begin() + 8);
  test::Packet packet;
  if (from == kC) {
    packet.Ipv4(kClient, kServer);
  } else {
    packet.Ipv4(kServer, kClient);
  }
  return packet.Raw(net::kProtoSctp).Payload(bytes);
}

struct SctpRow {
  Direction from;
  uint32_t tag;
  std::vector<TestChunk> chunks;
  CtInfo info;
  SctpState state = SctpState::kNone;  // afterwards, where the packet isn't INVALID
  uint64_t timeout = 0;                // seconds left afterwards
};

class SctpTest : public testing::Test {
 protected:
  void Play(const std::vector<SctpRow>& rows) {
    size_t number = 0;
    for (const SctpRow& row : rows) {
      SCOPED_TRACE("row " + std::to_string(++number));
      const Seen seen = world.Send(SctpPacket(row.from, row.tag, row.chunks));
      ASSERT_EQ(seen.info, row.info);
      if (seen.connection == nullptr) continue;
      connection = seen.connection;
      EXPECT_EQ(ToString(connection->protocol.sctp.state), ToString(row.state));
      EXPECT_EQ(world.Left(*connection), row.timeout);
      world.Pass(1);
    }
  }
  World world;
  Connection* connection = nullptr;
};

const std::vector<SctpRow> kOpening = {
    {kC, 0, {{kSctpInit, 11}}, kNew, SctpState::kClosed, 10},
    {kS, 11, {{kSctpInitAck, 22}}, kReply, SctpState::kCookieWait, 3},
    {kC, 22, {{kSctpCookieEcho}, {kSctpData}}, kEst, SctpState::kCookieEchoed, 3},
    {kS, 11, {{kSctpCookieAck}}, kReply, SctpState::kEstablished, 210},
};

TEST_F(SctpTest, OpensTalksAndShutsDown) {
  Play(kOpening);
  EXPECT_TRUE(connection->Has(kAssured));
  Play({
      {kC, 22, {{kSctpData}}, kEst, SctpState::kEstablished, 210},
      {kS, 11, {{kSctpShutdown}}, kReply, SctpState::kShutdownReceived, 3},
      {kC, 22, {{kSctpShutdownAck}}, kEst, SctpState::kShutdownAckSent, 3},
      {kS, 11, {{kSctpShutdownComplete}}, kReply, SctpState::kClosed, 10},
  });
}

TEST_F(SctpTest, WrongTagsAreInvalidAndChangeNothing) {
  Play(kOpening);
  Play({
      {kC, 23, {{kSctpData}}, kInvalid},
      {kC, 23, {{kSctpAbort}}, kInvalid},
      {kC, 22, {{kSctpAbort, 0, kTBit}}, kInvalid},
      {kC, 22, {{kSctpInit, 5}}, kInvalid},
      {kS, 22, {{kSctpShutdown}}, kInvalid},
      {kC, 22, {{kSctpData}}, kEst, SctpState::kEstablished, 210},
      {kC, 11, {{kSctpAbort, 0, kTBit}}, kEst, SctpState::kClosed, 10},
  });
}

TEST_F(SctpTest, WhatBeginsNothing) {
  Play({
      {kC, 0, {}, kInvalid},
      {kC, 1, {{kSctpData}}, kInvalid},
      {kC, 1, {{kSctpAbort}}, kInvalid},
      {kC, 1, {{kSctpCookieAck}}, kInvalid},
      {kC, 1, {{kSctpShutdownComplete}}, kInvalid},
      {kC, 1, {{kSctpInit, 5}}, kInvalid},
      {kC, 0, {{kSctpInit, 5}, {kSctpData}}, kInvalid},
      {kC, 0, {{kSctpData}, {kSctpInit, 5}}, kInvalid},
  });
}

TEST_F(SctpTest, RepeatedInitKeepsNoEntryAlive) {
  Play({{kC, 0, {{kSctpInit, 11}}, kNew, SctpState::kClosed, 10},
        {kC, 0, {{kSctpInit, 11}}, kNew, SctpState::kClosed, 9},
        {kC, 0, {{kSctpInit, 12}}, kNew, SctpState::kClosed, 8}});
}

TEST_F(SctpTest, HeartbeatOnAnotherPath) {
  Play({
      {kC, 22, {{kSctpHeartbeat}}, kNew, SctpState::kHeartbeatSent, 30},
      {kS, 11, {{kSctpHeartbeatAck}}, kReply, SctpState::kEstablished, 210},
      {kC, 22, {{kSctpData}}, kEst, SctpState::kEstablished, 210},
      // The association was restarted with other tags: the answer makes the new one known.
      {kC, 33, {{kSctpHeartbeat}}, kEst, SctpState::kEstablished, 209},
      {kC, 33, {{kSctpData}}, kInvalid},
      {kC, 33, {{kSctpHeartbeatAck}}, kInvalid},
      {kS, 44, {{kSctpHeartbeatAck}}, kReply, SctpState::kEstablished, 210},
      {kC, 33, {{kSctpHeartbeat}}, kEst, SctpState::kEstablished, 210},
  });
}

TEST_F(SctpTest, ShuttingDownGoesFirstWhenTheTableIsFull) {
  EXPECT_TRUE(IsClosing(SctpState::kShutdownSent));
  EXPECT_TRUE(IsClosing(SctpState::kShutdownReceived));
  EXPECT_TRUE(IsClosing(SctpState::kShutdownAckSent));
  EXPECT_FALSE(IsClosing(SctpState::kEstablished));
  EXPECT_FALSE(IsClosing(SctpState::kClosed));
}

}  // namespace
}  // namespace postern::ctrack

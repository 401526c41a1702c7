// TCP scenarios as rows: who sends what, and what conntrack makes of it.
#pragma once

#include <optional>
#include <span>

#include "tests/ctrack/fixture.h"

namespace postern::ctrack {

inline constexpr uint8_t kSyn = net::kTcpSyn;
inline constexpr uint8_t kSynAckFlags = net::kTcpSyn | net::kTcpAck;
inline constexpr uint8_t kAck = net::kTcpAck;
inline constexpr uint8_t kFinAck = net::kTcpFin | net::kTcpAck;
inline constexpr uint8_t kRst = net::kTcpRst;
inline constexpr uint8_t kRstAck = net::kTcpRst | net::kTcpAck;

// Short names for the columns.
inline constexpr CtInfo kNew = CtInfo::kNew;
inline constexpr CtInfo kEst = CtInfo::kEstablished;
inline constexpr CtInfo kEstReply = CtInfo::kEstablishedReply;
inline constexpr CtInfo kInvalid = CtInfo::kInvalid;
inline constexpr TcpState kNone = TcpState::kNone;
inline constexpr TcpState kSynSent = TcpState::kSynSent;
inline constexpr TcpState kSynRecv = TcpState::kSynRecv;
inline constexpr TcpState kOpen = TcpState::kEstablished;
inline constexpr TcpState kFinWait = TcpState::kFinWait;
inline constexpr TcpState kCloseWait = TcpState::kCloseWait;
inline constexpr TcpState kLastAck = TcpState::kLastAck;
inline constexpr TcpState kTimeWait = TcpState::kTimeWait;
inline constexpr TcpState kClose = TcpState::kClose;
inline constexpr TcpState kSynSent2 = TcpState::kSynSent2;

inline constexpr Direction kC = Direction::kOriginal;  // the client speaks
inline constexpr Direction kS = Direction::kReply;     // the server speaks

struct TcpRow {
  Direction from;
  uint8_t flags;
  uint32_t seq;
  uint32_t ack;
  uint32_t length;  // of the payload
  CtInfo info;
  TcpState state;        // afterwards
  int64_t timeout = -1;  // seconds left afterwards; -1: not looked at
  uint16_t window = 1000;
  test::Bytes options = {};
};

inline test::Packet TcpPacket(Direction from, uint8_t flags, uint32_t seq, uint32_t ack,
                              uint32_t length = 0, uint16_t window = 1000) {
  test::Packet packet;
  if (from == kC) {
    packet.Ipv4(kClient, kServer).Tcp(40000, 80, flags);
  } else {
    packet.Ipv4(kServer, kClient).Tcp(80, 40000, flags);
  }
  return packet.Seq(seq).Ack(ack).Window(window).PayloadLength(length);
}

// The client's initial sequence number is 100, the server's 500.
inline const std::vector<TcpRow> kHandshake = {
    {kC, kSyn, 100, 0, 0, kNew, kSynSent, 120},
    {kS, kSynAckFlags, 500, 101, 0, kEstReply, kSynRecv, 60},
    {kC, kAck, 101, 501, 0, kEst, kOpen, 432000},
};

class TcpTest : public testing::Test {
 protected:
  Connection* Find() {
    Direction direction;
    net::Tuple tuple;
    tuple.source = *net::ParseAddress(net::Family::kIpv4, kClient);
    tuple.destination = *net::ParseAddress(net::Family::kIpv4, kServer);
    tuple.source_key = 40000;
    tuple.destination_key = 80;
    tuple.protocol = net::kProtoTcp;
    return world.tracker.Find(tuple, &direction, world.now);
  }
  TcpTracking& Tcp() { return Find()->protocol.tcp; }

  // Sends the rows 10 ms apart. A state of kNone means: no such connection afterwards.
  void Play(const std::vector<TcpRow>& rows) {
    size_t number = 0;
    for (const TcpRow& row : rows) {
      SCOPED_TRACE("row " + std::to_string(++number));
      world.Pass(0.01);
      test::Packet packet =
          TcpPacket(row.from, row.flags, row.seq, row.ack, row.length, row.window);
      packet.TcpOptions(row.options);
      const Seen seen = world.Send(packet);
      EXPECT_EQ(seen.info, row.info);
      const Connection* connection = Find();
      if (row.state == TcpState::kNone) {
        EXPECT_EQ(connection, nullptr);
        continue;
      }
      ASSERT_NE(connection, nullptr);
      EXPECT_EQ(connection->protocol.tcp.state, row.state);
      if (row.timeout < 0) continue;
      EXPECT_EQ(world.Left(*connection), static_cast<uint64_t>(row.timeout));
    }
  }

  World world;
};

}  // namespace postern::ctrack

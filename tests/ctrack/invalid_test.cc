// What is said of packets that are INVALID or only pass. tests/differential/invalid_log.py compares
// the lines with the kernel's.
#include "ctrack/invalid.h"

#include "tests/ctrack/tcp_fixture.h"

namespace postern::ctrack {
namespace {

using Why = InvalidWhy;
using test::Packet;

Packet ToServer() { return Packet().Ipv4(kClient, kServer); }
Packet ToServer6() { return Packet().Ipv6("2001:db8::1", "2001:db8::2"); }

struct Row {
  const char* what;
  Packet packet;
  Why why;
};

TEST(InvalidNote, OfAFirstPacket) {
  const Row rows[] = {
      {"valid", ClientUdp(), Why::kNone},
      {"a segment without its header", ToServer().Raw(net::kProtoTcp).PayloadLength(19),
       Why::kNone},
      {"a header longer than the segment", ToServer().Tcp(1, 80, kSyn).TcpOffsetAs(6),
       Why::kTruncated},
      {"TCP", ToServer().Tcp(1, 80, kSyn).BadChecksum(), Why::kChecksum},
      {"SYN and FIN", ToServer().Tcp(1, 80, net::kTcpSyn | net::kTcpFin), Why::kTcpFlags},
      {"FIN of nothing", ToServer().Tcp(1, 80, kFinAck), Why::kTcpNew},
      {"too short for ports", ToServer().Raw(net::kProtoUdp).PayloadLength(3), Why::kNone},
      {"ports alone", ToServer().Raw(net::kProtoUdp).PayloadLength(7), Why::kShort},
      {"a length beyond the datagram", ClientUdp().UdpLengthAs(14), Why::kTruncated},
      {"UDP", ClientUdp().BadChecksum(), Why::kChecksum},
      {"UDP-Lite without a checksum", ToServer().UdpLite(1, 2).NoUdpChecksum(),
       Why::kChecksumMissing},
      {"UDP-Lite covers too much", ToServer().UdpLite(1, 2).UdpLengthAs(9), Why::kCoverage},
      {"half an ICMP header", ToServer().Raw(net::kProtoIcmp).PayloadLength(7), Why::kShort},
      {"half an ICMPv6 header", ToServer6().Raw(net::kProtoIcmpv6).PayloadLength(7), Why::kShort},
      {"another family's ICMP", ToServer6().Raw(net::kProtoIcmp).PayloadLength(7), Why::kNone},
      {"ICMP", ToServer().Icmp(8).BadChecksum(), Why::kChecksum},
      {"ICMP type 19", ToServer().Icmp(19), Why::kIcmpType},
      {"an answer to nothing", ToServer().Icmp(0), Why::kNone},
      {"half a redirect", ToServer6().Icmpv6(137).PayloadLength(31), Why::kRedirectShort},
      {"a redirect from afar", ToServer6().Icmpv6(137).PayloadLength(40), Why::kRedirectSource},
      {"a redirect without options",
       Packet().Ipv6("fe80::1", "2001:db8::2").Ttl(255).Icmpv6(137).PayloadLength(32),
       Why::kRedirectOptions},
      {"half an SCTP header", ToServer().Raw(net::kProtoSctp).PayloadLength(11), Why::kShort},
  };
  for (const Row& row : rows) {
    World world;
    world.Send(row.packet);
    EXPECT_EQ(world.tracker.note().why, row.why) << row.what;
    EXPECT_EQ(world.tracker.note().then, Why::kNone) << row.what;
  }
}

TEST(InvalidNote, OfAnErrorToSomebodyElse) {
  World world;
  world.Send(ClientUdp());
  world.Send(Packet().Ipv4("203.0.113.7", "192.0.2.99").Icmp(3, 1).Quote(ClientUdp().Frame()));
  EXPECT_EQ(world.tracker.note().why, Why::kOuterDestination);
  EXPECT_EQ(net::ToString(net::Family::kIpv4, world.tracker.note().address), kClient);
}

// After the handshake: client 101 and window 1000, server 501 and window 1000.
struct TcpCase {
  const char* what;
  TcpRow row;
  Why why;
  uint32_t number;
};

class InvalidTcpTest : public TcpTest {
 protected:
  const InvalidNote& NoteOf(const TcpRow& row) {
    world.Send(TcpPacket(row.from, row.flags, row.seq, row.ack, row.length, row.window));
    return world.tracker.note();
  }
};

TEST_F(InvalidTcpTest, OfASegmentBesideTheWindow) {
  const TcpCase cases[] = {
      {"data", {kC, kAck, 101, 501, 10, kEst, kOpen}, Why::kNone, 0},
      {"above", {kC, kAck, 9000, 501, 10, kInvalid, kOpen}, Why::kTcpSeqOver, 1102},
      {"acknowledges what wasn't sent",
       {kC, kAck, 101, 900, 0, kInvalid, kOpen},
       Why::kTcpAckOver,
       502},
      {"long acknowledged", {kC, kAck, 0xf0000000, 501, 0, kEst, kOpen}, Why::kTcpSeqUnder, 0},
      {"an old acknowledgement",
       {kC, kAck, 111, 501U - 70000U, 0, kEst, kOpen},
       Why::kTcpAckUnder,
       0},
  };
  Play(kHandshake);
  for (const TcpCase& one : cases) {
    const InvalidNote note = NoteOf(one.row);
    EXPECT_EQ(note.why, one.why) << one.what;
    if (one.number != 0) {
      EXPECT_EQ(note.number, one.number) << one.what;
    }
  }
}

TEST_F(InvalidTcpTest, OfASegmentThatTheStateDoesNotTake) {
  Play({kHandshake[0]});
  InvalidNote note = NoteOf({kC, kAck, 101, 501, 0, kInvalid, kSynSent});
  EXPECT_EQ(note.why, Why::kTcpInvalid);
  EXPECT_EQ(note.event, 3);
  EXPECT_EQ(note.direction, 0);
  EXPECT_EQ(note.state, static_cast<uint8_t>(kSynSent));
  note = NoteOf({kS, kAck, 700, 7, 0, kEstReply, kSynSent});
  EXPECT_EQ(note.why, Why::kTcpIgnored);
  EXPECT_EQ(note.direction, 1);
}

TEST_F(InvalidTcpTest, OfAResetThatIsTooOld) {
  Play(kHandshake);
  EXPECT_EQ(NoteOf({kS, kRst, 400, 0, 0, kInvalid, kOpen}).why, Why::kTcpReset);
}

TEST_F(InvalidTcpTest, OfTwoEndsThatAreOutOfStep) {
  Play(kHandshake);
  EXPECT_EQ(NoteOf({kC, kFinAck, 90000, 501, 0, kInvalid, kOpen}).then, Why::kNone);
  const InvalidNote note = NoteOf({kS, kFinAck, 90000, 101, 0, kInvalid, kOpen});
  EXPECT_EQ(note.why, Why::kTcpSeqOver);
  EXPECT_EQ(note.then, Why::kTcpShortened);
  EXPECT_EQ(NoteOf({kC, kAck, 101, 501, 0, kEst, kOpen}).why, Why::kNone);
}

TEST_F(InvalidTcpTest, NothingWhereWindowsAreTakenLiberally) {
  world.settings.tcp_be_liberal = true;
  Play(kHandshake);
  EXPECT_EQ(NoteOf({kC, kAck, 9000, 501, 10, kEst, kOpen}).why, Why::kNone);
}

}  // namespace
}  // namespace postern::ctrack

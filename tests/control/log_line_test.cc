// LOG's line. Expected lines have the form that Linux 6's nf_log_syslog gave for the same packets
// (nf_log_all_netns, a LOG rule in a namespace).
#include "control/log_line.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "control/log_writer.h"
#include "tests/control/folder.h"
#include "tests/support/packet_builder.h"

namespace postern::control {
namespace {

using test::Bytes;
using test::Packet;

const std::vector<std::string> kPorts = {"wan0", "lan0"};
constexpr uint16_t kEthernet = 14;

pipeline::LogRecord Record(const Bytes& frame, net::PortId in, net::PortId out,
                           uint8_t options = 0) {
  pipeline::LogRecord record;
  std::strcpy(record.prefix, "P: ");
  record.in = in;
  record.out = out;
  record.options = options;
  record.l3_offset = kEthernet;
  record.family = frame[12] == 0x08 ? net::Family::kIpv4 : net::Family::kIpv6;
  record.l3_length = static_cast<uint32_t>(frame.size()) - kEthernet;
  record.captured = static_cast<uint16_t>(std::min(frame.size(), pipeline::LogRecord::kMaxBytes));
  std::memcpy(record.bytes, frame.data(), record.captured);
  return record;
}

Packet Base() {
  return Packet()
      .Eth("02:00:00:00:00:01", "02:00:00:00:00:02")
      .Ipv4("192.0.2.1", "198.51.100.2")
      .Ttl(64)
      .Id(55014);
}
Packet Base6() {
  return Packet()
      .Eth("02:00:00:00:00:01", "02:00:00:00:00:02")
      .Ipv6("2001:db8::1", "2001:db8::2")
      .Ttl(64);
}

constexpr char kMac[] = "MAC=02:00:00:00:00:02:02:00:00:00:00:01:08:00 ";
constexpr char kMac6[] = "MAC=02:00:00:00:00:02:02:00:00:00:00:01:86:dd ";
constexpr char kAddresses[] = "SRC=192.0.2.1 DST=198.51.100.2 ";
constexpr char kAddresses6[] =
    "SRC=2001:0db8:0000:0000:0000:0000:0000:0001 DST=2001:0db8:0000:0000:0000:0000:0000:0002 ";

TEST(LogLine, TcpSyn) {
  const Bytes frame = Base().DontFragment().Tcp(50592, 999, net::kTcpSyn).Window(65495).Frame();
  EXPECT_EQ(FormatLogLine(Record(frame, 0, 1), kPorts),
            std::string("P: IN=wan0 OUT=lan0 ") + kMac + kAddresses +
                "LEN=40 TOS=0x00 PREC=0x00 TTL=64 ID=55014 DF PROTO=TCP SPT=50592 DPT=999 "
                "WINDOW=65495 RES=0x00 SYN URGP=0 ");
}

struct InvalidRow {
  ctrack::InvalidNote note;
  uint8_t protocol;
  const char* prefix;
};

// The kernel's words; the blanks are its own.
TEST(LogLine, OfAPacketThatConntrackFindsInvalid) {
  using Why = ctrack::InvalidWhy;
  const InvalidRow rows[] = {
      {{.why = Why::kChecksum}, 6, "nf_ct_proto_6: bad checksum "},
      {{.why = Why::kChecksum}, 1, "nf_ct_proto_1: bad hw icmp checksum "},
      {{.why = Why::kChecksum}, 58, "nf_ct_proto_58: ICMPv6 checksum failed "},
      {{.why = Why::kChecksum}, 132, "nf_ct_proto_132: nf_ct_sctp: bad CRC  "},
      {{.why = Why::kTruncated}, 6, "nf_ct_proto_6: truncated packet "},
      {{.why = Why::kTruncated}, 17, "nf_ct_proto_17: truncated/malformed packet "},
      {{.why = Why::kTcpNew}, 6, "nf_ct_proto_6: invalid new "},
      {{.why = Why::kTcpInvalid, .direction = 1, .state = 3, .event = 0},
       6,
       "nf_ct_proto_6: packet (index 0) in dir 1 invalid, state ESTABLISHED "},
      {{.why = Why::kTcpIgnored, .direction = 0, .state = 2, .event = 3},
       6,
       "nf_ct_proto_6: packet (index 3) in dir 0 ignored, state SYN_RECV "},
      {{.why = Why::kTcpSeqOver, .number = 4000000000},
       6,
       "nf_ct_proto_6: SEQ is over upper bound 4000000000 (over the window of the receiver) "},
      {{.why = Why::kTcpShortened}, 6, "nf_ct_proto_6: lowered timeout to UNACK "},
      {{.why = Why::kSctpTag, .direction = 1, .number = 0xab, .wanted = 0x12345678},
       132,
       "nf_ct_proto_132: verification tag check failed ab vs 12345678 for dir 1 "},
  };
  const Bytes frame = Base().Udp(1, 2).Frame();
  for (const InvalidRow& row : rows) {
    pipeline::LogRecord record = Record(frame, 0, net::kNoPort);
    record.prefix[0] = '\0';
    record.invalid = row.note;
    record.protocol = row.protocol;
    EXPECT_TRUE(FormatLogLine(record, kPorts).starts_with(std::string(row.prefix) + "IN=wan0 "))
        << FormatLogLine(record, kPorts);
  }
}

TEST(LogLine, OfAnErrorWhoseDestinationIsWrong) {
  pipeline::LogRecord record = Record(Base().Icmp(3, 1).Frame(), 0, net::kNoPort);
  record.prefix[0] = '\0';
  record.invalid.why = ctrack::InvalidWhy::kOuterDestination;
  record.invalid.address = *net::ParseAddress(net::Family::kIpv4, "192.0.2.77");
  record.protocol = net::kProtoIcmp;
  EXPECT_TRUE(FormatLogLine(record, kPorts)
                  .starts_with("nf_ct_proto_1: outer daddr 198.51.100.2 != inner 192.0.2.77 IN="));
  record = Record(Base6().Icmpv6(1).Frame(), 0, net::kNoPort);
  record.prefix[0] = '\0';
  record.invalid.why = ctrack::InvalidWhy::kOuterDestination;
  record.invalid.address = *net::ParseAddress(net::Family::kIpv6, "2001:db8::77");
  record.protocol = net::kProtoIcmpv6;
  EXPECT_TRUE(
      FormatLogLine(record, kPorts)
          .starts_with("nf_ct_proto_58: outer daddr 2001:0db8:0000:0000:0000:0000:0000:0002 != "
                       "inner 2001:0db8:0000:0000:0000:0000:0000:0077 IN="));
}

TEST(LogLine, TcpWithSequenceAndOptions) {
  const Bytes frame = Base()
                          .DontFragment()
                          .Tcp(50592, 999, net::kTcpAck | net::kTcpPsh | net::kTcpFin)
                          .Seq(2298172447)
                          .Ack(7)
                          .Window(1)
                          .Mss(1460)
                          .Frame();
  const uint8_t options = rules::LogTarget::kTcpSequence | rules::LogTarget::kTcpOptions;
  EXPECT_EQ(FormatLogLine(Record(frame, net::kNoPort, 1, options), kPorts),
            std::string("P: IN= OUT=lan0 ") + kAddresses +
                "LEN=44 TOS=0x00 PREC=0x00 TTL=64 ID=55014 DF PROTO=TCP SPT=50592 DPT=999 "
                "SEQ=2298172447 ACK=7 WINDOW=1 RES=0x00 ACK PSH FIN URGP=0 OPT (020405B4) ");
}

TEST(LogLine, UdpToTheApplianceWithAMark) {
  const Bytes frame = Base().Tos(0xb8).Udp(41045, 999).Payload("x\n").Frame();
  pipeline::LogRecord record = Record(frame, 0, net::kNoPort);
  record.mark = 0x2a;
  EXPECT_EQ(FormatLogLine(record, kPorts),
            std::string("P: IN=wan0 OUT= ") + kMac + kAddresses +
                "LEN=30 TOS=0x18 PREC=0xA0 TTL=64 ID=55014 PROTO=UDP SPT=41045 DPT=999 LEN=10 "
                "MARK=0x2a ");
}

TEST(LogLine, MacDecode) {
  const Bytes frame = Base().Udp(1, 2).Frame();
  EXPECT_EQ(FormatLogLine(Record(frame, 0, net::kNoPort, rules::LogTarget::kMacDecode), kPorts),
            std::string("P: IN=wan0 OUT= MACSRC=02:00:00:00:00:01 MACDST=02:00:00:00:00:02 "
                        "MACPROTO=0800 ") +
                kAddresses +
                "LEN=28 TOS=0x00 PREC=0x00 TTL=64 ID=55014 PROTO=UDP SPT=1 DPT=2 LEN=8 ");
}

TEST(LogLine, Ping) {
  const Bytes frame = Base().Icmp(8, 0, 31975, 1).Frame();
  EXPECT_EQ(FormatLogLine(Record(frame, 0, 1), kPorts),
            std::string("P: IN=wan0 OUT=lan0 ") + kMac + kAddresses +
                "LEN=28 TOS=0x00 PREC=0x00 TTL=64 ID=55014 PROTO=ICMP TYPE=8 CODE=0 ID=31975 "
                "SEQ=1 ");
}

TEST(LogLine, AnIcmpErrorQuotesInBrackets) {
  const Bytes quoted = Packet()
                           .Ipv4("198.51.100.2", "192.0.2.1")
                           .Ttl(63)
                           .Id(38771)
                           .DontFragment()
                           .Udp(41045, 999)
                           .Payload("x\n")
                           .Frame();
  const Bytes frame = Base().Tos(0xc0).Icmp(3, 3).Quote(quoted).Frame();
  pipeline::LogRecord record = Record(frame, 0, 1);
  record.mark = 1;
  EXPECT_EQ(FormatLogLine(record, kPorts),
            std::string("P: IN=wan0 OUT=lan0 ") + kMac + kAddresses +
                "LEN=58 TOS=0x00 PREC=0xC0 TTL=64 ID=55014 PROTO=ICMP TYPE=3 CODE=3 "
                "[SRC=198.51.100.2 DST=192.0.2.1 LEN=30 TOS=0x00 PREC=0x00 TTL=63 ID=38771 DF "
                "PROTO=UDP SPT=41045 DPT=999 LEN=10 ] MARK=0x1 ");
}

TEST(LogLine, Ipv6) {
  const Bytes ping = Base6().Icmpv6(128, 0, 31976, 1).Frame();
  EXPECT_EQ(FormatLogLine(Record(ping, 0, net::kNoPort), kPorts),
            std::string("P: IN=wan0 OUT= ") + kMac6 + kAddresses6 +
                "LEN=48 TC=0 HOPLIMIT=64 FLOWLBL=0 PROTO=ICMPv6 TYPE=128 CODE=0 ID=31976 SEQ=1 ");
  const Bytes tcp = Base6().Tcp(1234, 22, net::kTcpSyn).Window(100).Frame();
  EXPECT_EQ(FormatLogLine(Record(tcp, 0, net::kNoPort), kPorts),
            std::string("P: IN=wan0 OUT= ") + kMac6 + kAddresses6 +
                "LEN=60 TC=0 HOPLIMIT=64 FLOWLBL=0 PROTO=TCP SPT=1234 DPT=22 WINDOW=100 RES=0x00 "
                "SYN URGP=0 ");
}

TEST(LogLine, OtherProtocolsByNumber) {
  const std::string line = FormatLogLine(Record(Base().Tcp(1, 2, 0).Frame(), 0, 1), kPorts);
  EXPECT_NE(line.find("PROTO=TCP"), std::string::npos);
  Bytes frame = Base().Tcp(1, 2, 0).Frame();
  frame[kEthernet + 9] = 89;
  EXPECT_TRUE(FormatLogLine(Record(frame, 0, 1), kPorts).ends_with("ID=55014 PROTO=89 "));
}

// Headers that end early, at every length: never a byte from behind the packet.
TEST(LogLine, CutShort) {
  const Bytes frame = Base().Tcp(1, 2, net::kTcpSyn).Frame();
  for (size_t length = kEthernet; length <= frame.size(); ++length) {
    const Bytes cut(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length));
    const std::string line = FormatLogLine(Record(cut, 0, 1), kPorts);
    const size_t datagram = length - kEthernet;
    if (datagram < 20) {
      EXPECT_TRUE(line.ends_with("TRUNCATED")) << line;
    } else if (datagram < 40) {
      const std::string expected = "INCOMPLETE [" + std::to_string(datagram - 20) + " bytes] ";
      EXPECT_TRUE(line.ends_with(expected)) << line;
    }
  }
}

TEST(LogWriter, WritesAFileAndFindsItAgainAfterRotation) {
  test::Folder folder;
  LogConfig config;
  config.rules_file = folder.path() + "/rules.log";
  LogWriter writer(config, kPorts);
  ASSERT_TRUE(writer.Open());
  writer.Write(Record(Base().Udp(1, 2).Frame(), 0, 1));
  std::filesystem::rename(config.rules_file, folder.path() + "/rules.log.1");
  ASSERT_TRUE(writer.Reopen());
  writer.WriteText(4, "nf_conntrack: table full, dropping packet");
  const std::string first = folder.Read("rules.log.1");
  EXPECT_NE(first.find(" kernel: P: IN=wan0 OUT=lan0 MAC="), std::string::npos) << first;
  EXPECT_TRUE(first.ends_with("LEN=8 \n"));
  EXPECT_TRUE(
      folder.Read("rules.log").ends_with(" kernel: nf_conntrack: table full, dropping packet\n"));
  EXPECT_EQ(
      std::filesystem::status(config.rules_file).permissions() & std::filesystem::perms::others_all,
      std::filesystem::perms::none);
  EXPECT_EQ(writer.written(), 2u);
}

TEST(LogWriter, AFileThatCantBeOpenedIsASentence) {
  LogConfig config;
  config.rules_file = "/nowhere/rules.log";
  LogWriter writer(config, kPorts);
  const net::Status status = writer.Open();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error(),
            "the log file /nowhere/rules.log can't be opened: No such file or directory");
}

TEST(TroubleLog, SaysEachTroubleOnceAnInterval) {
  TroubleLog log;
  TroubleLog::Counts counts{};
  std::vector<std::string> said;
  const auto report = [&](unsigned seconds) {
    said.clear();
    log.Report(counts, (1000 + seconds) * net::kSecond,
               [&](const std::string& sentence) { said.push_back(sentence); });
  };
  const std::vector<std::string> full = {"nf_conntrack: table full, dropping packet"};
  report(0);
  EXPECT_TRUE(said.empty());
  counts[static_cast<size_t>(net::DropReason::kConntrackTableFull)] = 1;
  report(1);
  EXPECT_EQ(said, full);
  counts[static_cast<size_t>(net::DropReason::kConntrackTableFull)] = 500;
  report(2);
  EXPECT_TRUE(said.empty());
  counts[static_cast<size_t>(net::DropReason::kNatExhausted)] = 3;
  report(3);
  EXPECT_EQ(said, std::vector<std::string>{
                      "nf_nat: no free port left in the range, dropping packet (3 packets)"});
  report(6);
  EXPECT_EQ(said, full);
  report(12);
  EXPECT_TRUE(said.empty());
}

}  // namespace
}  // namespace postern::control

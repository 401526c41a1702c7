// conntrack's lines, filters and command line. Expected lines are conntrack-tools 1.4.7's for the
// same connections in the kernel (made with conntrack -I).
#include <gtest/gtest.h>

#include "control/conntrack_filter.h"
#include "control/conntrack_options.h"
#include "control/conntrack_printer.h"
#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using net::Family;

constexpr net::Time kNow = 1000 * net::kSecond;

struct Ends {
  const char* source;
  const char* destination;
  uint16_t source_key;
  uint16_t destination_key;
};

net::Tuple MakeTuple(Family family, uint8_t protocol, const Ends& ends) {
  net::Tuple tuple;
  tuple.family = family;
  tuple.protocol = protocol;
  tuple.source = *net::ParseAddress(family, ends.source);
  tuple.destination = *net::ParseAddress(family, ends.destination);
  tuple.source_key = ends.source_key;
  tuple.destination_key = ends.destination_key;
  return tuple;
}

ConnectionCopy Make(Family family, uint8_t protocol, const Ends& original, const Ends& reply,
                    uint32_t status, unsigned seconds, uint32_t mark = 0,
                    ctrack::TcpState state = ctrack::TcpState::kNone) {
  ConnectionCopy copy;
  copy.now = kNow;
  ctrack::Connection& c = copy.connection;
  c.tuples = {MakeTuple(family, protocol, original), MakeTuple(family, protocol, reply)};
  c.status = status | ctrack::kConfirmed;
  c.mark = mark;
  c.id = 1258263207;
  c.expires = kNow + seconds * net::kSecond + net::kMillisecond;
  if (protocol == net::kProtoTcp) c.protocol.tcp.state = state;
  return copy;
}

ConnectionCopy Established() {
  return Make(Family::kIpv4, net::kProtoTcp, {"192.0.2.1", "198.51.100.2", 1234, 80},
              {"198.51.100.2", "192.0.2.1", 80, 1234}, ctrack::kSeenReply | ctrack::kAssured,
              431999, 0, ctrack::TcpState::kEstablished);
}
ConnectionCopy SynSent() {
  return Make(Family::kIpv4, net::kProtoTcp, {"192.0.2.1", "198.51.100.2", 1235, 80},
              {"198.51.100.2", "192.0.2.1", 80, 1235}, 0, 119, 0, ctrack::TcpState::kSynSent);
}
ConnectionCopy Marked() {
  return Make(Family::kIpv4, net::kProtoUdp, {"192.0.2.1", "198.51.100.2", 53, 53},
              {"198.51.100.2", "192.0.2.1", 53, 53}, 0, 29, 5);
}
ConnectionCopy Ping() {
  return Make(Family::kIpv4, net::kProtoIcmp, {"192.0.2.1", "198.51.100.2", 77, 8 << 8},
              {"198.51.100.2", "192.0.2.1", 77, 0}, 0, 29);
}
ConnectionCopy Redirected() {
  return Make(Family::kIpv4, net::kProtoUdp, {"192.0.2.3", "198.51.100.2", 53, 53},
              {"192.168.1.5", "192.0.2.3", 53, 53},
              ctrack::kSeenReply | ctrack::kDstNat | ctrack::kDstNatDone, 29);
}
ConnectionCopy Ospf() {
  return Make(Family::kIpv4, 89, {"192.0.2.9", "198.51.100.2", 0, 0},
              {"198.51.100.2", "192.0.2.9", 0, 0}, 0, 599);
}
ConnectionCopy Ping6() {
  return Make(Family::kIpv6, net::kProtoIcmpv6, {"2001:db8::1", "2001:db8::2", 9, 128 << 8},
              {"2001:db8::2", "2001:db8::1", 9, 129 << 8}, 0, 27);
}
ConnectionCopy Gre() {
  return Make(Family::kIpv4, net::kProtoGre, {"192.0.2.1", "198.51.100.2", 7, 9},
              {"198.51.100.2", "192.0.2.1", 9, 7}, 0, 27);
}

std::string Print(const ConnectionCopy& copy, const ConntrackFormat& format = {},
                  const ConntrackOccasion& occasion = {}) {
  std::string text;
  AppendConnection(copy, format, occasion, &text);
  return text;
}

struct LineRow {
  ConnectionCopy (*make)();
  const char* plain;
};
const LineRow kLines[] = {
    {Established,
     "tcp      6 431999 ESTABLISHED src=192.0.2.1 dst=198.51.100.2 sport=1234 dport=80 "
     "src=198.51.100.2 dst=192.0.2.1 sport=80 dport=1234 [ASSURED] mark=0 use=1"},
    {SynSent,
     "tcp      6 119 SYN_SENT src=192.0.2.1 dst=198.51.100.2 sport=1235 dport=80 [UNREPLIED] "
     "src=198.51.100.2 dst=192.0.2.1 sport=80 dport=1235 mark=0 use=1"},
    {Marked,
     "udp      17 29 src=192.0.2.1 dst=198.51.100.2 sport=53 dport=53 [UNREPLIED] "
     "src=198.51.100.2 dst=192.0.2.1 sport=53 dport=53 mark=5 use=1"},
    {Ping,
     "icmp     1 29 src=192.0.2.1 dst=198.51.100.2 type=8 code=0 id=77 [UNREPLIED] "
     "src=198.51.100.2 dst=192.0.2.1 type=0 code=0 id=77 mark=0 use=1"},
    {Redirected,
     "udp      17 29 src=192.0.2.3 dst=198.51.100.2 sport=53 dport=53 src=192.168.1.5 "
     "dst=192.0.2.3 sport=53 dport=53 mark=0 use=1"},
    {Ospf,
     "unknown  89 599 src=192.0.2.9 dst=198.51.100.2 [UNREPLIED] src=198.51.100.2 dst=192.0.2.9 "
     "mark=0 use=1"},
    {Ping6,
     "icmpv6   58 27 src=2001:db8::1 dst=2001:db8::2 type=128 code=0 id=9 [UNREPLIED] "
     "src=2001:db8::2 dst=2001:db8::1 type=129 code=0 id=9 mark=0 use=1"},
    {Gre,
     "gre      47 27 src=192.0.2.1 dst=198.51.100.2 srckey=0x7 dstkey=0x9 [UNREPLIED] "
     "src=198.51.100.2 dst=192.0.2.1 srckey=0x9 dstkey=0x7 mark=0 use=1"},
};

TEST(ConntrackPrinter, PlainLines) {
  for (const LineRow& row : kLines) {
    EXPECT_EQ(Print(row.make()), row.plain);
  }
}

TEST(ConntrackPrinter, Extended) {
  ConntrackFormat format;
  format.extended = format.id = true;
  EXPECT_TRUE(Print(Ping6(), format).starts_with("ipv6     10 icmpv6   58 27 src="));
  const std::string line = Print(Established(), format);
  EXPECT_TRUE(line.starts_with("ipv4     2 tcp      6 431999 ESTABLISHED src="));
  EXPECT_TRUE(line.ends_with(" mark=0 use=1 id=1258263207"));
}

TEST(ConntrackPrinter, AccountingAndTimestamps) {
  ConnectionCopy copy = Gre();
  copy.counted = true;
  copy.packets = {3, 2};
  copy.bytes = {300, 200};
  copy.start = kNow - 2 * net::kSecond;
  ConntrackFormat format;
  format.ktimestamp = true;
  setenv("TZ", "UTC", 1);
  tzset();
  // 1795251814: Sat Nov 21 09:03:34 UTC 2026.
  ConntrackOccasion occasion;
  occasion.wall_nanoseconds = 1795251814'000'000'000;
  EXPECT_EQ(Print(copy, format, occasion),
            "gre      47 27 src=192.0.2.1 dst=198.51.100.2 srckey=0x7 dstkey=0x9 packets=3 "
            "bytes=300 [UNREPLIED] src=198.51.100.2 dst=192.0.2.1 srckey=0x9 dstkey=0x7 packets=2 "
            "bytes=200 mark=0 delta-time=2 [start=Sat Nov 21 09:03:32 2026] use=1");
}

TEST(ConntrackPrinter, Xml) {
  ConntrackFormat format;
  format.xml = true;
  EXPECT_EQ(
      Print(Established(), format),
      "<flow><meta direction=\"original\"><layer3 protonum=\"2\" protoname=\"ipv4\"><src>192.0.2.1"
      "</src><dst>198.51.100.2</dst></layer3><layer4 protonum=\"6\" protoname=\"tcp\"><sport>1234"
      "</sport><dport>80</dport></layer4></meta><meta direction=\"reply\"><layer3 protonum=\"2\" "
      "protoname=\"ipv4\"><src>198.51.100.2</src><dst>192.0.2.1</dst></layer3><layer4 "
      "protonum=\"6\" protoname=\"tcp\"><sport>80</sport><dport>1234</dport></layer4></meta><meta "
      "direction=\"independent\"><state>ESTABLISHED</state><timeout>431999</timeout><mark>0</mark>"
      "<use>1</use><id>1258263207</id><assured/></meta></flow>");
}

TEST(ConntrackPrinter, Save) {
  ConntrackFormat format;
  format.save = true;
  EXPECT_EQ(Print(Established(), format),
            "-A -t 431999 -u SEEN_REPLY,ASSURED -s 192.0.2.1 -d 198.51.100.2 -r 198.51.100.2 -q "
            "192.0.2.1 -p tcp --sport 1234 --dport 80 --reply-port-src 80 --reply-port-dst 1234 "
            "--state ESTABLISHED");
  EXPECT_EQ(Print(Ping(), format),
            "-A -t 29 -u UNSET -s 192.0.2.1 -d 198.51.100.2 -r 198.51.100.2 -q 192.0.2.1 -p icmp "
            "--icmp-type 8 --icmp-code 0 --icmp-id 77");
  EXPECT_EQ(Print(Redirected(), format),
            "-A -t 29 -u SEEN_REPLY -s 192.0.2.3 -d 198.51.100.2 -g 192.168.1.5 -q 192.0.2.3 -p "
            "udp --sport 53 --dport 53 --reply-port-src 53 --reply-port-dst 53");
  EXPECT_EQ(Print(Ospf(), format),
            "-A -t 599 -u UNSET -s 192.0.2.9 -d 198.51.100.2 -r 198.51.100.2 -q 192.0.2.9 -p 89");
}

TEST(ConntrackPrinter, AnExpiredTimeoutIsZero) {
  ConnectionCopy copy = Marked();
  copy.connection.expires = kNow - 1;
  EXPECT_TRUE(Print(copy).starts_with("udp      17 0 src="));
}

// Which of the eight connections above a command line shows, in their order.
struct FilterRow {
  std::vector<std::string> arguments;
  std::string shown;  // of "ESMPROI6G"
};

TEST(ConntrackFilter, ShowsWhatConntrackShows) {
  const std::pair<char, ConnectionCopy> all[] = {
      {'E', Established()}, {'S', SynSent()}, {'M', Marked()}, {'P', Ping()},
      {'R', Redirected()},  {'O', Ospf()},    {'6', Ping6()},  {'G', Gre()}};
  const FilterRow rows[] = {
      {{"-L"}, "ESMPRO6G"},
      {{"--dump"}, "ESMPRO6G"},
      {{"-L", "conntrack"}, "ESMPRO6G"},
      {{"-L", "-f", "ipv6"}, "6"},
      {{"-L", "-f", "ipv4"}, "ESMPROG"},
      {{"-L", "-p", "tcp"}, "ES"},
      {{"-L", "-ptcp"}, "ES"},
      {{"-p", "tcp", "-L"}, "ES"},
      {{"-L", "--protonum=udp"}, "MR"},
      {{"-L", "-p", "17"}, "MR"},
      {{"-L", "-p", "89"}, "O"},
      {{"-L", "-s", "192.0.2.1"}, "ESMPG"},
      {{"-L", "--src", "192.0.2.0/24"}, "ESMPROG"},
      {{"-L", "-d", "198.51.100.0", "--mask-dst", "255.255.255.0"}, "ESMPROG"},
      {{"-L", "-r", "192.168.1.5"}, "R"},
      {{"-L", "-q", "192.0.2.9"}, "O"},
      {{"-L", "-s", "2001:db8::/32"}, "6"},
      {{"-L", "-p", "tcp", "--dport", "80"}, "ES"},
      {{"-L", "-p", "tcp", "--sport", "1235"}, "S"},
      {{"-L", "-p", "tcp", "--reply-port-src", "80"}, "ES"},
      {{"-L", "-p", "tcp", "--state", "ESTABLISHED"}, "E"},
      {{"-L", "-p", "icmp", "--icmp-id", "77"}, "P"},
      {{"-L", "-u", "ASSURED"}, "E"},
      {{"-L", "-u", "SEEN_REPLY"}, "ER"},
      {{"-L", "-m", "5"}, "M"},
      {{"-L", "-m", "1/1"}, "M"},
      {{"-L", "-g"}, "R"},
      {{"-L", "-g", "192.168.1.5"}, "R"},
      {{"-L", "-g", "192.168.1.6"}, ""},
      {{"-L", "-n"}, ""},
      {{"-L", "-j"}, "R"},
      {{"-L", "-z"}, "ESMPRO6G"},
  };
  for (const FilterRow& row : rows) {
    ConntrackOptions options;
    ConntrackError error;
    ASSERT_TRUE(ParseConntrackOptions(row.arguments, &options, &error)) << error.message;
    std::string shown;
    for (const auto& [name, copy] : all) {
      if (options.filter.Matches(copy.connection, kNow)) shown += name;
    }
    EXPECT_EQ(shown, row.shown) << ::testing::PrintToString(row.arguments);
  }
}

struct OptionErrorRow {
  std::vector<std::string> arguments;
  const char* message;
  int status = 2;
};

TEST(ConntrackOptions, ComplainsInTheOriginalsWords) {
  const OptionErrorRow rows[] = {
      {{"-L", "--zork"}, "unknown option `--zork'"},
      {{"-L", "--zork=5"}, "unknown option `--zork=5'"},
      {{"-Z"}, "unknown option `-Z'"},
      {{"-L", "-p", "foo"}, "`foo' unsupported protocol"},
      {{"-L", "-f", "foo"}, "`foo' unsupported protocol"},
      {{"-L", "-s", "xx"}, "Invalid IP address `xx'"},
      {{"-L", "-s", "192.0.2.1/33"}, "Invalid netmask"},
      {{"-L", "-r", "192.0.2.1/24"}, "CIDR notation unavailable for `--reply-src'"},
      {{"-L", "-n", "[::1"}, "No closing ']' around IPv6 address"},
      {{"-L", "-n", "[]:5"}, "No IPv6 address specified"},
      {{"-L", "-n", "192.0.2.1:"}, "No port specified after `:'"},
      {{"-L", "-n", "192.0.2.1:70000"}, "Invalid port `70000'"},
      {{"-L", "-j", "-n"}, "cannot specify `--src-nat' or `--dst-nat' with `--any-nat'"},
      {{"-L", "--dport", "80"}, "unknown option `--dport'"},
      {{"-L", "-p", "tcp", "--icmp-type", "8"}, "unknown option `--icmp-type'"},
      {{"-L", "-p", "tcp", "--state", "FOO"}, "unknown TCP state `FOO'"},
      {{"-L", "-p", "tcp", "-o", "foo"}, "Bad parameter `foo'"},
      {{"-L", "-o", "id,,xml"}, "Bad parameter `,xml'"},
      {{"-L", "-o", "save,id"},
       "cannot combine save output with any other output type, use -o save only",
       1},
      {{"-L", "-u", "FOO"}, "Bad parameter `FOO'"},
      {{"-L", "-u", "ASSURED,FOO"}, "Bad parameter `FOO'"},
      {{"-C", "foo"}, "unknown type `foo'"},
      {{"-L", "foo"}, "unknown type `foo'"},
      {{"-C", "dying"}, "Can't do that command with tables `dying' and `unconfirmed'"},
      {{"-U", "expect"}, "Can't do --update on expectations"},
      {{"-L", "-C"}, "Invalid commands combination"},
      {{"-L", "-s", "192.0.2.1", "-f", "ipv6"}, "mismatched address family"},
      {{"-L", "--mask-src", "255.0.0.0"}, "Can't use --mask-src without --src"},
      {{"-L", "-z", "-p", "tcp"}, "Can't use -z with filtering parameters"},
      {{"-C", "-p", "tcp"}, "Illegal option `--protonum' with this command"},
      {{"-L", "-t", "5"}, "Illegal option `--timeout' with this command"},
      {{"-F", "-o", "id"}, "Illegal option `--output' with this command"},
      {{"-L", "-o"}, "option `-o' requires an argument"},
      {{"-I"}, "You need to supply the `--protonum' option for this command"},
      {{"-I", "-p", "tcp", "-t", "5", "-s", "192.0.2.1"},
       "you have to specify `--src' and `--dst'"},
      {{"-I", "-p", "tcp", "-t", "5", "-r", "192.0.2.1"},
       "you have to specify `--reply-src' and `--reply-dst'"},
      {{"-I", "-p", "tcp", "-t", "5", "-s", "192.0.2.1", "-d", "192.0.2.2"},
       "You need to supply the `--state' option for this command"},
      {{"-G", "-p", "udp", "-s", "192.0.2.1", "-d", "192.0.2.2", "--sport", "5"},
       "you have to specify `--sport' and `--dport'"},
      {{"-I", "-p", "gre", "-t", "5", "-s", "192.0.2.1", "-d", "192.0.2.2", "--reply-key-src", "5"},
       "you have to specify `--reply-src-key' and `--reply-dst-key'"},
      {{"-L", "-l", "web"}, "unknown label 'web'"},
  };
  for (const OptionErrorRow& row : rows) {
    ConntrackOptions options;
    ConntrackError error;
    EXPECT_FALSE(ParseConntrackOptions(row.arguments, &options, &error)) << row.message;
    EXPECT_EQ(error.message, row.message);
    EXPECT_EQ(error.status, row.status);
    EXPECT_EQ(error.hint, row.status == 2);
  }
}

TEST(ConntrackOptions, WarnsAndGoesOn) {
  ConntrackOptions options;
  ConntrackError error;
  ASSERT_TRUE(ParseConntrackOptions({"-L", "-a", "x", "-o", "s", "operand"}, &options, &error));
  EXPECT_EQ(options.warnings,
            (std::vector<std::string>{"WARNING: ignoring -a, deprecated option.\n",
                                      "WARNING: ignoring SRC_NAT, use --src-nat instead\n"}));
}

// What -U would make of a connection; empty: nothing.
TEST(ConntrackFilter, UpdatesOnlyWhatIsDifferent) {
  struct Row {
    std::vector<std::string> arguments;
    bool changes;
  };
  const Row rows[] = {
      {{"-U", "-m", "0"}, false},
      {{"-U", "-m", "5"}, true},
      {{"-U", "-u", "ASSURED"}, false},
      {{"-U", "-u", "FIXED_TIMEOUT"}, true},
      {{"-U", "-t", "431999"}, false},
      {{"-U", "-t", "5"}, true},
      {{"-U", "-p", "tcp", "--state", "ESTABLISHED"}, false},
      {{"-U", "-p", "tcp", "--state", "CLOSE"}, true},
      {{"-U"}, false},
  };
  const ConnectionCopy copy = Established();
  for (const Row& row : rows) {
    ConntrackOptions options;
    ConntrackError error;
    ASSERT_TRUE(ParseConntrackOptions(row.arguments, &options, &error)) << error.message;
    EXPECT_TRUE(options.filter.MatchesForUpdate(copy.connection));
    EXPECT_EQ(options.filter.Update(copy.connection, kNow).has_value(), row.changes)
        << ::testing::PrintToString(row.arguments);
  }
}

struct EventRow {
  ConntrackMessage message;
  uint32_t changes;
  bool by_operator;
  const char* line;
};

// As the kernel tells of the same life.
TEST(ConntrackPrinter, Events) {
  const EventRow rows[] = {
      {ConntrackMessage::kNew, 0, false,
       "    [NEW] tcp      6 119 SYN_SENT src=192.0.2.1 dst=198.51.100.2 sport=1235 dport=80 "
       "[UNREPLIED] src=198.51.100.2 dst=192.0.2.1 sport=80 dport=1235"},
      {ConntrackMessage::kNew, 0, true,
       "    [NEW] tcp      6 119 SYN_SENT src=192.0.2.1 dst=198.51.100.2 sport=1235 dport=80 "
       "[UNREPLIED] src=198.51.100.2 dst=192.0.2.1 sport=80 dport=1235 mark=0"},
      {ConntrackMessage::kUpdate, ctrack::kChangeProtoInfo, false,
       " [UPDATE] tcp      6 119 SYN_SENT src=192.0.2.1 dst=198.51.100.2 sport=1235 dport=80 "
       "[UNREPLIED] src=198.51.100.2 dst=192.0.2.1 sport=80 dport=1235"},
      {ConntrackMessage::kUpdate, ctrack::kChangeMark, false,
       " [UPDATE] tcp      6 119 src=192.0.2.1 dst=198.51.100.2 sport=1235 dport=80 [UNREPLIED] "
       "src=198.51.100.2 dst=192.0.2.1 sport=80 dport=1235 mark=0"},
      {ConntrackMessage::kDestroy, 0, false,
       "[DESTROY] tcp      6 119 SYN_SENT src=192.0.2.1 dst=198.51.100.2 sport=1235 dport=80 "
       "[UNREPLIED] src=198.51.100.2 dst=192.0.2.1 sport=80 dport=1235"},
  };
  for (const EventRow& row : rows) {
    ConntrackOccasion occasion;
    occasion.message = row.message;
    occasion.changes = row.changes;
    occasion.by_operator = row.by_operator;
    EXPECT_EQ(Print(SynSent(), {}, occasion), row.line);
  }
  ConnectionCopy expired = SynSent();
  expired.connection.expires = kNow;
  ConntrackOccasion occasion;
  occasion.message = ConntrackMessage::kDestroy;
  EXPECT_TRUE(Print(expired, {}, occasion).starts_with("[DESTROY] tcp      6 SYN_SENT src="));
}

}  // namespace
}  // namespace postern::control

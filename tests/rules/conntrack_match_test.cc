// -m conntrack and -m state: every option, every inversion, and what is asked of packets without
// a connection.
#include <gtest/gtest.h>

#include "tests/rules/fixture.h"

namespace postern::rules {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
using ctrack::CtInfo;
using Field = ConntrackMatch::Field;

constexpr net::Time kNow = 1000 * net::kSecond;

// 192.0.2.1:1024 -> 203.0.113.2:8080, which DNAT sends to 198.51.100.2:80.
ctrack::Connection Dnatted() {
  ctrack::Connection connection;
  connection.tuples[0].source = Address("192.0.2.1");
  connection.tuples[0].destination = Address("203.0.113.2");
  connection.tuples[0].source_key = 1024;
  connection.tuples[0].destination_key = 8080;
  connection.tuples[0].protocol = net::kProtoTcp;
  connection.tuples[1].source = Address("198.51.100.2");
  connection.tuples[1].destination = Address("192.0.2.1");
  connection.tuples[1].source_key = 80;
  connection.tuples[1].destination_key = 1024;
  connection.tuples[1].protocol = net::kProtoTcp;
  connection.status = ctrack::kConfirmed | ctrack::kSeenReply | ctrack::kDstNat;
  connection.expires = kNow + 100 * net::kSecond + net::kSecond / 2;
  return connection;
}

ConntrackMatch With(Field field, void (*set)(ConntrackMatch*)) {
  ConntrackMatch match;
  match.fields = field;
  set(&match);
  return match;
}

bool Ask(const ConntrackMatch& match, ctrack::Connection* connection, CtInfo info) {
  Walker walker(ModelOf().Input({RuleOf().With(match)}));
  walker.ct = {connection, info};
  walker.now = kNow;
  auto packet = TestPacket().Tcp(1024, 80);
  return walker.Matched(packet);
}

TEST(ConntrackMatch, AnswersEachOptionAndItsInversion) {
  struct Row {
    const char* name;
    ConntrackMatch match;
    bool expected;
  };
  using M = ConntrackMatch;
  const Row rows[] = {
      {"ctproto", With(Field::kProto, [](M* m) { m->protocol = 6; }), true},
      {"ctproto other", With(Field::kProto, [](M* m) { m->protocol = 17; }), false},
      {"ctorigsrc", With(Field::kOrigSrc, [](M* m) { m->orig_src = Subnet("192.0.2.0/24"); }),
       true},
      {"ctorigsrc other", With(Field::kOrigSrc, [](M* m) { m->orig_src = Subnet("192.0.2.9"); }),
       false},
      {"ctorigdst is before DNAT",
       With(Field::kOrigDst, [](M* m) { m->orig_dst = Subnet("203.0.113.2"); }), true},
      {"ctorigdst isn't after DNAT",
       With(Field::kOrigDst, [](M* m) { m->orig_dst = Subnet("198.51.100.2"); }), false},
      {"ctreplsrc is after DNAT",
       With(Field::kReplSrc, [](M* m) { m->repl_src = Subnet("198.51.100.0/24"); }), true},
      {"ctreplsrc other", With(Field::kReplSrc, [](M* m) { m->repl_src = Subnet("203.0.113.2"); }),
       false},
      {"ctrepldst", With(Field::kReplDst, [](M* m) { m->repl_dst = Subnet("192.0.2.1"); }), true},
      {"ctrepldst other", With(Field::kReplDst, [](M* m) { m->repl_dst = Subnet("192.0.2.2"); }),
       false},
      {"ctorigsrcport",
       With(Field::kOrigSrcPort,
            [](M* m) {
              m->orig_src_port = {1024, 1030};
            }),
       true},
      {"ctorigsrcport no",
       With(Field::kOrigSrcPort,
            [](M* m) {
              m->orig_src_port = {1, 1023};
            }),
       false},
      {"ctorigdstport",
       With(Field::kOrigDstPort,
            [](M* m) {
              m->orig_dst_port = {8080, 8080};
            }),
       true},
      {"ctorigdstport no",
       With(Field::kOrigDstPort,
            [](M* m) {
              m->orig_dst_port = {80, 80};
            }),
       false},
      {"ctreplsrcport",
       With(Field::kReplSrcPort,
            [](M* m) {
              m->repl_src_port = {80, 80};
            }),
       true},
      {"ctreplsrcport no",
       With(Field::kReplSrcPort,
            [](M* m) {
              m->repl_src_port = {81, 99};
            }),
       false},
      {"ctrepldstport",
       With(Field::kReplDstPort,
            [](M* m) {
              m->repl_dst_port = {1024, 1024};
            }),
       true},
      {"ctrepldstport no",
       With(Field::kReplDstPort,
            [](M* m) {
              m->repl_dst_port = {1, 1};
            }),
       false},
      {"ctstatus", With(Field::kStatus, [](M* m) { m->status = ctrack::kSeenReply; }), true},
      {"ctstatus any of",
       With(Field::kStatus, [](M* m) { m->status = ctrack::kExpected | ctrack::kConfirmed; }),
       true},
      {"ctstatus not", With(Field::kStatus, [](M* m) { m->status = ctrack::kAssured; }), false},
      {"ctstatus NONE", With(Field::kStatus, [](M* m) { m->status = 0; }), false},
      {"ctexpire within",
       With(Field::kExpires,
            [](M* m) {
              m->expires_min = 100;
              m->expires_max = 100;
            }),
       true},
      {"ctexpire above",
       With(Field::kExpires,
            [](M* m) {
              m->expires_min = 101;
              m->expires_max = 200;
            }),
       false},
      {"ctdir ORIGINAL", With(Field::kDirection, [](M* m) { m->direction_reply = false; }), true},
      {"ctdir REPLY", With(Field::kDirection, [](M* m) { m->direction_reply = true; }), false},
  };
  for (const Row& row : rows) {
    ctrack::Connection connection = Dnatted();
    EXPECT_EQ(Ask(row.match, &connection, CtInfo::kEstablished), row.expected) << row.name;
    ConntrackMatch inverted = row.match;
    inverted.inverted = inverted.fields;
    EXPECT_EQ(Ask(inverted, &connection, CtInfo::kEstablished), !row.expected) << "! " << row.name;
    EXPECT_FALSE(Ask(row.match, nullptr, CtInfo::kInvalid)) << row.name << " without connection";
    EXPECT_FALSE(Ask(inverted, nullptr, CtInfo::kInvalid)) << "! " << row.name;
  }
}

TEST(ConntrackMatch, KnowsTheDirectionOfReplies) {
  ctrack::Connection connection = Dnatted();
  ConntrackMatch match;
  match.fields = Field::kDirection;
  match.direction_reply = true;
  EXPECT_TRUE(Ask(match, &connection, CtInfo::kEstablishedReply));
  EXPECT_TRUE(Ask(match, &connection, CtInfo::kRelatedReply));
  EXPECT_FALSE(Ask(match, &connection, CtInfo::kNew));
}

TEST(ConntrackMatch, AnswersStates) {
  struct Row {
    const char* name;
    uint16_t state;
    CtInfo info;
    uint32_t status;  // 0: no connection
    bool expected;
  };
  constexpr uint32_t kPlain = ctrack::kConfirmed;
  const Row rows[] = {
      {"NEW", kCtStateNew, CtInfo::kNew, kPlain, true},
      {"NEW isn't established", kCtStateNew, CtInfo::kEstablished, kPlain, false},
      {"ESTABLISHED", kCtStateEstablished, CtInfo::kEstablished, kPlain, true},
      {"ESTABLISHED reply", kCtStateEstablished, CtInfo::kEstablishedReply, kPlain, true},
      {"RELATED", kCtStateRelated, CtInfo::kRelated, kPlain, true},
      {"RELATED reply", kCtStateRelated, CtInfo::kRelatedReply, kPlain, true},
      {"RELATED,ESTABLISHED", kCtStateRelated | kCtStateEstablished, CtInfo::kNew, kPlain, false},
      {"INVALID", kCtStateInvalid, CtInfo::kInvalid, 0, true},
      {"INVALID isn't untracked", kCtStateInvalid, CtInfo::kUntracked, 0, false},
      {"UNTRACKED", kCtStateUntracked, CtInfo::kUntracked, 0, true},
      {"NEW without connection", kCtStateNew, CtInfo::kInvalid, 0, false},
      {"SNAT", kCtStateSnat, CtInfo::kNew, kPlain | ctrack::kSrcNat, true},
      {"SNAT isn't DNAT", kCtStateSnat, CtInfo::kNew, kPlain | ctrack::kDstNat, false},
      {"DNAT", kCtStateDnat, CtInfo::kEstablishedReply, kPlain | ctrack::kDstNat, true},
      {"NEW,DNAT on either", kCtStateNew | kCtStateDnat, CtInfo::kNew, kPlain, true},
  };
  for (const Row& row : rows) {
    ctrack::Connection connection = Dnatted();
    connection.status = row.status;
    ctrack::Connection* pointer = row.status == 0 ? nullptr : &connection;
    ConntrackMatch match;
    match.fields = Field::kState;
    match.state = row.state;
    EXPECT_EQ(Ask(match, pointer, row.info), row.expected) << row.name;
    match.inverted = Field::kState;
    EXPECT_EQ(Ask(match, pointer, row.info), !row.expected) << "! " << row.name;

    if ((row.state & (kCtStateSnat | kCtStateDnat)) != 0) continue;
    for (const bool invert : {false, true}) {
      Walker walker(ModelOf().Input({RuleOf().With(StateMatch{row.state, invert})}));
      walker.ct = {pointer, row.info};
      auto packet = TestPacket().Tcp(1, 2);
      EXPECT_EQ(walker.Matched(packet), row.expected != invert) << "-m state " << row.name;
    }
  }
}

TEST(ConntrackMatch, WithoutAConnectionOnlyTheStateCounts) {
  // The kernel answers yes once the state has matched, whatever else was asked.
  ConntrackMatch match;
  match.fields = Field::kState | Field::kOrigDst;
  match.state = kCtStateInvalid;
  match.orig_dst = Subnet("203.0.113.99");
  EXPECT_TRUE(Ask(match, nullptr, CtInfo::kInvalid));
  match.state = kCtStateNew;
  EXPECT_FALSE(Ask(match, nullptr, CtInfo::kInvalid));
}

TEST(ConntrackMatch, NeedsEveryOptionToMatch) {
  ctrack::Connection connection = Dnatted();
  ConntrackMatch match;
  match.fields = Field::kState | Field::kOrigDst | Field::kStatus;
  match.state = kCtStateEstablished;
  match.orig_dst = Subnet("203.0.113.2");
  match.status = ctrack::kSeenReply;
  EXPECT_TRUE(Ask(match, &connection, CtInfo::kEstablished));
  EXPECT_FALSE(Ask(match, &connection, CtInfo::kNew));
  match.inverted = Field::kStatus;
  EXPECT_FALSE(Ask(match, &connection, CtInfo::kEstablished));
}

TEST(ConntrackMatch, CountsTheSecondsLeftDownToZero) {
  struct Row {
    const char* name;
    uint32_t status;
    net::Time expires;
    uint32_t seconds;
  };
  const Row rows[] = {
      {"rounds down", ctrack::kConfirmed, kNow + 2 * net::kSecond - 1, 1},
      {"exactly", ctrack::kConfirmed, kNow + 2 * net::kSecond, 2},
      {"over", ctrack::kConfirmed, kNow - net::kSecond, 0},
      {"no timer before confirmation", 0, 120 * net::kSecond, 0},
  };
  for (const Row& row : rows) {
    ctrack::Connection connection = Dnatted();
    connection.status = row.status;
    connection.expires = row.expires;
    ConntrackMatch match;
    match.fields = Field::kExpires;
    match.expires_min = match.expires_max = row.seconds;
    EXPECT_TRUE(Ask(match, &connection, CtInfo::kNew)) << row.name;
    match.expires_min = match.expires_max = row.seconds + 1;
    EXPECT_FALSE(Ask(match, &connection, CtInfo::kNew)) << row.name;
  }
}

}  // namespace
}  // namespace postern::rules

// -o xml.

#include <ctime>

#include "control/conntrack_printer.h"
#include "control/conntrack_text.h"
#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using ctrack::Connection;
using net::Direction;
using net::Family;
using net::Tuple;

void PutTuple(const ConnectionCopy& copy, Direction direction, bool counters, std::string* to) {
  const Tuple& t = copy.connection.tuple(direction);
  Put(to,
      "<meta direction=\"{}\"><layer3 protonum=\"{}\" protoname=\"{}\"><src>{}</src><dst>{}</dst>"
      "</layer3><layer4 protonum=\"{}\" protoname=\"{}\">",
      direction == Direction::kOriginal ? "original" : "reply", static_cast<unsigned>(t.family),
      t.family == Family::kIpv4 ? "ipv4" : "ipv6", net::ToString(t.family, t.source),
      net::ToString(t.family, t.destination), t.protocol, ConntrackProtocolName(t.protocol));
  if (t.protocol == net::kProtoGre) {
    Put(to, "<srckey>{:#x}</srckey><dstkey>{:#x}</dstkey>", t.source_key, t.destination_key);
  } else if (ConntrackShowsPorts(t.protocol)) {
    Put(to, "<sport>{}</sport><dport>{}</dport>", t.source_key, t.destination_key);
  }
  *to += "</layer4>";
  if (counters) {
    const auto d = static_cast<size_t>(direction);
    Put(to, "<counters><packets>{}</packets><bytes>{}</bytes></counters>", copy.packets[d],
        copy.bytes[d]);
  }
  *to += "</meta>";
}

void PutTimes(const ConntrackParts& parts, bool whole, std::string* to) {
  if (!parts.start) return;
  if (whole) {
    Put(to, "<timestamp><start>{}</start>", parts.start_nanoseconds);
    if (parts.stop) Put(to, "<stop>{}</stop>", parts.stop_nanoseconds);
    *to += "</timestamp>";
  }
  // Of a living connection the difference of the seconds, of a dead one the seconds of its life.
  const int64_t seconds =
      parts.stop ? (parts.stop_nanoseconds - parts.start_nanoseconds) / kNanosecondsASecond
                 : parts.stop_nanoseconds / kNanosecondsASecond -
                       parts.start_nanoseconds / kNanosecondsASecond;
  Put(to, "<deltatime>{}</deltatime>", seconds);
}

void PutWhen(int64_t nanoseconds, std::string* to) {
  const auto seconds = static_cast<std::time_t>(nanoseconds / kNanosecondsASecond);
  std::tm local{};
  if (localtime_r(&seconds, &local) == nullptr) return;
  Put(to,
      "<when><hour>{}</hour><min>{:02}</min><sec>{:02}</sec><wday>{}</wday><day>{}</day>"
      "<month>{}</month><year>{}</year></when>",
      local.tm_hour, local.tm_min, local.tm_sec, local.tm_wday + 1, local.tm_mday, local.tm_mon + 1,
      1900 + local.tm_year);
}

// The original has only TCP's names here, and gives SCTP's states those of the same number.
std::string_view StateName(const Connection& c) {
  if (c.original().protocol != net::kProtoSctp) return ConntrackStateName(c);
  return ToString(static_cast<ctrack::TcpState>(c.protocol.sctp.state));
}

const char* Opening(ConntrackMessage message) {
  switch (message) {
    case ConntrackMessage::kNew:
      return "<flow type=\"new\">";
    case ConntrackMessage::kUpdate:
      return "<flow type=\"update\">";
    case ConntrackMessage::kDestroy:
      return "<flow type=\"destroy\">";
    case ConntrackMessage::kEntry:
      break;
  }
  return "<flow>";
}

}  // namespace

void AppendXml(const ConnectionCopy& copy, const ConntrackFormat& format,
               const ConntrackOccasion& occasion, std::string* to) {
  const Connection& c = copy.connection;
  const ConntrackParts parts(copy, occasion);
  *to += Opening(occasion.message);
  PutTuple(copy, Direction::kOriginal, parts.counters, to);
  PutTuple(copy, Direction::kReply, parts.counters, to);
  *to += "<meta direction=\"independent\">";
  if (parts.state) Put(to, "<state>{}</state>", StateName(c));
  if (parts.timeout) Put(to, "<timeout>{}</timeout>", parts.seconds_left);
  if (parts.mark) Put(to, "<mark>{}</mark>", c.mark);
  if (c.original().zone != 0) Put(to, "<zone>{}</zone>", c.original().zone);
  if (parts.use) Put(to, "<use>{}</use>", occasion.use);
  Put(to, "<id>{}</id>", c.id);
  if (c.Has(ctrack::kAssured)) *to += "<assured/>";
  if (!c.Has(ctrack::kSeenReply)) *to += "<unreplied/>";
  PutTimes(parts, format.ktimestamp, to);
  *to += "</meta>";
  const bool event = occasion.message != ConntrackMessage::kEntry;
  if (format.timestamp && event) PutWhen(occasion.wall_nanoseconds, to);
  *to += "</flow>";
}

}  // namespace postern::control

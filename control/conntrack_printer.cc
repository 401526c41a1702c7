#include "control/conntrack_printer.h"

#include <arpa/inet.h>

#include <algorithm>
#include <ctime>

#include "control/conntrack_text.h"
#include "ctrack/extension.h"
#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using ctrack::Connection;
using net::Direction;
using net::Family;
using net::Tuple;

bool IsIcmp(uint8_t protocol) {
  return protocol == net::kProtoIcmp || protocol == net::kProtoIcmpv6;
}

// "src=… dst=… sport=… dport=… " and what acct counted.
void PutTuple(const ConnectionCopy& copy, Direction direction, bool counters, std::string* to) {
  const Tuple& t = copy.connection.tuple(direction);
  Put(to, "src={} dst={} ", net::ToString(t.family, t.source),
      net::ToString(t.family, t.destination));
  if (IsIcmp(t.protocol)) {
    Put(to, "type={} code={} id={} ", t.IcmpType(), t.IcmpCode(), t.source_key);
  } else if (t.protocol == net::kProtoGre) {
    Put(to, "srckey={:#x} dstkey={:#x} ", t.source_key, t.destination_key);
  } else if (ConntrackShowsPorts(t.protocol)) {
    Put(to, "sport={} dport={} ", t.source_key, t.destination_key);
  }
  if (!counters) return;
  const auto d = static_cast<size_t>(direction);
  Put(to, "packets={} bytes={} ", copy.packets[d], copy.bytes[d]);
}

// "[start=Sat Nov 21 09:03:32 2026] ", in the daemon's time zone.
void PutTime(const char* name, int64_t nanoseconds, std::string* to) {
  const auto seconds = static_cast<std::time_t>(nanoseconds / kNanosecondsASecond);
  std::tm local{};
  std::array<char, 32> text{};
  if (localtime_r(&seconds, &local) == nullptr) return;
  std::strftime(text.data(), text.size(), "%a %b %e %H:%M:%S %Y", &local);
  Put(to, "[{}={}] ", name, text.data());
}

const char* EventName(ConntrackMessage message) {
  switch (message) {
    case ConntrackMessage::kNew:
      return "    [NEW] ";
    case ConntrackMessage::kUpdate:
      return " [UPDATE] ";
    case ConntrackMessage::kDestroy:
      return "[DESTROY] ";
    case ConntrackMessage::kEntry:
      break;
  }
  return "";
}

void AppendPlain(const ConnectionCopy& copy, const ConntrackFormat& format,
                 const ConntrackOccasion& occasion, std::string* to) {
  const Connection& c = copy.connection;
  const Tuple& original = c.original();
  const ConntrackParts parts(copy, occasion);
  *to += EventName(occasion.message);
  if (format.extended) {
    Put(to, "{:<8} {} ", original.family == Family::kIpv4 ? "ipv4" : "ipv6",
        static_cast<unsigned>(original.family));
  }
  Put(to, "{:<8} {} ", ConntrackProtocolName(original.protocol), original.protocol);
  if (parts.timeout) Put(to, "{} ", parts.seconds_left);
  if (parts.state) Put(to, "{} ", ConntrackStateName(c));
  PutTuple(copy, Direction::kOriginal, parts.counters, to);
  if (!c.Has(ctrack::kSeenReply)) *to += "[UNREPLIED] ";
  PutTuple(copy, Direction::kReply, parts.counters, to);
  if (c.Has(ctrack::kAssured)) *to += "[ASSURED] ";
  if (parts.mark) Put(to, "mark={} ", c.mark);
  if (original.zone != 0) Put(to, "zone={} ", original.zone);
  if (parts.start) {
    Put(to, "delta-time={} ",
        parts.stop_nanoseconds / kNanosecondsASecond -
            parts.start_nanoseconds / kNanosecondsASecond);
    if (format.ktimestamp) PutTime("start", parts.start_nanoseconds, to);
    if (format.ktimestamp && parts.stop) PutTime("stop", parts.stop_nanoseconds, to);
  }
  if (parts.use) Put(to, "use={} ", occasion.use);
  if (format.id) Put(to, "id={} ", c.id);
  to->pop_back();
}

void PutStatus(const Connection& c, std::string* to) {
  const size_t before = to->size();
  const auto add = [&](uint32_t bit, const char* name) {
    if ((c.status & bit) != 0) Put(to, "{}{}", to->size() == before ? "" : ",", name);
  };
  add(ctrack::kExpected, "EXPECTED");
  add(ctrack::kSeenReply, "SEEN_REPLY");
  add(ctrack::kAssured, "ASSURED");
  add(ctrack::kFixedTimeout, "FIXED_TIMEOUT");
  if (to->size() == before) *to += "UNSET";
}

// What `conntrack -R` reads: the translation as -n and -g, where there is one, for -q and -r.
void AppendSave(const ConnectionCopy& copy, const ConntrackOccasion& occasion, std::string* to) {
  const Connection& c = copy.connection;
  const Tuple& o = c.original();
  const Tuple& r = c.reply();
  const ConntrackParts parts(copy, occasion);
  const bool update = occasion.message == ConntrackMessage::kUpdate;
  *to += occasion.message == ConntrackMessage::kDestroy ? "-D " : update ? "-U " : "-A ";
  if (parts.timeout) Put(to, "-t {} ", parts.seconds_left);
  *to += "-u ";
  PutStatus(c, to);
  if (o.zone != 0) Put(to, " -w {}", o.zone);
  const bool source = c.Has(ctrack::kSrcNatDone) && r.destination != o.source;
  const bool destination = c.Has(ctrack::kDstNatDone) && r.source != o.destination;
  Put(to, " -s {} -d {} -{} {} -{} {} -p ", net::ToString(o.family, o.source),
      net::ToString(o.family, o.destination), destination ? 'g' : 'r',
      net::ToString(r.family, r.source), source ? 'n' : 'q',
      net::ToString(r.family, r.destination));
  const std::string_view name = ConntrackProtocolName(o.protocol);
  if (name == "unknown") {
    Put(to, "{}", o.protocol);
    return;
  }
  *to += name;
  if (IsIcmp(o.protocol)) {
    Put(to, " --{0}-type {1} --{0}-code {2} --{0}-id {3}", name, o.IcmpType(), o.IcmpCode(),
        o.source_key);
  } else if (o.protocol == net::kProtoGre) {
    Put(to, " --srckey {} --dstkey {} --reply-key-src {} --reply-key-dst {}", o.source_key,
        o.destination_key, r.source_key, r.destination_key);
  } else if (net::HasPorts(o.protocol)) {
    Put(to, " --sport {} --dport {} --reply-port-src {} --reply-port-dst {}", o.source_key,
        o.destination_key, r.source_key, r.destination_key);
  }
  if (parts.state) Put(to, " --state {}", ConntrackStateName(c));
  if (parts.state && o.protocol == net::kProtoSctp) {
    const ctrack::SctpTracking& sctp = c.protocol.sctp;
    Put(to, " --orig-vtag {} --reply-vtag {}", ntohl(sctp.tag[0]), ntohl(sctp.tag[1]));
  }
}

}  // namespace

std::string_view ConntrackStateName(const ctrack::Connection& c) {
  switch (c.original().protocol) {
    case net::kProtoTcp:
      return ToString(c.protocol.tcp.state);
    case net::kProtoSctp:
      return ToString(c.protocol.sctp.state);
    default:
      return "";
  }
}

bool ConntrackShowsPorts(uint8_t protocol) {
  return net::HasPorts(protocol) || protocol == net::kProtoDccp;
}

// ctnetlink_conntrack_event: an event tells only what it is about.
ConntrackParts::ConntrackParts(const ConnectionCopy& copy, const ConntrackOccasion& occasion) {
  using Message = ConntrackMessage;
  const Connection& c = copy.connection;
  const bool entry = occasion.message == Message::kEntry;
  const bool destroy = occasion.message == Message::kDestroy;
  seconds_left = c.expires > copy.now ? (c.expires - copy.now) / net::kSecond : 0;
  timeout = !destroy || seconds_left != 0;
  state = !ConntrackStateName(c).empty() && (occasion.message != Message::kUpdate ||
                                             (occasion.changes & ctrack::kChangeProtoInfo) != 0);
  counters = copy.counted && (entry || destroy);
  mark = entry || c.mark != 0 || (occasion.changes & ctrack::kChangeMark) != 0 ||
         (occasion.by_operator && occasion.message == Message::kNew);
  use = entry;
  start = copy.start != 0 && (entry || destroy);
  stop = start && destroy;
  stop_nanoseconds = occasion.wall_nanoseconds;
  start_nanoseconds =
      occasion.wall_nanoseconds - static_cast<int64_t>(std::max(copy.now, copy.start) - copy.start);
}

ConnectionCopy CopyOf(const ctrack::Connection& connection, net::Time now) {
  ConnectionCopy copy;
  copy.connection = connection;
  copy.now = now;
  if (const ctrack::Extension* more = connection.extension) {
    copy.counted = more->counted;
    copy.packets = more->packets;
    copy.bytes = more->bytes;
    copy.start = more->start;
  }
  return copy;
}

void AppendConnection(const ConnectionCopy& copy, const ConntrackFormat& format,
                      const ConntrackOccasion& occasion, std::string* to) {
  if (format.save) {
    AppendSave(copy, occasion, to);
  } else if (format.xml) {
    AppendXml(copy, format, occasion, to);
  } else {
    AppendPlain(copy, format, occasion, to);
  }
}

}  // namespace postern::control

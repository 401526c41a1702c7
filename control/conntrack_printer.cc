#include "control/conntrack_printer.h"

#include <fmt/format.h>

#include <ctime>

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

// Empty where the protocol has no states.
std::string_view StateName(const Connection& c) {
  switch (c.original().protocol) {
    case net::kProtoTcp:
      return ToString(c.protocol.tcp.state);
    case net::kProtoSctp:
      return ToString(c.protocol.sctp.state);
    default:
      return "";
  }
}

uint64_t SecondsLeft(const ConnectionCopy& copy) {
  const net::Time expires = copy.connection.expires;
  return expires > copy.now ? (expires - copy.now) / net::kSecond : 0;
}

uint64_t SecondsSinceStart(const ConnectionCopy& copy) {
  return copy.now > copy.start ? (copy.now - copy.start) / net::kSecond : 0;
}

std::string Address(const Tuple& tuple, const net::IpAddress& address) {
  return net::ToString(tuple.family, address);
}

// The kernel's generic tuple prints ports that are zero for DCCP.
bool ShowsPorts(uint8_t protocol) { return net::HasPorts(protocol) || protocol == net::kProtoDccp; }

// "src=… dst=… sport=… dport=… " and what acct counted.
std::string TupleText(const ConnectionCopy& copy, Direction direction) {
  const Tuple& t = copy.connection.tuple(direction);
  std::string text = fmt::format("src={} dst={} ", Address(t, t.source), Address(t, t.destination));
  if (IsIcmp(t.protocol)) {
    text += fmt::format("type={} code={} id={} ", t.IcmpType(), t.IcmpCode(), t.source_key);
  } else if (t.protocol == net::kProtoGre) {
    text += fmt::format("srckey={:#x} dstkey={:#x} ", t.source_key, t.destination_key);
  } else if (ShowsPorts(t.protocol)) {
    text += fmt::format("sport={} dport={} ", t.source_key, t.destination_key);
  }
  if (copy.counted) {
    const auto d = static_cast<size_t>(direction);
    text += fmt::format("packets={} bytes={} ", copy.packets[d], copy.bytes[d]);
  }
  return text;
}

std::string StartText(const ConnectionCopy& copy, int64_t wall_seconds) {
  const auto start =
      static_cast<std::time_t>(wall_seconds - static_cast<int64_t>(SecondsSinceStart(copy)));
  std::tm local{};
  std::array<char, 32> text{};
  if (localtime_r(&start, &local) == nullptr) return "";
  std::strftime(text.data(), text.size(), "%a %b %e %H:%M:%S %Y", &local);
  return fmt::format("[start={}] ", text.data());
}

std::string PlainLine(const ConnectionCopy& copy, const ConntrackFormat& format,
                      int64_t wall_seconds) {
  const Connection& c = copy.connection;
  const Tuple& original = c.original();
  std::string line;
  if (format.extended) {
    line += fmt::format("{:<8} {} ", original.family == Family::kIpv4 ? "ipv4" : "ipv6",
                        static_cast<unsigned>(original.family));
  }
  line += fmt::format("{:<8} {} ", ConntrackProtocolName(original.protocol), original.protocol);
  line += fmt::format("{} ", SecondsLeft(copy));
  if (const std::string_view state = StateName(c); !state.empty()) {
    line += fmt::format("{} ", state);
  }
  line += TupleText(copy, Direction::kOriginal);
  if (!c.Has(ctrack::kSeenReply)) line += "[UNREPLIED] ";
  line += TupleText(copy, Direction::kReply);
  if (c.Has(ctrack::kAssured)) line += "[ASSURED] ";
  line += fmt::format("mark={} ", c.mark);
  if (original.zone != 0) line += fmt::format("zone={} ", original.zone);
  if (copy.start != 0) {
    line += fmt::format("delta-time={} ", SecondsSinceStart(copy));
    if (format.ktimestamp) line += StartText(copy, wall_seconds);
  }
  line += "use=1";
  if (format.id) line += fmt::format(" id={}", c.id);
  return line + "\n";
}

std::string XmlMeta(const ConnectionCopy& copy, Direction direction) {
  const Tuple& t = copy.connection.tuple(direction);
  std::string text = fmt::format(
      "<meta direction=\"{}\"><layer3 protonum=\"{}\" protoname=\"{}\"><src>{}</src><dst>{}</dst>"
      "</layer3><layer4 protonum=\"{}\" protoname=\"{}\">",
      direction == Direction::kOriginal ? "original" : "reply", static_cast<unsigned>(t.family),
      t.family == Family::kIpv4 ? "ipv4" : "ipv6", Address(t, t.source), Address(t, t.destination),
      t.protocol, ConntrackProtocolName(t.protocol));
  if (t.protocol == net::kProtoGre) {
    text += fmt::format("<srckey>{:#x}</srckey><dstkey>{:#x}</dstkey>", t.source_key,
                        t.destination_key);
  } else if (ShowsPorts(t.protocol)) {
    text += fmt::format("<sport>{}</sport><dport>{}</dport>", t.source_key, t.destination_key);
  }
  text += "</layer4>";
  if (copy.counted) {
    const auto d = static_cast<size_t>(direction);
    text += fmt::format("<counters><packets>{}</packets><bytes>{}</bytes></counters>",
                        copy.packets[d], copy.bytes[d]);
  }
  return text + "</meta>";
}

std::string XmlLine(const ConnectionCopy& copy) {
  const Connection& c = copy.connection;
  std::string text = "<flow>" + XmlMeta(copy, Direction::kOriginal) +
                     XmlMeta(copy, Direction::kReply) + "<meta direction=\"independent\">";
  if (const std::string_view state = StateName(c); !state.empty()) {
    text += fmt::format("<state>{}</state>", state);
  }
  text += fmt::format("<timeout>{}</timeout><mark>{}</mark>", SecondsLeft(copy), c.mark);
  if (c.original().zone != 0) text += fmt::format("<zone>{}</zone>", c.original().zone);
  text += fmt::format("<use>1</use><id>{}</id>", c.id);
  if (c.Has(ctrack::kAssured)) text += "<assured/>";
  if (!c.Has(ctrack::kSeenReply)) text += "<unreplied/>";
  if (copy.start != 0) text += fmt::format("<deltatime>{}</deltatime>", SecondsSinceStart(copy));
  return text + "</meta></flow>\n";
}

std::string StatusText(const Connection& c) {
  std::string text;
  const auto add = [&](uint32_t bit, const char* name) {
    if ((c.status & bit) != 0) text += fmt::format("{}{}", text.empty() ? "" : ",", name);
  };
  add(ctrack::kSeenReply, "SEEN_REPLY");
  add(ctrack::kAssured, "ASSURED");
  add(ctrack::kFixedTimeout, "FIXED_TIMEOUT");
  return text.empty() ? "UNSET" : text;
}

// What `conntrack -R` reads: the translation as -n and -g, where there is one, for -q and -r.
std::string SaveLine(const ConnectionCopy& copy) {
  const Connection& c = copy.connection;
  const Tuple& o = c.original();
  const Tuple& r = c.reply();
  std::string text = fmt::format("-A -t {} -u {} -s {} -d {} ", SecondsLeft(copy), StatusText(c),
                                 Address(o, o.source), Address(o, o.destination));
  text += fmt::format("-{} {} -{} {} ", r.source == o.destination ? 'r' : 'g', Address(r, r.source),
                      r.destination == o.source ? 'q' : 'n', Address(r, r.destination));
  const bool named = ConntrackProtocolName(o.protocol) != std::string_view("unknown");
  text += named ? fmt::format("-p {}", ConntrackProtocolName(o.protocol))
                : fmt::format("-p {}", o.protocol);
  if (IsIcmp(o.protocol)) {
    const char* name = o.protocol == net::kProtoIcmp ? "icmp" : "icmpv6";
    text += fmt::format(" --{0}-type {1} --{0}-code {2} --{0}-id {3}", name, o.IcmpType(),
                        o.IcmpCode(), o.source_key);
  } else if (o.protocol == net::kProtoGre) {
    text += fmt::format(" --srckey {} --dstkey {} --reply-key-src {} --reply-key-dst {}",
                        o.source_key, o.destination_key, r.source_key, r.destination_key);
  } else if (ShowsPorts(o.protocol)) {
    text += fmt::format(" --sport {} --dport {} --reply-port-src {} --reply-port-dst {}",
                        o.source_key, o.destination_key, r.source_key, r.destination_key);
  }
  if (const std::string_view state = StateName(c); !state.empty()) {
    text += fmt::format(" --state {}", state);
  }
  if (c.mark != 0) text += fmt::format(" -m {}", c.mark);
  return text + "\n";
}

}  // namespace

const char* ConntrackProtocolName(uint8_t protocol) {
  switch (protocol) {
    case net::kProtoIcmp:
      return "icmp";
    case net::kProtoTcp:
      return "tcp";
    case net::kProtoUdp:
      return "udp";
    case net::kProtoDccp:
      return "dccp";
    case net::kProtoGre:
      return "gre";
    case net::kProtoIcmpv6:
      return "icmpv6";
    case net::kProtoSctp:
      return "sctp";
    case net::kProtoUdpLite:
      return "udplite";
    default:
      return "unknown";
  }
}

std::string PrintConnection(const ConnectionCopy& copy, const ConntrackFormat& format,
                            int64_t wall_seconds) {
  switch (format.kind) {
    case ConntrackFormat::Kind::kXml:
      return XmlLine(copy);
    case ConntrackFormat::Kind::kSave:
      return SaveLine(copy);
    case ConntrackFormat::Kind::kPlain:
      break;
  }
  return PlainLine(copy, format, wall_seconds);
}

}  // namespace postern::control

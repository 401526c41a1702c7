#include "control/conntrack_help.h"

#include <fmt/format.h>

#include <string_view>

#include "control/conntrack_grammar.h"

namespace postern::control {
namespace {

constexpr std::string_view kHelp =
    "Postern's connection tracking, with the commands of conntrack-tools 1.4.7\n"
    "Usage: conntrack [commands] [options]\n"
    "\n"
    "Commands:\n"
    "  -L [table] [options]\t\tList connections or expectations\n"
    "  -G [table] parameters\t\tShow one\n"
    "  -D [table] parameters\t\tDelete those that the parameters choose\n"
    "  -I [table] parameters\t\tCreate one\n"
    "  -A parameters\t\t\tCreate one unless it exists\n"
    "  -U parameters\t\t\tChange those that the parameters choose\n"
    "  -E [table] [options]\t\tShow what happens, until interrupted\n"
    "  -F [table]\t\t\tDelete all\n"
    "  -C [table]\t\t\tCount\n"
    "  -R, --load-file file\t\tDo the commands of a file, as -o save writes it; - for the input\n"
    "  -S\t\t\t\tShow statistics, a line per worker\n"
    "  -V\t\t\t\tShow the version\n"
    "  -h [-p proto]\t\t\tShow this, and the protocol's options\n"
    "\n"
    "Tables: conntrack, expect, dying, unconfirmed\n"
    "\n"
    "Which connections:\n"
    "  -s, --src, --orig-src ip[/len]\tsource of the original direction\n"
    "  -d, --dst, --orig-dst ip[/len]\tdestination of the original direction\n"
    "  -r, --reply-src ip\t\t\tsource of the answers\n"
    "  -q, --reply-dst ip\t\t\tdestination of the answers\n"
    "  --mask-src mask, --mask-dst mask\tmasks for -s and -d\n"
    "  -n, --src-nat [ip[:port]]\t\twith a translated source\n"
    "  -g, --dst-nat [ip[:port]]\t\twith a translated destination\n"
    "  -j, --any-nat [ip[:port]]\t\twith either\n"
    "  -p, --protonum proto\t\t\tlayer 4 protocol, as tcp\n"
    "  -f, --family proto\t\t\tlayer 3 protocol: ipv4 or ipv6\n"
    "  -m, --mark mark[/mask]\t\tmark\n"
    "  -u, --status status[,...]\t\tASSURED, SEEN_REPLY, UNREPLIED, FIXED_TIMEOUT; ! negates\n"
    "  -w, --zone value\t\t\tzone; --orig-zone and --reply-zone of one direction\n"
    "  -i, --id value\t\t\tid, as -o id shows it\n"
    "  -t, --timeout seconds\t\t\ttimeout\n"
    "  -l, --label label[,...]\t\tlabels, which no connection of Postern's has; so also\n"
    "  --label-add, --label-del label[,...]\n"
    "  -c, --secmark mark\t\t\tsecurity mark, likewise\n"
    "  --tuple-src ip, --tuple-dst ip\tof an expectation, likewise\n"
    "\n"
    "What is shown:\n"
    "  -o, --output type[,...]\t\textended, id, timestamp, ktimestamp, labels, xml, save\n"
    "  -z, --zero\t\t\t\tzero the counters while listing\n"
    "  -e, --event-mask mask[,...]\t\tNEW, UPDATES, DESTROY, ALL\n"
    "  -b, --buffer-size bytes\t\troom for events that aren't read yet\n";

}  // namespace

std::string ConntrackHelp(std::optional<uint8_t> protocol) {
  std::string text(kHelp);
  text += '\n';
  if (!protocol) return text;
  text += fmt::format("Options after -p {}:\n", ConntrackProtocolName(*protocol));
  for (const OptionSpec& spec : ProtocolOptionSpecs(*protocol)) {
    text += fmt::format("  --{}\n", spec.name);
  }
  if (ProtocolOptionSpecs(*protocol).empty()) text += "  none\n";
  return text;
}

}  // namespace postern::control

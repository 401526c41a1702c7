#include "control/conntrack_grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using Verb = ConntrackVerb;
using Table = ConntrackTable;

constexpr auto kNone = OptionArgument::kNone;
constexpr auto kRequired = OptionArgument::kRequired;
constexpr auto kOptional = OptionArgument::kOptional;

constexpr auto kSpecs = std::to_array<OptionSpec>({
    {"dump", 'L', kOptional, 'L'},
    {"create", 'I', kOptional, 'I'},
    {"add", 'A', kOptional, 'A'},
    {"delete", 'D', kOptional, 'D'},
    {"update", 'U', kOptional, 'U'},
    {"get", 'G', kOptional, 'G'},
    {"flush", 'F', kOptional, 'F'},
    {"event", 'E', kOptional, 'E'},
    {"counter", 'C', kOptional, 'C'},
    {"stats", 'S', kOptional, 'S'},
    {"version", 'V', kOptional, 'V'},
    {"help", 'h', kOptional, 'h'},
    {"orig-src", 's', kRequired, 's'},
    {"src", '\0', kRequired, 's'},
    {"orig-dst", 'd', kRequired, 'd'},
    {"dst", '\0', kRequired, 'd'},
    {"reply-src", 'r', kRequired, 'r'},
    {"reply-dst", 'q', kRequired, 'q'},
    {"protonum", 'p', kRequired, 'p'},
    {"timeout", 't', kRequired, 't'},
    {"status", 'u', kRequired, 'u'},
    {"zero", 'z', kNone, 'z'},
    {"event-mask", 'e', kRequired, 'e'},
    {"tuple-src", '[', kRequired, kTupleSourceCode},
    {"tuple-dst", ']', kRequired, kTupleDestinationCode},
    {"mask-src", '{', kRequired, kMaskSourceCode},
    {"mask-dst", '}', kRequired, kMaskDestinationCode},
    {"nat-range", 'a', kRequired, 'a'},
    {"mark", 'm', kRequired, 'm'},
    {"secmark", 'c', kRequired, 'c'},
    {"id", 'i', kRequired, 'i'},
    {"family", 'f', kRequired, 'f'},
    {"src-nat", 'n', kOptional, 'n'},
    {"dst-nat", 'g', kOptional, 'g'},
    {"output", 'o', kRequired, 'o'},
    {"buffer-size", 'b', kRequired, 'b'},
    {"any-nat", 'j', kOptional, 'j'},
    {"zone", 'w', kRequired, 'w'},
    {"label", 'l', kRequired, 'l'},
    {"label-add", '<', kRequired, kLabelAddCode},
    {"label-del", '>', kOptional, kLabelDeleteCode},
    {"orig-zone", '(', kRequired, kOriginalZoneCode},
    {"reply-zone", ')', kRequired, kReplyZoneCode},
});

// Ports, with the names that the options of one protocol have.
constexpr auto kPortSpecs = std::to_array<OptionSpec>({
    {"orig-port-src", '\0', kRequired, kOriginalSourceKey},
    {"sport", '\0', kRequired, kOriginalSourceKey},
    {"orig-port-dst", '\0', kRequired, kOriginalDestinationKey},
    {"dport", '\0', kRequired, kOriginalDestinationKey},
    {"reply-port-src", '\0', kRequired, kReplySourceKey},
    {"reply-port-dst", '\0', kRequired, kReplyDestinationKey},
    {"mask-port-src", '\0', kRequired, kMaskSourceKey},
    {"mask-port-dst", '\0', kRequired, kMaskDestinationKey},
    {"tuple-port-src", '\0', kRequired, kTupleSourceKey},
    {"tuple-port-dst", '\0', kRequired, kTupleDestinationKey},
});
constexpr auto kStateSpec = std::to_array<OptionSpec>({{"state", '\0', kRequired, kStateCode}});
constexpr auto kTagSpecs = std::to_array<OptionSpec>({
    {"orig-vtag", '\0', kRequired, kOriginalTag},
    {"reply-vtag", '\0', kRequired, kReplyTag},
});
constexpr auto kRoleSpec = std::to_array<OptionSpec>({{"role", '\0', kRequired, kRole}});

template <size_t kA, size_t kB>
constexpr std::array<OptionSpec, kA + kB> Join(const std::array<OptionSpec, kA>& a,
                                               const std::array<OptionSpec, kB>& b) {
  std::array<OptionSpec, kA + kB> both;
  std::copy(a.begin(), a.end(), both.begin());
  std::copy(b.begin(), b.end(), both.begin() + kA);
  return both;
}
constexpr auto kTcpSpecs = Join(kPortSpecs, kStateSpec);
constexpr auto kSctpSpecs = Join(kTcpSpecs, kTagSpecs);
constexpr auto kDccpSpecs = Join(kTcpSpecs, kRoleSpec);

constexpr auto kGreSpecs = std::to_array<OptionSpec>({
    {"orig-key-src", '\0', kRequired, kOriginalSourceKey},
    {"srckey", '\0', kRequired, kOriginalSourceKey},
    {"orig-key-dst", '\0', kRequired, kOriginalDestinationKey},
    {"dstkey", '\0', kRequired, kOriginalDestinationKey},
    {"reply-key-src", '\0', kRequired, kReplySourceKey},
    {"reply-key-dst", '\0', kRequired, kReplyDestinationKey},
    {"mask-key-src", '\0', kRequired, kMaskSourceKey},
    {"mask-key-dst", '\0', kRequired, kMaskDestinationKey},
    {"tuple-key-src", '\0', kRequired, kTupleSourceKey},
    {"tuple-key-dst", '\0', kRequired, kTupleDestinationKey},
});
constexpr auto kIcmpSpecs = std::to_array<OptionSpec>({
    {"icmp-type", '\0', kRequired, kIcmpType},
    {"icmp-code", '\0', kRequired, kIcmpCode},
    {"icmp-id", '\0', kRequired, kIcmpId},
});
constexpr auto kIcmpv6Specs = std::to_array<OptionSpec>({
    {"icmpv6-type", '\0', kRequired, kIcmpType},
    {"icmpv6-code", '\0', kRequired, kIcmpCode},
    {"icmpv6-id", '\0', kRequired, kIcmpId},
});

struct VerbLetter {
  char letter;
  Verb verb;
};
constexpr auto kVerbs = std::to_array<VerbLetter>({{'L', Verb::kList},
                                                   {'I', Verb::kCreate},
                                                   {'A', Verb::kAdd},
                                                   {'U', Verb::kUpdate},
                                                   {'D', Verb::kDelete},
                                                   {'G', Verb::kGet},
                                                   {'F', Verb::kFlush},
                                                   {'E', Verb::kEvent},
                                                   {'V', Verb::kVersion},
                                                   {'h', Verb::kHelp},
                                                   {'C', Verb::kCount},
                                                   {'S', Verb::kStatistics}});

// The options in the order in which the original looks for one too few or too many.
constexpr std::string_view kOrder = "sdrqptuze[]{}amifngocbjwl<>()";

// Of each command: options that it needs, may have, and those that come as a pair of either
// direction (both addresses, both ports).
struct Rule {
  Verb verb;
  bool expect;
  std::string_view needed, optional, paired;
};
constexpr auto kRules = std::to_array<Rule>({
    {Verb::kList, false, "", "sdrqpuz{}mfngocjwl()", ""},
    {Verb::kCreate, false, "pt", "uamngw<()", "sdrq"},
    {Verb::kAdd, false, "pt", "uamngw<()", "sdrq"},
    {Verb::kUpdate, false, "", "sdrqptu{}mifngol<>", ""},
    {Verb::kDelete, false, "", "sdrqptu{}mifngowl()", ""},
    {Verb::kGet, false, "p", "iol", "sdrq"},
    {Verb::kFlush, false, "", "f", ""},
    {Verb::kEvent, false, "", "sdrqpe{}mfngocbjwl()", ""},
    {Verb::kHelp, false, "", "p", ""},
    {Verb::kHelp, true, "", "p", ""},
    {Verb::kList, true, "", "fo", ""},
    {Verb::kCreate, true, "sdpt[]{}", "rqu", ""},
    {Verb::kDelete, true, "sdp", "rq", ""},
    {Verb::kGet, true, "sdp", "rq", ""},
    {Verb::kEvent, true, "", "o", ""},
});

const Rule& RuleOf(Verb verb, Table table) {
  static constexpr Rule kNothing{};
  const bool expect = table == Table::kExpect;
  const auto found = std::find_if(kRules.begin(), kRules.end(), [&](const Rule& rule) {
    return rule.verb == verb && rule.expect == expect;
  });
  return found == kRules.end() ? kNothing : *found;
}

bool Contains(std::string_view letters, char letter) {
  return letters.find(letter) != std::string_view::npos;
}

std::string Needed(std::string_view name) {
  return fmt::format("You need to supply the `--{}' option for this command", name);
}
std::string Surplus(std::string_view name) {
  return fmt::format("Illegal option `--{}' with this command", name);
}

// Whether the pairs of both directions are as the original wants them: one of them whole. Where
// not, the first one that isn't begun is asked for, or else the one that is begun.
enum class PairCheck : uint8_t { kGood, kWantOriginal, kWantReply };
PairCheck CheckPairs(bool original_first, bool original_second, bool reply_first,
                     bool reply_second) {
  if ((original_first && original_second) || (reply_first && reply_second)) {
    return PairCheck::kGood;
  }
  const bool only_reply = !original_first && !original_second && (reply_first || reply_second);
  return only_reply ? PairCheck::kWantReply : PairCheck::kWantOriginal;
}

enum class Use : uint8_t { kNever, kMust, kMay, kPair };

// What a command makes of a protocol's option.
Use UseOf(Verb verb, bool expect, uint8_t protocol, int code) {
  const bool key = code >= kOriginalSourceKey && code <= kReplyDestinationKey;
  const bool icmp = code >= kIcmpType;
  const bool begins = verb == Verb::kCreate || verb == Verb::kAdd;
  if (expect) {
    const bool original = code == kOriginalSourceKey || code == kOriginalDestinationKey;
    const bool tuple = code == kMaskSourceKey || code == kMaskDestinationKey ||
                       code == kTupleSourceKey || code == kTupleDestinationKey;
    const bool more = code == kOriginalTag || code == kReplyTag || code == kRole;
    const bool gre = protocol == net::kProtoGre;
    if (verb == Verb::kCreate) {
      return original || tuple || more || (gre && key) ? Use::kMust : Use::kNever;
    }
    const bool names_one = verb == Verb::kDelete || verb == Verb::kGet;
    return names_one && key ? Use::kMust : Use::kNever;
  }
  if (begins || verb == Verb::kGet) {
    if (key) return Use::kPair;
    if (icmp) return code == kIcmpId ? Use::kMay : Use::kMust;
    if (code == kStateCode) return begins ? Use::kMust : Use::kMay;
    if (code == kOriginalTag || code == kReplyTag) return begins ? Use::kMust : Use::kMay;
    return code == kRole && begins ? Use::kMust : Use::kNever;
  }
  if (verb == Verb::kUpdate && (code == kOriginalTag || code == kReplyTag)) return Use::kMay;
  const bool chooses =
      verb == Verb::kList || verb == Verb::kUpdate || verb == Verb::kDelete || verb == Verb::kEvent;
  return chooses && (key || icmp || code == kStateCode) ? Use::kMay : Use::kNever;
}

std::string PairSentence(uint8_t protocol, PairCheck check) {
  const bool gre = protocol == net::kProtoGre;
  if (check == PairCheck::kWantOriginal) {
    return gre ? "you have to specify `--srckey' and `--dstkey'"
               : "you have to specify `--sport' and `--dport'";
  }
  if (gre) return "you have to specify `--reply-src-key' and `--reply-dst-key'";
  return protocol == net::kProtoDccp
             ? "you have to specify `--reply-port-src' and `--report-port-dst'"
             : "you have to specify `--reply-src-port' and `--reply-dst-port'";
}

// The name in sentences: the short one where there are two.
std::string_view ProtocolOptionName(uint8_t protocol, int code) {
  std::string_view name;
  for (const OptionSpec& spec : ProtocolOptionSpecs(protocol)) {
    if (spec.code == code) name = spec.name;
  }
  return name;
}

}  // namespace

std::span<const OptionSpec> ConntrackOptionSpecs() { return kSpecs; }

std::span<const OptionSpec> ProtocolOptionSpecs(uint8_t protocol) {
  switch (protocol) {
    case net::kProtoTcp:
      return kTcpSpecs;
    case net::kProtoSctp:
      return kSctpSpecs;
    case net::kProtoDccp:
      return kDccpSpecs;
    case net::kProtoUdp:
    case net::kProtoUdpLite:
      return kPortSpecs;
    case net::kProtoGre:
      return kGreSpecs;
    case net::kProtoIcmp:
      return kIcmpSpecs;
    case net::kProtoIcmpv6:
      return kIcmpv6Specs;
    default:
      return {};
  }
}

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

ConntrackVerb VerbOf(int code) {
  const auto found = std::find_if(kVerbs.begin(), kVerbs.end(),
                                  [code](const VerbLetter& v) { return v.letter == code; });
  return found == kVerbs.end() ? Verb::kNone : found->verb;
}

char LetterOf(ConntrackVerb verb) {
  const auto found = std::find_if(kVerbs.begin(), kVerbs.end(),
                                  [verb](const VerbLetter& v) { return v.verb == verb; });
  return found == kVerbs.end() ? '\0' : found->letter;
}

std::string_view LongName(int code) {
  const auto found = std::find_if(kSpecs.begin(), kSpecs.end(),
                                  [code](const OptionSpec& spec) { return spec.code == code; });
  return found == kSpecs.end() ? "unknown" : found->name;
}

uint64_t GivenOptions::Bit(int code) {
  if (code >= kFirstProtocolCode) return uint64_t{1} << (kOrder.size() + code - kFirstProtocolCode);
  const size_t place = kOrder.find(static_cast<char>(code));
  return place == std::string_view::npos ? 0 : uint64_t{1} << place;
}
static_assert(kOrder.size() + kLastProtocolCode - kFirstProtocolCode <= 64);

std::optional<std::string> CheckOptions(ConntrackVerb verb, ConntrackTable table,
                                        const GivenOptions& given) {
  const Rule& rule = RuleOf(verb, table);
  for (const char letter : kOrder) {
    // The original's sentences say --src and --dst.
    const std::string_view name = letter == 's' ? "src" : letter == 'd' ? "dst" : LongName(letter);
    if (!given.Has(letter)) {
      if (Contains(rule.needed, letter)) return Needed(name);
    } else if (!Contains(rule.needed, letter) && !Contains(rule.optional, letter) &&
               !Contains(rule.paired, letter)) {
      return Surplus(name);
    }
  }
  if (rule.paired.empty()) return std::nullopt;
  switch (CheckPairs(given.Has('s'), given.Has('d'), given.Has('r'), given.Has('q'))) {
    case PairCheck::kWantOriginal:
      return "you have to specify `--src' and `--dst'";
    case PairCheck::kWantReply:
      return "you have to specify `--reply-src' and `--reply-dst'";
    case PairCheck::kGood:
      break;
  }
  return std::nullopt;
}

std::optional<std::string> CheckProtocolOptions(ConntrackVerb verb, ConntrackTable table,
                                                uint8_t protocol, const GivenOptions& given) {
  const bool expect = table == Table::kExpect;
  bool paired = false;
  for (int code = kFirstProtocolCode; code < kLastProtocolCode; ++code) {
    const std::string_view name = ProtocolOptionName(protocol, code);
    if (name.empty()) continue;
    const Use use = UseOf(verb, expect, protocol, code);
    if (use == Use::kMust && !given.Has(code)) return Needed(name);
    if (use == Use::kNever && given.Has(code)) return Surplus(name);
    paired = paired || use == Use::kPair;
  }
  if (!paired) return std::nullopt;
  const PairCheck check =
      CheckPairs(given.Has(kOriginalSourceKey), given.Has(kOriginalDestinationKey),
                 given.Has(kReplySourceKey), given.Has(kReplyDestinationKey));
  if (check == PairCheck::kGood) return std::nullopt;
  return PairSentence(protocol, check);
}

}  // namespace postern::control

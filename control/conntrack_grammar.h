// The options of conntrack-tools 1.4.7 and which of them a command takes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "control/options.h"

namespace postern::control {

enum class ConntrackVerb : uint8_t {
  kNone,
  kList,
  kCreate,
  kAdd,
  kUpdate,
  kDelete,
  kGet,
  kFlush,
  kEvent,
  kVersion,
  kHelp,
  kCount,
  kStatistics,
};
enum class ConntrackTable : uint8_t { kConntrack, kExpect, kDying, kUnconfirmed };

// Codes of options are the original's letters; those of long options without one have a sign.
inline constexpr char kMaskSourceCode = '{';
inline constexpr char kMaskDestinationCode = '}';
inline constexpr char kTupleSourceCode = '[';
inline constexpr char kTupleDestinationCode = ']';
inline constexpr char kLabelAddCode = '<';
inline constexpr char kLabelDeleteCode = '>';
inline constexpr char kOriginalZoneCode = '(';
inline constexpr char kReplyZoneCode = ')';

// Codes of protocols' options, after all letters.
enum ConntrackProtocolCode : int {
  kFirstProtocolCode = 256,
  kOriginalSourceKey = kFirstProtocolCode,
  kOriginalDestinationKey,
  kReplySourceKey,
  kReplyDestinationKey,
  kMaskSourceKey,
  kMaskDestinationKey,
  kStateCode,
  kTupleSourceKey,
  kTupleDestinationKey,
  kOriginalTag,
  kReplyTag,
  kRole,
  kIcmpType,
  kIcmpCode,
  kIcmpId,
  kLastProtocolCode,
};

// Every option that needs no -p, commands first.
std::span<const OptionSpec> ConntrackOptionSpecs();
// What -p makes known; empty for protocols that conntrack has no options for.
std::span<const OptionSpec> ProtocolOptionSpecs(uint8_t protocol);

// "tcp", "udp", …; "unknown" for what conntrack has no name for.
const char* ConntrackProtocolName(uint8_t protocol);

// The letter's command on `table`; kNone where there is none (-U and -A know no expectations).
ConntrackVerb VerbOf(int code);
// '\0' for kNone.
char LetterOf(ConntrackVerb verb);
// How the original calls the command's option in a sentence: "update".
std::string_view LongName(int code);

// The options that were given, by code.
class GivenOptions {
 public:
  void Add(int code) { bits_ |= Bit(code); }
  bool Has(int code) const { return (bits_ & Bit(code)) != 0; }

 private:
  static uint64_t Bit(int code);
  uint64_t bits_ = 0;
};

// The original's sentence about an option too few or too many; nothing where all is well.
std::optional<std::string> CheckOptions(ConntrackVerb verb, ConntrackTable table,
                                        const GivenOptions& given);
std::optional<std::string> CheckProtocolOptions(ConntrackVerb verb, ConntrackTable table,
                                                uint8_t protocol, const GivenOptions& given);

}  // namespace postern::control

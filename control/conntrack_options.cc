#include "control/conntrack_options.h"

#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "control/options.h"
#include "dataplane/net/wire.h"

namespace postern::control {
namespace {

using net::Family;
using Verb = ConntrackVerb;
using Table = ConntrackTable;

// The original takes a number's low bits, and anything else as 0.
template <typename T>
T Number(const std::string& text, int base) {
  return static_cast<T>(std::strtoll(text.c_str(), nullptr, base));
}

class Parser {
 public:
  Parser(const std::vector<std::string>& arguments, ConntrackOptions* options,
         ConntrackError* error)
      : walk_(arguments),
        options_(options),
        filter_(options->filter),
        error_(error),
        specs_(ConntrackOptionSpecs().begin(), ConntrackOptionSpecs().end()) {}

  bool Parse() {
    for (;;) {
      const OptionWalk::Item item = walk_.Next(specs_);
      switch (item.kind) {
        case OptionWalk::Kind::kEnd:
          return Finish();
        case OptionWalk::Kind::kOperand:
          break;  // the original doesn't look at them
        case OptionWalk::Kind::kUnknown:
          return Fail(fmt::format("unknown option `{}'", item.value));
        case OptionWalk::Kind::kNoValue:
          return Fail(fmt::format("option `{}' requires an argument", item.value));
        case OptionWalk::Kind::kOption:
          if (!Take(item)) return false;
      }
    }
  }

 private:
  bool Fail(std::string message) {
    error_->message = std::move(message);
    return false;
  }
  bool FailWithoutHint(std::string message) {
    error_->status = 1;
    error_->hint = false;
    return Fail(std::move(message));
  }
  bool Check(const ValueError& error) { return !error || Fail(*error); }

  bool Take(const OptionWalk::Item& item) {
    const int code = item.spec->code;
    const Verb verb = VerbOf(code);
    if (verb != Verb::kNone) return SetVerb(verb, item);
    if (code != 'a') options_->given.Add(code);  // deprecated: nothing but a warning
    if (code >= kFirstProtocolCode) return TakeProtocolOption(code, item.value);
    switch (code) {
      case 's':
      case 'd':
      case 'r':
      case 'q':
      case kMaskSourceCode:
      case kMaskDestinationCode:
      case kTupleSourceCode:
      case kTupleDestinationCode:
        return TakeAddress(static_cast<char>(code), item.value);
      case 'n':
      case 'g':
      case 'j':
        return TakeNat(static_cast<char>(code), item.has_value ? &item.value : nullptr);
      case 'p':
        return TakeProtocol(item.value);
      case 'f':
        return TakeFamily(item.value);
      case 'l':
      case kLabelAddCode:
      case kLabelDeleteCode:
        return TakeLabel(code, item);
      default:
        return TakeSimple(code, item.value);
    }
  }

  bool SetVerb(Verb verb, const OptionWalk::Item& item) {
    Table table = Table::kConntrack;
    if (item.has_value && !Check(ParseConntrackTable(item.value, &table))) return false;
    if (verb != Verb::kList && (table == Table::kDying || table == Table::kUnconfirmed)) {
      return Fail("Can't do that command with tables `dying' and `unconfirmed'");
    }
    if (table == Table::kExpect && (verb == Verb::kUpdate || verb == Verb::kAdd)) {
      return Fail(fmt::format("Can't do --{} on expectations", LongName(item.spec->code)));
    }
    if (options_->verb != Verb::kNone) return Fail("Invalid commands combination");
    options_->verb = verb;
    options_->table = table;
    return true;
  }

  bool TakeSimple(int code, const std::string& value) {
    std::vector<std::string>* warnings = &options_->warnings;
    switch (code) {
      case 't':
        filter_.timeout = Number<uint32_t>(value, 10);
        return true;
      case 'u': {
        uint32_t status = 0;
        const ValueError error =
            ParseConntrackStatus(value, &status, &filter_.status_mask, warnings);
        filter_.status = status;
        return Check(error);
      }
      case 'e':
        if (std::exchange(events_given_, true) == false) options_->events = 0;
        return Check(ParseConntrackEvents(value, &options_->events, warnings));
      case 'o':
        return TakeOutput(value);
      case 'm':
        return TakeMark(value);
      case 'i':
        filter_.id = Number<uint32_t>(value, 0);
        return true;
      case 'w':
        filter_.zone = Number<uint16_t>(value, 0);
        return true;
      case kOriginalZoneCode:
        filter_.original_zone = Number<uint16_t>(value, 0);
        return true;
      case kReplyZoneCode:
        filter_.reply_zone = Number<uint16_t>(value, 0);
        return true;
      case 'b':
        options_->buffer_size = Number<uint64_t>(value, 10);
        return true;
      case 'a':
        warnings->push_back("WARNING: ignoring -a, deprecated option.\n");
        return true;
      default:
        return true;  // -z, and -c: no connection of Postern's has a secmark
    }
  }

  bool TakeOutput(const std::string& value) {
    ConntrackFormat& format = options_->format;
    if (!Check(ParseConntrackOutput(value, &format, &options_->warnings))) return false;
    const bool other = format.xml || format.extended || format.timestamp || format.id ||
                       format.ktimestamp || format.labels;
    if (!format.save || !other) return true;
    return FailWithoutHint(
        "cannot combine save output with any other output type, use -o save only");
  }

  bool TakeMark(const std::string& value) {
    char* end = nullptr;
    filter_.mark = static_cast<uint32_t>(std::strtoul(value.c_str(), &end, 0));
    filter_.mark_mask =
        *end == '/' ? static_cast<uint32_t>(std::strtoul(end + 1, nullptr, 0)) : 0xffffffff;
    return true;
  }

  // Postern's connections have no labels, so no name of one is known.
  bool TakeLabel(int code, const OptionWalk::Item& item) {
    if (options_->given.Has(kLabelAddCode) && options_->given.Has(kLabelDeleteCode)) {
      return FailWithoutHint("cannot use --label-add and --label-del at the same time");
    }
    if (code == kLabelDeleteCode && !item.has_value) return true;
    return Fail(fmt::format("unknown label '{}'", item.value.substr(0, item.value.find(','))));
  }

  bool SetFamily(Family family) {
    if (filter_.family && *filter_.family != family) return Fail("mismatched address family");
    filter_.family = family;
    return true;
  }

  bool TakeAddress(char code, const std::string& value) {
    ConntrackAddress address;
    const bool cidr =
        code == 's' || code == 'd' || code == kTupleSourceCode || code == kTupleDestinationCode;
    if (!Check(ParseConntrackAddress(value, cidr, LongName(code), &address))) return false;
    if (!SetFamily(address.family)) return false;
    switch (code) {
      case 's':
        filter_.original.source = address.address;
        if (address.mask) SetMask(kMaskSourceCode, *address.mask);
        break;
      case 'd':
        filter_.original.destination = address.address;
        if (address.mask) SetMask(kMaskDestinationCode, *address.mask);
        break;
      case 'r':
        filter_.reply.source = address.address;
        break;
      case 'q':
        filter_.reply.destination = address.address;
        break;
      case kMaskSourceCode:
      case kMaskDestinationCode:
        SetMask(code, address.address);
        break;
      default:
        break;  // the expectation's tuple
    }
    return true;
  }

  void SetMask(char code, const net::IpAddress& mask) {
    options_->given.Add(code);
    (code == kMaskSourceCode ? filter_.source_mask : filter_.destination_mask) = mask;
  }

  bool TakeNat(char code, const std::string* value) {
    NatFilter nat;
    if (value != nullptr) {
      std::string host;
      ConntrackAddress address;
      if (!Check(SplitNatAddress(*value, &host, &nat.port)) ||
          !Check(ParseConntrackAddress(host, false, LongName(code), &address)) ||
          !SetFamily(address.family)) {
        return false;
      }
      nat.address = address.address;
    }
    (code == 'n'   ? filter_.source_nat
     : code == 'g' ? filter_.destination_nat
                   : filter_.any_nat) = nat;
    return true;
  }

  bool TakeProtocol(const std::string& value) {
    uint8_t protocol = 0;
    if (!Check(ParseConntrackProtocol(value, &protocol))) return false;
    filter_.protocol = protocol;
    const std::span<const OptionSpec> more = ProtocolOptionSpecs(protocol);
    specs_.insert(specs_.end(), more.begin(), more.end());
    return true;
  }

  bool TakeFamily(const std::string& value) {
    if (value.starts_with("ipv4")) return SetFamily(Family::kIpv4);
    if (value.starts_with("ipv6")) return SetFamily(Family::kIpv6);
    return Fail(fmt::format("`{}' unsupported protocol", value));
  }

  bool TakeProtocolOption(int code, const std::string& value) {
    const int base = filter_.protocol == net::kProtoGre ? 0 : 10;
    switch (code) {
      case kOriginalSourceKey:
        filter_.original.source_key = Number<uint16_t>(value, base);
        return true;
      case kOriginalDestinationKey:
        filter_.original.destination_key = Number<uint16_t>(value, base);
        return true;
      case kReplySourceKey:
        filter_.reply.source_key = Number<uint16_t>(value, base);
        return true;
      case kReplyDestinationKey:
        filter_.reply.destination_key = Number<uint16_t>(value, base);
        return true;
      case kIcmpType:
        filter_.icmp_type = Number<uint8_t>(value, base);
        return true;
      case kIcmpCode:
        filter_.icmp_code = Number<uint8_t>(value, base);
        return true;
      case kIcmpId:
        filter_.icmp_id = Number<uint16_t>(value, base);
        return true;
      case kStateCode:
        return Check(ParseConntrackState(*filter_.protocol, value, &filter_));
      case kRole:
        return Check(ParseDccpRole(value));
      case kOriginalTag:
        filter_.original_tag = Number<uint32_t>(value, base);
        return true;
      case kReplyTag:
        filter_.reply_tag = Number<uint32_t>(value, base);
        return true;
      default:
        return true;  // an expectation's ports
    }
  }

  bool Finish() {
    const GivenOptions& given = options_->given;
    if (given.Has('j') && (given.Has('n') || given.Has('g'))) {
      return Fail("cannot specify `--src-nat' or `--dst-nat' with `--any-nat'");
    }
    const Verb verb = options_->verb;
    if (verb == Verb::kNone) return true;
    if (!Check(CheckOptions(verb, options_->table, given))) return false;
    if (verb != Verb::kHelp && filter_.protocol &&
        !Check(CheckProtocolOptions(verb, options_->table, *filter_.protocol, given))) {
      return false;
    }
    return options_->table == Table::kExpect || FinishFilter();
  }

  // What the original only finds when it has begun.
  bool FinishFilter() {
    const GivenOptions& given = options_->given;
    if (options_->table == Table::kConntrack && given.Has('z')) {
      constexpr std::string_view kFilters = "psdrqmcuiwl()";
      for (const char letter : kFilters) {
        if (given.Has(letter)) return Fail("Can't use -z with filtering parameters");
      }
    }
    if (given.Has(kMaskSourceCode) && !given.Has('s')) {
      return Fail("Can't use --mask-src without --src");
    }
    if (given.Has(kMaskDestinationCode) && !given.Has('d')) {
      return Fail("Can't use --mask-dst without --dst");
    }
    return true;
  }

  OptionWalk walk_;
  ConntrackOptions* options_;
  ConntrackFilter& filter_;
  ConntrackError* error_;
  std::vector<OptionSpec> specs_;  // grows with -p
  bool events_given_ = false;
};

}  // namespace

bool ParseConntrackOptions(const std::vector<std::string>& arguments, ConntrackOptions* options,
                           ConntrackError* error) {
  return Parser(arguments, options, error).Parse();
}

}  // namespace postern::control

// -j LOG.
#include "control/iptables/problem.h"
#include "control/iptables/registry.h"

namespace postern::control::iptables {
namespace {

using rules::LogTarget;

// The ids of the flags are their bits.
enum : uint8_t { kSequence, kTcpOptions, kIpOptions, kUid, kLevel = 6, kMac = 5, kPrefix = 7 };
constexpr OptionSpec kOptions[] = {
    {"log-level", kLevel, OptionType::kLogLevel},
    {"log-prefix", kPrefix, OptionType::kString, 0, 1},
    {"log-tcp-sequence", kSequence, OptionType::kNone},
    {"log-tcp-options", kTcpOptions, OptionType::kNone},
    {"log-ip-options", kIpOptions, OptionType::kNone},
    {"log-uid", kUid, OptionType::kNone},
    {"log-macdecode", kMac, OptionType::kNone},
};
constexpr uint8_t kDefaultLevel = 4;
constexpr size_t kMaxPrefix = 29;

struct FlagName {
  uint8_t flag;
  std::string_view option;
  std::string_view label;
};
constexpr FlagName kFlagNames[] = {
    {LogTarget::kTcpSequence, " --log-tcp-sequence", " tcp-sequence"},
    {LogTarget::kTcpOptions, " --log-tcp-options", " tcp-options"},
    {LogTarget::kIpOptions, " --log-ip-options", " ip-options"},
    {LogTarget::kUid, " --log-uid", " uid"},
    {LogTarget::kMacDecode, " --log-macdecode", " macdecode"},
};
// <syslog.h>'s names.
constexpr std::string_view kLevelNames[] = {"emerg", "alert",  "crit", "err",
                                            "warn",  "notice", "info", "debug"};

class LogExtension : public TargetOf<LogTarget> {
 public:
  LogExtension() : TargetOf("LOG") {}
  std::span<const OptionSpec> options() const override { return kOptions; }

 protected:
  void ParseStruct(const OptionCall& call, LogTarget* target) const override {
    switch (call.option->id) {
      case kLevel:
        target->level = static_cast<uint8_t>(call.number);
        return;
      case kPrefix:
        if (call.argument.find('\n') != std::string::npos) {
          Fail("Newlines not allowed in --log-prefix");
        }
        target->prefix = call.argument.substr(0, kMaxPrefix);
        return;
      default:
        target->options |= static_cast<uint8_t>(Bit(call.option->id));
    }
  }

  void SaveStruct(const PrintContext&, const LogTarget& target, std::string* out) const override {
    if (!target.prefix.empty()) {
      *out += " --log-prefix";
      AppendQuoted(target.prefix, out);
    }
    if (target.level != kDefaultLevel) *out += fmt::format(" --log-level {}", target.level);
    for (const FlagName& name : kFlagNames) {
      if ((target.options & name.flag) != 0) *out += name.option;
    }
  }

  void ListStruct(const PrintContext& context, const LogTarget& target,
                  std::string* out) const override {
    if (context.numeric) {
      *out += fmt::format(" LOG flags {} level {}", target.options, target.level);
    } else {
      *out += fmt::format(" LOG level {}", kLevelNames[target.level & 7]);
      for (const FlagName& name : kFlagNames) {
        if ((target.options & name.flag) != 0) *out += name.label;
      }
    }
    if (!target.prefix.empty()) *out += " prefix \"" + target.prefix + "\"";
  }
};

}  // namespace

const TargetExtension& LogTargetExtension() {
  static const LogExtension kExtension;
  return kExtension;
}

}  // namespace postern::control::iptables

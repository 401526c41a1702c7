// What a match or target adds to the language: its options, how they fill the model's struct, and
// how the struct is written. One file an extension (ext_*.cc), listed in registry.cc; nothing else
// knows them by name.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "control/iptables/options.h"
#include "control/iptables/values.h"
#include "dataplane/rules/model.h"

namespace postern::control::iptables {

// What the generic part makes of an option's argument before the extension sees it.
enum class OptionType : uint8_t {
  kNone,         // no argument
  kString,       // min/max: length
  kUint32,       // min/max
  kUint32Range,  // "a:b", missing ends 0 and the largest
  kPortRange,    // "a:b", numbers or services
  kHost,         // an address
  kHostMask,     // an address with mask
  kPrefixMask,   // a prefix length or mask
  kMarkMask,     // "value/mask"
  kLogLevel,     // syslog's names or 0..7
  kProtocol,
  // The older kind: the extension itself refuses repeated or inverted options.
  kPlain,
  kPlainNone,
};

struct OptionSpec {
  enum Flag : uint8_t { kInvert = 1, kMandatory = 2 };
  const char* name;
  uint8_t id;
  OptionType type = OptionType::kString;
  uint8_t flags = 0;
  uint64_t min = 0;
  uint64_t max = 0;       // 0: the type's
  uint32_t excludes = 0;  // bits of ids
  uint32_t needs = 0;     // bits of ids
};
constexpr uint32_t Bit(unsigned id) { return 1U << id; }

// The rule so far, as an option sees it: `-p` counts only if it came before.
struct RuleContext {
  Family family = Family::kIpv4;
  uint8_t protocol = 0;
  bool invert_protocol = false;
};

struct OptionCall {
  const OptionSpec* option = nullptr;
  std::string_view extension;
  std::string argument;
  bool invert = false;
  uint32_t given = 0;  // ids of the options before this one
  const RuleContext* rule = nullptr;
  OptionScanner* words = nullptr;  // for an option with a second argument

  // By option type:
  uint64_t number = 0;  // kUint32, kLogLevel, kProtocol, kMarkMask
  uint64_t second = 0;  // kUint32Range's end, kMarkMask's mask
  PortRange ports;
  IpAddress address, mask;
  unsigned prefix_length = 0;
};

struct PrintContext {
  Family family = Family::kIpv4;
  uint8_t protocol = 0;
  bool numeric = true;
};

// Where a rule is to stand.
struct RulePlace {
  net::Table table = net::Table::kFilter;
  std::optional<net::Hook> hook;  // none: a user chain
  uint8_t protocol = 0;
  bool invert_protocol = false;
};

class Extension {
 public:
  explicit Extension(std::string_view name) : name_(name) {}
  virtual ~Extension() = default;
  Extension(const Extension&) = delete;
  Extension& operator=(const Extension&) = delete;

  std::string_view name() const { return name_; }
  virtual bool Knows(Family) const { return true; }
  virtual std::span<const OptionSpec> options() const { return {}; }
  // Refusals that concern the options together; `given` has a bit for each id.
  virtual void Check(uint32_t given) const { static_cast<void>(given); }

 private:
  std::string_view name_;
};

class MatchExtension : public Extension {
 public:
  using Extension::Extension;
  virtual rules::Match Init(Family family) const = 0;
  virtual void Parse(const OptionCall& call, rules::Match* match) const = 0;
  // Is this the struct that the extension writes?
  virtual bool Owns(const rules::Match& match, Family family) const = 0;
  // The part after "-m NAME".
  virtual void Save(const PrintContext& context, const rules::Match& match,
                    std::string* out) const = 0;
  // As in -L, with a blank before it.
  virtual void List(const PrintContext& context, const rules::Match& match,
                    std::string* out) const = 0;
  // What the kernel refuses when the rule is put there.
  virtual void CheckPlace(const RulePlace&, const rules::Match&) const {}
  // False where the nf_tables form of the original stores nothing for this match.
  virtual bool IsKept(const rules::Match&) const { return true; }
  // Gives a match that is kept the form in which the original reads it back.
  virtual void Normalize(rules::Match*) const {}
};

class TargetExtension : public Extension {
 public:
  using Extension::Extension;
  virtual rules::Target Init(Family family) const = 0;
  virtual void Parse(const OptionCall&, rules::Target*) const {}
  virtual bool Owns(const rules::Target& target) const = 0;
  // In -L's column of targets.
  virtual std::string_view list_name() const { return name(); }
  virtual void Save(const PrintContext&, const rules::Target&, std::string*) const {}
  virtual void List(const PrintContext&, const rules::Target&, std::string*) const {}
  // What the kernel refuses when the rule is put there.
  virtual void CheckPlace(const RulePlace&, const rules::Target&) const {}
};

// An extension whose struct is alternative T.
template <typename T>
class MatchOf : public MatchExtension {
 public:
  using MatchExtension::MatchExtension;
  rules::Match Init(Family family) const override { return InitStruct(family); }
  void Parse(const OptionCall& call, rules::Match* match) const final {
    ParseStruct(call, &std::get<T>(*match));
  }
  bool Owns(const rules::Match& match, Family) const override {
    return std::holds_alternative<T>(match);
  }
  void Save(const PrintContext& context, const rules::Match& match, std::string* out) const final {
    SaveStruct(context, std::get<T>(match), out);
  }
  void List(const PrintContext& context, const rules::Match& match, std::string* out) const final {
    ListStruct(context, std::get<T>(match), out);
  }

 protected:
  virtual T InitStruct(Family) const { return T{}; }
  virtual void ParseStruct(const OptionCall& call, T* match) const = 0;
  virtual void SaveStruct(const PrintContext& context, const T& match, std::string* out) const = 0;
  virtual void ListStruct(const PrintContext& context, const T& match, std::string* out) const = 0;
};

template <typename T>
class TargetOf : public TargetExtension {
 public:
  using TargetExtension::TargetExtension;
  rules::Target Init(Family family) const override { return InitStruct(family); }
  void Parse(const OptionCall& call, rules::Target* target) const final {
    ParseStruct(call, &std::get<T>(*target));
  }
  bool Owns(const rules::Target& target) const override {
    return std::holds_alternative<T>(target);
  }
  void Save(const PrintContext& context, const rules::Target& target,
            std::string* out) const final {
    SaveStruct(context, std::get<T>(target), out);
  }
  void List(const PrintContext& context, const rules::Target& target,
            std::string* out) const final {
    ListStruct(context, std::get<T>(target), out);
  }

 protected:
  virtual T InitStruct(Family) const { return T{}; }
  virtual void ParseStruct(const OptionCall&, T*) const {}
  virtual void SaveStruct(const PrintContext&, const T&, std::string*) const {}
  virtual void ListStruct(const PrintContext&, const T&, std::string*) const {}
};

// Checks the call (given twice, inverted) and fills it by the option's type.
void PrepareCall(OptionCall* call);
// The constraints of an extension's option table: mandatory, needing and excluding each other.
void CheckTable(const Extension& extension, uint32_t given);

}  // namespace postern::control::iptables

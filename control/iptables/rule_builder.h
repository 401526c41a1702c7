// The part of a command line that belongs to matches and targets: loads extensions as -m, -j and
// -p name them, hands each option to its extension, and makes the rule.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control/iptables/extension.h"
#include "control/iptables/options.h"

namespace postern::control::iptables {

class RuleBuilder {
 public:
  // Values of extensions' options in the scanner's table start here; below are the base options.
  static constexpr int kFirstValue = 256;

  RuleBuilder(Family family, OptionScanner* scanner) : scanner_(scanner) {
    context_.family = family;
  }

  void SetProtocol(const std::string& text, uint8_t number, bool invert);
  void AddMatch(const std::string& name);
  void Jump(const std::string& name);
  void Goto(const std::string& name);
  // An option that isn't one of the base options (or one that is unknown, or lacks its argument).
  // True: the option became known only now; read it again.
  bool Option(int value, bool invert, bool numeric);

  void CheckOptions() const;
  // What -h says about the extensions that the command has named so far; with -p and no -m, about
  // the protocol's.
  std::string Help();
  // "" where there is none.
  const std::string& target_name() const { return target_name_; }
  // `rule` receives matches and target.
  void Finish(rules::Rule* rule) const;

 private:
  struct Instance {
    const MatchExtension* extension;
    rules::Match match;
    uint32_t given = 0;
  };

  void AddOptions(const Extension& extension);
  bool LoadProtocolMatch(bool numeric);
  Instance* LatestInstance(const Extension* extension);

  OptionScanner* const scanner_;
  RuleContext context_;
  std::string protocol_;                 // as written; "" without -p
  bool protocol_loaded_ = false;         // the implied -m was tried
  std::vector<const Extension*> known_;  // whose options the scanner has
  std::vector<Instance> matches_;
  const TargetExtension* target_extension_ = nullptr;
  rules::Target target_;
  uint32_t target_given_ = 0;
  std::string target_name_;
};

// "INPUT", "filter": an error in the original's words unless `name` can be a chain's.
void CheckChainName(const std::string& name, Family family);

}  // namespace postern::control::iptables

// Reads one command line into a ParsedCommand (command_line.h): command_verbs.cc what is to be
// done, command_line.cc everything else.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "control/iptables/base_options.h"
#include "control/iptables/command_line.h"
#include "control/iptables/rule_builder.h"

namespace postern::control::iptables {

class Parser {
 public:
  Parser(const CommandContext& context, std::vector<std::string> words)
      : context_(context),
        scanner_(std::move(words), kBaseLetters, BaseOptions()),
        builder_(context.family, &scanner_) {
    command_.table = context.table;
  }

  ParsedCommand Parse();
  const std::string& warnings() const { return command_.warnings; }

 private:
  bool ParseVerb(int option);
  bool ParseRuleVerb(int option);
  bool ParseChainVerb(int option);
  bool ParseRuleOption(int option);
  bool ParseOtherOption(int option);
  bool ParseWait(int option);
  bool ParseWord();  // false: it was `!`

  void AddVerb(uint32_t verb, uint32_t together = 0);
  void OptionalChain();
  int RuleNumber(const std::string& text) const;
  void OptionalNumber();
  void SetOption(char option);
  void ParseProtocolOption();
  void ParseCounters();

  void CheckEnd();
  void ParseAddresses();
  void CheckChain() const;
  void MakeRules();

  const std::string& Argument() const { return *scanner_.argument(); }
  bool Has(char option) const { return options_.find(option) != std::string::npos; }

  const CommandContext& context_;
  OptionScanner scanner_;
  RuleBuilder builder_;
  ParsedCommand command_;
  rules::IpMatch ip_;
  rules::Counters counters_;
  std::string options_;  // letters of the options that were given
  bool invert_ = false;
  bool skip_line_ = false;
  bool table_given_ = false;
  bool wait_given_ = false;
  bool wait_interval_given_ = false;
  std::string source_, destination_;
  std::vector<rules::AddressMatch> sources_, destinations_;
};

}  // namespace postern::control::iptables

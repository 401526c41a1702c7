#include <limits>

#include "control/iptables/command_parser.h"
#include "control/iptables/values.h"

namespace postern::control::iptables {

void Parser::AddVerb(uint32_t verb, uint32_t together) {
  if (invert_) Fail("unexpected '!' flag");
  if (const uint32_t others = command_.verbs & ~together; others != 0) {
    Fail("Cannot use -{} with -{}", VerbLetter(verb), VerbLetter(others));
  }
  command_.verbs |= verb;
}

void Parser::OptionalChain() {
  if (scanner_.argument() != nullptr) {
    command_.chain = Argument();
  } else if (scanner_.HasFreeWord()) {
    command_.chain = scanner_.TakeWord();
  }
}

int Parser::RuleNumber(const std::string& text) const {
  const auto number = ParseNumber(text, 1, std::numeric_limits<int>::max());
  if (!number) Fail("Invalid rule number `{}'", text);
  return static_cast<int>(*number);
}

void Parser::OptionalNumber() {
  if (scanner_.HasFreeWord()) command_.number = RuleNumber(scanner_.TakeWord());
}

bool Parser::ParseVerb(int option) { return ParseRuleVerb(option) || ParseChainVerb(option); }

// Those about one rule.
bool Parser::ParseRuleVerb(int option) {
  switch (option) {
    case 'A':
      AddVerb(kAppend);
      break;
    case 'C':
      AddVerb(kCheck);
      break;
    case 'D':
      AddVerb(kDelete);
      break;
    case 'R':
      AddVerb(kReplace);
      break;
    case 'I':
      AddVerb(kInsert);
      command_.number = 1;
      break;
    default:
      return false;
  }
  command_.chain = Argument();
  if (option == 'R' && !scanner_.HasFreeWord()) Fail("-R requires a rule number");
  if (option == 'D' || option == 'R' || option == 'I') OptionalNumber();
  if (option == 'D' && command_.number != 0) command_.verbs = kDeleteNumber;
  return true;
}

// Those about a chain, or all.
bool Parser::ParseChainVerb(int option) {
  switch (option) {
    case 'L':
    case 'S':
      AddVerb(option == 'L' ? kList : kListRules, kZero | kZeroNumber);
      OptionalChain();
      OptionalNumber();
      return true;
    case 'F':
    case 'X':
      AddVerb(option == 'F' ? kFlush : kDeleteChain);
      OptionalChain();
      return true;
    case 'Z':
      AddVerb(kZero, kList | kListRules);
      OptionalChain();
      if (scanner_.HasFreeWord()) {
        OptionalNumber();
        command_.verbs = kZeroNumber;
      }
      return true;
    case 'N':
      CheckChainName(Argument(), context_.family);
      AddVerb(kNewChain);
      command_.chain = Argument();
      return true;
    case 'E':
      AddVerb(kRenameChain);
      command_.chain = Argument();
      if (!scanner_.HasFreeWord()) Fail("-E requires old-chain-name and new-chain-name");
      command_.new_name = scanner_.TakeWord();
      return true;
    case 'P':
      AddVerb(kSetPolicy);
      command_.chain = Argument();
      if (!scanner_.HasFreeWord()) Fail("-P requires a chain and a policy");
      command_.policy = scanner_.TakeWord();
      return true;
    default:
      return false;
  }
}

}  // namespace postern::control::iptables

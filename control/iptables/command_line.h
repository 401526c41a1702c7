// One iptables command: words to a ParsedCommand, as the original's option loop reads them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "control/iptables/problem.h"
#include "dataplane/rules/model.h"

namespace postern::control::iptables {

// Bits: -L and -S go together with -Z. In the original's order, which errors show.
enum Verb : uint32_t {
  kInsert = 1U << 0,
  kDelete = 1U << 1,
  kDeleteNumber = 1U << 2,
  kReplace = 1U << 3,
  kAppend = 1U << 4,
  kList = 1U << 5,
  kFlush = 1U << 6,
  kZero = 1U << 7,
  kNewChain = 1U << 8,
  kDeleteChain = 1U << 9,
  kSetPolicy = 1U << 10,
  kRenameChain = 1U << 11,
  kListRules = 1U << 12,
  kZeroNumber = 1U << 13,
  kCheck = 1U << 14,
};
inline constexpr uint32_t kTakesRule = kInsert | kDelete | kReplace | kAppend | kCheck;

struct ParsedCommand {
  uint32_t verbs = 0;  // 0: a line for the other family, nothing to do
  std::string table = "filter";
  std::optional<std::string> chain;
  int number = 0;  // rule number, from 1; 0: none
  std::string new_name;
  std::string policy;
  int verbose = 0;
  bool numeric = false;
  bool exact = false;
  bool line_numbers = false;
  bool counters_given = false;
  std::string warnings;  // for the error stream, each with its line feed
  // With kTakesRule: one for each pair of source and destination.
  std::vector<rules::Rule> rules;
};

struct CommandContext {
  net::Family family = net::Family::kIpv4;
  std::string program = "iptables";
  bool restore = false;  // a line of a restore file
  std::string table = "filter";
};

// Thrown by -V and -h: print it and be done.
struct Finished {
  std::string output;
};

// Throws Problem or Finished.
ParsedCommand ParseCommandLine(const CommandContext& context, std::vector<std::string> words);

}  // namespace postern::control::iptables

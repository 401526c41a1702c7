// Reads a restore file line by line: what ParseRestore() and the command share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/iptables/problem.h"
#include "control/iptables/restore.h"

namespace postern::control::iptables {

struct RestoreRun {
  std::string program = "iptables-restore";
  std::string file;  // for the rules' origin
  RestoreOptions options;
  int verbose = 0;
  bool stop_at_first = false;
};

struct RestoreFailure {
  int line = 0;
  Problem problem;
  bool whole_text = false;  // not about a line, though `line` says where the text ended
};

// Changes *model as far as it goes: give it a copy. What the commands print goes to *out.
std::vector<RestoreFailure> RunRestore(std::string_view text, const RestoreRun& run,
                                       rules::FamilyModel* model, std::string* out);

}  // namespace postern::control::iptables

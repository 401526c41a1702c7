// iptables-save text to rules::FamilyModel, and back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dataplane/rules/model.h"

namespace postern::control::iptables {

struct RestoreOptions {
  bool counters = false;  // -c: take the counters that stand in the text
  // With `counters`: a policy without any has none, as in what a person writes.
  bool counters_may_lack = false;
  bool noflush = false;    // -n: add to what is there
  std::string only_table;  // -T: "" for all
};

// Reads what iptables-save wrote (or a person: any order of options, comments, quotes).
// Tables that the text names replace those in *model (unless noflush); others stay. On errors
// *model is unchanged and each error is one "FILE:LINE: sentence".
bool ParseRestore(std::string_view text, const std::string& file, const RestoreOptions& options,
                  rules::FamilyModel* model, std::vector<std::string>* errors);

struct SaveOptions {
  bool counters = false;   // -c
  std::string only_table;  // -t: "" for all present
};
// iptables-save's text, without the two comment lines with date when `comments` is false.
std::string PrintSave(const rules::FamilyModel& model, const SaveOptions& options, bool comments);

}  // namespace postern::control::iptables

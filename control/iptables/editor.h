// Carries out commands on a family's rules.
#pragma once

#include <string>

#include "control/iptables/command_line.h"
#include "dataplane/rules/model.h"

namespace postern::control::iptables {

class Editor {
 public:
  // What commands print goes to *out.
  Editor(rules::FamilyModel* model, std::string* out) : model_(model), out_(out) {}

  // Does what the command line asks for; throws Problem and then may have done a part of it.
  void Apply(const ParsedCommand& command, const rules::Origin& origin);

  // -- pieces of a restore file --
  // "*table": empties it.
  void StartTable(net::Table table, int verbose);
  // ":CHAIN POLICY" of a built-in chain.
  void SetPolicy(net::Table table, const std::string& chain, const std::string& policy);
  // ":chain -": makes it, or empties it.
  void RestoreChain(net::Table table, const std::string& chain);

  // True once something was changed.
  bool changed() const { return changed_; }

 private:
  rules::TableModel& Table(net::Table table) { return model_->table(table); }
  rules::Chain& MustFind(net::Table table, const ParsedCommand& command, const char* sentence);
  void Touch(net::Table table);

  void Append(net::Table table, const ParsedCommand& command, const rules::Origin& origin);
  void Replace(net::Table table, const ParsedCommand& command, const rules::Origin& origin);
  void DeleteRules(net::Table table, const ParsedCommand& command);
  void DeleteNumber(net::Table table, const ParsedCommand& command);
  void Check(net::Table table, const ParsedCommand& command);
  void Flush(net::Table table, const ParsedCommand& command);
  void Zero(net::Table table, const ParsedCommand& command);
  void NewChain(net::Table table, const ParsedCommand& command);
  void DeleteChains(net::Table table, const ParsedCommand& command);
  void RenameChain(net::Table table, const ParsedCommand& command);
  void ListTable(net::Table table, const ParsedCommand& command);
  void ListTableRules(net::Table table, const ParsedCommand& command);
  void PrintRule(const rules::Rule& rule);
  void CheckRule(net::Table table, const rules::Chain& chain, const rules::Rule& rule) const;

  rules::FamilyModel* const model_;
  std::string* const out_;
  bool changed_ = false;
};

// "filter" and so on; the name is known to be one of the four.
net::Table TableByName(std::string_view name);

}  // namespace postern::control::iptables

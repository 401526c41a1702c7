#include "control/rule_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "control/file.h"
#include "control/iptables/restore.h"
#include "dataplane/rules/rule_set.h"

namespace postern::control {
namespace {

void LoadFamily(const RuleFile& file, rules::FamilyModel* model, std::vector<std::string>* errors) {
  if (file.path.empty()) return;
  const auto text = ReadFile(file.path);
  if (!text) {
    errors->push_back(fmt::format("{}:{}: the rule file \"{}\" can't be read: {}", file.place.file,
                                  file.place.line, file.path, text.error()));
    return;
  }
  iptables::RestoreOptions options;
  options.counters = true;
  options.counters_may_lack = true;
  iptables::ParseRestore(*text, file.path, options, model, errors);
}

bool NamesPort(const std::string& pattern, const std::vector<std::string>& names) {
  if (pattern.ends_with('+')) {
    const std::string prefix = pattern.substr(0, pattern.size() - 1);
    if (std::string_view("lo").starts_with(prefix)) return true;
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return name.starts_with(prefix); });
  }
  return pattern == "lo" || std::find(names.begin(), names.end(), pattern) != names.end();
}

}  // namespace

std::optional<rules::Model> LoadRules(const Config& config, std::vector<std::string>* errors) {
  rules::Model model;
  const size_t before = errors->size();
  LoadFamily(config.rules.ipv4, &model.ipv4, errors);
  LoadFamily(config.rules.ipv6, &model.ipv6, errors);
  if (errors->size() != before) return std::nullopt;
  if (!rules::Validate(model, errors)) return std::nullopt;
  return model;
}

std::vector<std::string> UnknownInterfaces(const rules::Model& model,
                                           const std::vector<std::string>& port_names) {
  std::vector<std::string> warnings;
  std::set<std::string> seen;
  for (const rules::FamilyModel* family : {&model.ipv4, &model.ipv6}) {
    for (const rules::TableModel& table : family->tables) {
      for (const rules::Chain& chain : table.chains) {
        for (const rules::Rule& rule : chain.rules) {
          for (const rules::InterfaceMatch* interface : {&rule.ip.in, &rule.ip.out}) {
            const std::string& name = interface->name;
            if (name.empty() || NamesPort(name, port_names) || !seen.insert(name).second) continue;
            const std::string where =
                rule.origin.file.empty()
                    ? ""
                    : fmt::format("{}:{}: ", rule.origin.file, rule.origin.line);
            warnings.push_back(
                fmt::format("{}no port is called '{}': the rule never matches", where, name));
          }
        }
      }
    }
  }
  return warnings;
}

bool CheckConfig(const std::string& file, std::vector<std::string>* errors,
                 std::vector<std::string>* warnings) {
  const auto config = LoadConfig(file, errors);
  if (!config) return false;
  const auto model = LoadRules(*config, errors);
  if (!model) return false;
  if (warnings != nullptr) {
    *warnings = config->warnings;
    const auto unknown = UnknownInterfaces(*model, config->PortNames());
    warnings->insert(warnings->end(), unknown.begin(), unknown.end());
  }
  return true;
}

}  // namespace postern::control

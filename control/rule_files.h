// The rule files that a configuration names, read and validated as one model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control/config.h"
#include "dataplane/rules/model.h"

namespace postern::control {

// Reads both families' files and validates the whole. A family without a file has empty chains with
// policy ACCEPT. On errors each is "FILE:LINE: sentence" and nothing is returned. The counters in
// the files are taken.
std::optional<rules::Model> LoadRules(const Config& config, std::vector<std::string>* errors);

// Interface names in the rules that no port has and that aren't "lo": legal, they never match.
// "FILE:LINE: sentence", once a name.
std::vector<std::string> UnknownInterfaces(const rules::Model& model,
                                           const std::vector<std::string>& port_names);

// Everything `--check` finds: the configuration's errors and those of its rules.
// True if there are none. Warnings may be null.
bool CheckConfig(const std::string& file, std::vector<std::string>* errors,
                 std::vector<std::string>* warnings);

}  // namespace postern::control

// Several `-m tcp` or `-m udp` of one rule as one.
#pragma once

#include <vector>

#include "dataplane/rules/model.h"

namespace postern::control::iptables {

// The original stores ports and TCP flags without saying which -m they came with, and reads them
// back as one match, the first. Matches that give the same option twice stay apart here: the
// original, which judges by both, then shows only the last.
void MergePortMatches(std::vector<rules::Match>* matches);

}  // namespace postern::control::iptables

// Rules and chains as text: the -S/-save form and the columns of -L.
#pragma once

#include <string>
#include <vector>

#include "dataplane/rules/model.h"

namespace postern::control::iptables {

// The end of "-A CHAIN …", without line feed. `counters`: " -c PKTS BYTES" before the target (-S
// -v).
void AppendRuleText(net::Family family, const rules::Rule& rule, bool counters, std::string* out);

struct ListFormat {
  bool numeric = false;
  bool verbose = false;  // counters and interfaces
  bool exact = false;    // no K, M, G
  bool line_numbers = false;
  bool one_line = false;  // the form that -A -v prints: no columns, no counters
};
void AppendListHeader(const ListFormat& format, const rules::Chain& chain, size_t references,
                      std::string* out);
void AppendListRule(net::Family family, const ListFormat& format, size_t number,
                    const rules::Rule& rule, std::string* out);

// Built-in chains in the kernel's order, then the others by name.
std::vector<const rules::Chain*> SortedChains(const rules::TableModel& table);
// "ACCEPT" or "DROP".
const char* PolicyName(net::Verdict policy);
// How many rules jump or go to the chain.
size_t CountReferences(const rules::TableModel& table, std::string_view chain);

}  // namespace postern::control::iptables

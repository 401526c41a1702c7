// One JSON object a line for each replayed packet (DESIGN.md section 1, --events).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/pipeline/io.h"
#include "dataplane/rules/rule_set.h"

namespace postern::control {

// What is known of one input packet when it has been dealt with.
struct ReplayEvent {
  uint64_t number = 0;  // 1 is the first packet of the first capture
  net::Time time = 0;   // of the capture, nanoseconds since 1970
  std::string in;       // port, or "host:PORT"
  net::Verdict verdict = net::Verdict::kStolen;
  net::DropReason reason = net::DropReason::kNone;
  bool tracked = false;
  ctrack::CtInfo info = ctrack::CtInfo::kInvalid;
  bool has_connection = false;
  ctrack::Connection connection;  // a copy; its pointers mean nothing
  std::vector<std::string> out;   // ports (or "host:PORT") in the order of sending
  std::vector<rules::RuleId> path;
};

// "NEW", "ESTABLISHED" (both directions), "RELATED", "INVALID", "UNTRACKED".
const char* CtStateName(ctrack::CtInfo info);
// What -j says: "ACCEPT", a chain's name, "" for none.
std::string TargetName(const rules::Target& target);
// Without a newline.
std::string ToJson(const ReplayEvent& event, const rules::RuleSet& rules);

}  // namespace postern::control

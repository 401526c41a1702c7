// The command line of conntrack-tools 1.4.7.
#pragma once

#include <string>
#include <vector>

#include "control/conntrack_filter.h"
#include "control/conntrack_grammar.h"
#include "control/conntrack_printer.h"
#include "control/conntrack_values.h"

namespace postern::control {

struct ConntrackOptions {
  ConntrackVerb verb = ConntrackVerb::kNone;
  ConntrackTable table = ConntrackTable::kConntrack;
  ConntrackFilter filter;
  ConntrackFormat format;
  GivenOptions given;
  uint8_t events = kNewEvents | kUpdateEvents | kDestroyEvents;  // -e
  uint64_t buffer_size = 0;                                      // -b: bytes
  bool summary = true;                // say how many there were; a loaded file's lines don't
  std::vector<std::string> warnings;  // said before all else
};

// The original's sentence about what is wrong, and its exit status.
struct ConntrackError {
  std::string message;
  int status = 2;
  bool hint = true;  // "Try `conntrack -h' …" follows
};

// False: *error is set. The warnings are there in either case.
bool ParseConntrackOptions(const std::vector<std::string>& arguments, ConntrackOptions* options,
                           ConntrackError* error);

}  // namespace postern::control

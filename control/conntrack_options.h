// The command line of conntrack-tools 1.4.7, as far as Postern has its commands.
#pragma once

#include <string>
#include <vector>

#include "control/conntrack_filter.h"
#include "control/conntrack_printer.h"

namespace postern::control {

struct ConntrackOptions {
  enum class Verb : uint8_t { kNone, kList, kCount, kStatistics, kHelp, kVersion };
  enum class Table : uint8_t { kConntrack, kExpect, kDying, kUnconfirmed };
  Verb verb = Verb::kNone;
  Table table = Table::kConntrack;
  ConntrackFilter filter;
  ConntrackFormat format;
};

// The original's sentence about what is wrong, and its exit status.
struct ConntrackError {
  std::string message;
  int status = 2;
  bool hint = true;  // "Try `conntrack -h' …" follows
};

// False: *error is set.
bool ParseConntrackOptions(const std::vector<std::string>& arguments, ConntrackOptions* options,
                           ConntrackError* error);

}  // namespace postern::control

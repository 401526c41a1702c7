// The running rule set as the operator's commands see it. Implemented by
// control/engine (daemon) and by fakes in tests. Control thread only.
#pragma once

#include "dataplane/net/result.h"
#include "dataplane/rules/model.h"

namespace postern::control {

class Firewall {
 public:
  virtual ~Firewall() = default;
  // The rules in force, with their counters as they stand now.
  virtual rules::Model Rules() = 0;
  // Validates, compiles and publishes; on an error nothing has changed. Counters: each rule of
  // `next` starts with its `counters` as given, unless it is the same rule as a running one
  // (`keep_running_counters`, or where its counters are as Rules() has just given them), which then
  // goes on counting. Translations and connections live on.
  virtual net::Status Apply(rules::Model next, bool keep_running_counters) = 0;
};

}  // namespace postern::control

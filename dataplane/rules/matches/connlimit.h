// -m connlimit (xt_connlimit): how many connections the packet's source or destination has.
//
// What is counted are tuples that the rule met, not connections: an ASSURED connection is taken for
// one that is listed, whether it is or not, and is dropped when its address has no other one left;
// a packet without a connection is listed by its own tuple.
#pragma once

#include "dataplane/rules/matches/answer.h"
#include "dataplane/rules/matches/connlimit_state.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

struct CompiledConnlimit {
  const ConnlimitMatch* match = nullptr;
  ConnlimitState* state = nullptr;
};

Answer Matches(const CompiledConnlimit& compiled, const WalkContext& context, uint16_t* depends);

}  // namespace postern::rules

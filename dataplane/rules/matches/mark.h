// -m mark (xt_mark).
#pragma once

#include "dataplane/rules/matches/answer.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

inline Answer Matches(const MarkMatch& match, const WalkContext& context, uint16_t* depends) {
  *depends |= kDependsMark;
  return AnswerOf(((context.packet->mark & match.mask) == match.mark) != match.invert);
}

}  // namespace postern::rules

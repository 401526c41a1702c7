// -m conntrack (xt_conntrack, revision 3) and -m state (xt_state).
#pragma once

#include "dataplane/rules/matches/answer.h"
#include "dataplane/rules/rule_set.h"

namespace postern::rules {

// The options stay in the rule set's model.
struct CompiledConntrack {
  const ConntrackMatch* match = nullptr;
};

// The CtStateBit of a packet, without the SNAT and DNAT pseudo-states.
inline uint16_t CtStateOf(const ctrack::CtRef& ct) {
  using enum ctrack::CtInfo;
  switch (ct.info) {
    case kEstablished:
    case kEstablishedReply:
      return kCtStateEstablished;
    case kRelated:
    case kRelatedReply:
      return kCtStateRelated;
    case kNew:
      return kCtStateNew;
    case kUntracked:
      return kCtStateUntracked;
    case kInvalid:
      return kCtStateInvalid;
  }
  return kCtStateInvalid;
}

// Whole seconds until the connection expires. One that isn't confirmed has no timer yet: 0.
inline uint64_t SecondsLeft(const ctrack::Connection& connection, net::Time now) {
  if (!connection.Has(ctrack::kConfirmed) || connection.expires <= now) return 0;
  return (connection.expires - now) / net::kSecond;
}

Answer Matches(const CompiledConntrack& compiled, const WalkContext& context, uint16_t* depends);

inline Answer Matches(const StateMatch& match, const WalkContext& context, uint16_t*) {
  return AnswerOf(((match.state & CtStateOf(*context.ct)) != 0) != match.invert);
}

}  // namespace postern::rules

// What the operator asks of the connections: `conntrack -I` and its kin.
//
// As with a packet, the owner of the reply tuple is asked before the connection is confirmed
// (claim.cc), so that nobody hears of one that is refused. The command doesn't wait for the answer
// in its step: Insert() says that it isn't here yet, and is called again after other work.
#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {

using ctrack::RequestOutcome;
using net::Hook;
using net::Manip;

bool Pipeline::Impl::Owns(const net::Tuple& original) const {
  return context_.owners->OwnerOf(original) == context_.worker;
}

std::optional<RequestOutcome> Pipeline::Impl::Insert(const ctrack::ConnectionRequest& request,
                                                     const NatWish& nat, net::Time now) {
  now_ = now;
  Flight& f = insertion_.flight;
  if (f.ct.connection == nullptr) {
    RequestOutcome outcome = RequestOutcome::kDone;
    f = {};
    f.source = Source::kOperator;
    f.ct.connection = tracker_.Begin(request, now, &outcome);
    if (f.ct.connection == nullptr) return outcome;
    // ctnetlink_setup_nat: with one half given, the other is decided, too: as it is.
    insertion_.step = nat.source || nat.destination ? Insertion::kDestination : Insertion::kReply;
  } else if (claims_.At(f.claim).asked) {
    return std::nullopt;
  }
  f.now = now;
  if (DecideTuples(nat)) return EndInsertion(ConfirmInsertion());
  if (f.claim != kNoClaim) return std::nullopt;
  return EndInsertion(RequestOutcome::kFull);  // no room to ask
}

// False: another worker is to be asked first.
bool Pipeline::Impl::DecideTuples(const NatWish& nat) {
  Flight& f = insertion_.flight;
  const net::Tuple& reply = f.ct.connection->reply();
  net::NatRange same;
  same.has_address = true;
  if (insertion_.step == Insertion::kDestination) {
    same.first_address = same.last_address = reply.source;
    if (!Translate(Hook::kPrerouting, nat.destination.value_or(same))) return false;
    insertion_.step = Insertion::kSource;
  }
  if (insertion_.step == Insertion::kSource) {
    same.first_address = same.last_address = reply.destination;
    if (!Translate(Hook::kPostrouting, nat.source.value_or(same))) return false;
    insertion_.step = Insertion::kReply;
  }
  // What has been asked for by now needn't be asked again.
  return context_.owners->workers() == 1 || MayHave(f, Hook::kPostrouting, {}, {}, reply);
}

// One half of the translation. False: another worker is to be asked first.
bool Pipeline::Impl::Translate(Hook hook, const net::NatRange& range) {
  Flight& f = insertion_.flight;
  if (f.claim != kNoClaim && claims_.At(f.claim).granted && claims_.At(f.claim).hook == hook) {
    const Claim& claim = claims_.At(f.claim);
    TakeReply(f.ct.connection, ManipAt(hook), claim.translated, claim.reply);
    return true;
  }
  const auto current = net::Mirror(f.ct.connection->reply());
  if (!current) return true;
  const nat::Choice choice =
      ChooseTuple(f.ct.connection, ManipAt(hook), range, *current, f.claim, &sources_, f.now);
  const auto reply = net::Mirror(choice.tuple);
  if (!reply) return true;
  if (context_.owners->workers() > 1 && !MayHave(f, hook, range, choice, *reply)) return false;
  TakeReply(f.ct.connection, ManipAt(hook), choice.tuple, *reply);
  return true;
}

RequestOutcome Pipeline::Impl::ConfirmInsertion() {
  Flight& f = insertion_.flight;
  const net::Tuple& original = f.ct.connection->original();
  // Its packets may have come before the answer.
  if (tracker_.TupleTaken(original, nullptr, f.now)) return RequestOutcome::kExists;
  if (f.claim != kNoClaim && WasRefused(f)) return RequestOutcome::kExists;
  net::DropReason reason = net::DropReason::kNone;
  if (!tracker_.Confirm(f.ct, f.now, &reason)) return RequestOutcome::kExists;
  Announce(f.ct.connection, f.claim != kNoClaim && claims_.At(f.claim).granted);
  return RequestOutcome::kDone;
}

RequestOutcome Pipeline::Impl::EndInsertion(RequestOutcome outcome) {
  Flight& f = insertion_.flight;
  if (outcome != RequestOutcome::kDone) tracker_.Release(f.ct);
  f.ct = {};
  if (f.claim != kNoClaim) EndClaim(f);
  reporter_ = 0;  // the operator hasn't asked for what waited
  TakeFreed(now_);
  return outcome;
}

}  // namespace postern::pipeline

// What the operator asks of the connections: `conntrack -I` and its kin.
#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {

using ctrack::RequestOutcome;
using net::Manip;

bool Pipeline::Impl::Owns(const net::Tuple& original) const {
  return context_.owners->OwnerOf(original) == context_.worker;
}

void Pipeline::Impl::Translate(ctrack::Connection* connection, Manip manip,
                               const net::NatRange& range, net::Time now) {
  const auto current = net::Mirror(connection->reply());
  if (!current) return;
  const nat::Choice choice = ChooseTuple(connection, manip, range, *current, kNoClaim, now);
  const auto reply = net::Mirror(choice.tuple);
  if (reply) TakeReply(connection, manip, choice.tuple, *reply);
}

RequestOutcome Pipeline::Impl::Insert(const ctrack::ConnectionRequest& request, const NatWish& nat,
                                      net::Time now) {
  now_ = now;
  RequestOutcome outcome = RequestOutcome::kDone;
  ctrack::CtRef ct;
  ct.connection = tracker_.Begin(request, now, &outcome);
  if (ct.connection == nullptr) return outcome;
  // ctnetlink_setup_nat: with one half given, the other is decided, too: as it is.
  if (nat.source || nat.destination) {
    const net::Tuple& reply = ct.connection->reply();
    net::NatRange same;
    same.has_address = true;
    same.first_address = same.last_address = reply.source;
    Translate(ct.connection, Manip::kDestination, nat.destination.value_or(same), now);
    same.first_address = same.last_address = ct.connection->reply().destination;
    Translate(ct.connection, Manip::kSource, nat.source.value_or(same), now);
  }
  net::DropReason reason = net::DropReason::kNone;
  if (!tracker_.Confirm(ct, now, &reason)) {
    tracker_.Release(ct);
    return RequestOutcome::kExists;
  }
  Announce(ct.connection, false);
  return RequestOutcome::kDone;
}

}  // namespace postern::pipeline

// Reply tuples that another worker owns: the holder asks before its packet goes on.
//
//   holder: SetupNat chooses a tuple -> Ask: the flight stops           kAsk ->    owner
//   owner:  enters a remote entry that names the holder        <- kGrant or kTaken
//   holder: Resume: goes on with it, or chooses another (which most often is its own)
//
// netfilter looks at one table and has its answer at once. Here the first packet of such a
// connection is held up for a turn of the owner's loop, and neither of the two ever waits for the
// other. Nothing has been done by then that would have to be taken back: the connection is in no
// table, nobody has heard of it, and its packet hasn't been changed by the half that is asked for.
#include "dataplane/pipeline/pipeline_impl.h"

namespace postern::pipeline {

using net::DropReason;
using net::Hook;

// Whether the flight may go on with the tuple at once. The source's half comes last, so its tuple
// is the one that is confirmed; an earlier one matters where another would be chosen now. False:
// the packet waits for the owner's answer, or is lost.
bool Pipeline::Impl::MayHave(Flight& f, Hook hook, const net::NatRange& range,
                             const nat::Choice& choice, const net::Tuple& reply) {
  if (f.claim != kNoClaim) {
    const Claim& claim = claims_.At(f.claim);
    if (claim.granted && claim.reply == reply) return true;
    if (claim.granted) GiveBack(f.claim);
    // Nothing better was found: confirmation refuses it, if it comes to that.
    if (claims_.WasRefused(reply, f.claim)) return true;
  }
  if (ManipAt(hook) == net::Manip::kDestination && !choice.checked) return true;
  // What Postern itself sends stays within its call.
  if (f.source == Source::kSelf) return true;
  if (context_.owners->OwnerOf(reply) == context_.worker) return true;
  Ask(f, hook, range, choice.tuple, reply);
  return false;
}

void Pipeline::Impl::Ask(Flight& f, Hook hook, const net::NatRange& range,
                         const net::Tuple& translated, const net::Tuple& reply) {
  if (f.claim == kNoClaim) f.claim = claims_.Take();
  if (f.claim == kNoClaim) {
    if (f.source != Source::kOperator) FinishDrop(f, DropReason::kHandoffFull);
    return;
  }
  Claim& claim = claims_.At(f.claim);
  claim.flight = f;
  if (f.source != Source::kOperator) {
    claim.packet = *f.packet;
    claim.flight.packet = &claim.packet;
    claim.path = *f.path;
  }
  claim.hook = hook;
  claim.range = range;
  claim.translated = translated;
  claim.reply = reply;
  claims_.Asked(f.claim);
  TellOwner(reply, RemoteEntry::Kind::kAsk, f.claim);
}

void Pipeline::Impl::TellOwner(const net::Tuple& reply, RemoteEntry::Kind kind, ClaimId claim) {
  context_.io->SendRemoteEntry(context_.owners->OwnerOf(reply),
                               {reply, static_cast<uint16_t>(context_.worker), claim, kind});
}

void Pipeline::Impl::GiveBack(ClaimId id) {
  claims_.GaveBack(id);
  const net::Tuple& reply = claims_.At(id).reply;
  // Somebody who began with the same packet may have been given it by now, or be about to.
  if (!tracker_.table().Lookup(reply).empty() || claims_.Taken(reply, kNoClaim)) return;
  TellOwner(reply, RemoteEntry::Kind::kRemove);
}

void Pipeline::Impl::EndClaim(Flight& f) {
  if (claims_.At(f.claim).granted) GiveBack(f.claim);
  claims_.Free(f.claim);
  f.claim = kNoClaim;
}

// The owner refused the tuple, and there was no other.
bool Pipeline::Impl::WasRefused(const Flight& f) const {
  const net::Tuple& reply = f.ct.connection->reply();
  return context_.owners->OwnerOf(reply) != context_.worker && claims_.WasRefused(reply, f.claim);
}

// A packet whose connection is about to begin waits for the first one's answer. True: consumed.
bool Pipeline::Impl::WaitBehindClaim(net::Packet* packet, Source source) {
  if (net::QuotesPacket(packet->ip)) return false;
  const auto tuple = net::TupleOf(packet->ip);
  if (!tuple) return false;
  const ClaimId id = claims_.FindOriginal(*tuple);
  if (id == kNoClaim) return false;
  if (!claims_.Wait(id, *packet, source)) Drop(packet, DropReason::kHandoffFull);
  return true;
}

// The owner's answer.
void Pipeline::Impl::Resume(ClaimId id, bool granted, net::Time now) {
  now_ = now;
  if (granted) {
    claims_.Granted(id);
  } else {
    claims_.Refused(id);
  }
  const Claim& claim = claims_.At(id);
  if (claim.flight.source == Source::kOperator) return;  // who calls Insert() again
  net::Packet packet = claim.packet;
  Flight f = claim.flight;
  f.packet = &packet;
  f.now = now;
  if (claim.stale) {
    StartAnew(f);
  } else {
    f.path = BeginPath();
    *f.path = claim.path;
    const Hook hook = claim.hook;
    const net::IpAddress destination = packet.ip.destination;
    if (granted) TakeReply(f.ct.connection, ManipAt(hook), claim.translated, claim.reply);
    if ((granted || SetupNat(f, hook, net::NatRange(claim.range))) && TranslatePacket(f, hook)) {
      Continue(f, hook, destination);
    }
  }
  TakeFreed(now);
}

// What waited behind a claim that is over begins again.
void Pipeline::Impl::TakeFreed(net::Time now) {
  net::Packet packet;
  Source source{};
  while (claims_.PopFreed(&packet, &source)) {
    if (source == Source::kHost) {
      Egress(&packet, Known{}, now);
    } else {
      Ingress(&packet, Known{}, now);
    }
  }
}

// From after the nat table of a hook. `destination`: before its translation.
void Pipeline::Impl::Continue(Flight& f, Hook hook, const net::IpAddress& destination) {
  switch (hook) {
    case Hook::kPrerouting:
      RouteAndGo(f);
      return;
    case Hook::kInput:
      EnterHost(f);
      return;
    case Hook::kOutput:
      OutputAfterNat(f, destination);
      return;
    case Hook::kPostrouting:
      if (f.source == Source::kHost) {
        LeaveFromHost(f);
      } else {
        LeaveForwarded(f);
      }
      return;
    case Hook::kForward:
      return;  // has no nat table
  }
}

// The old rules are about to go. What has met all of its rules is only counted; the others begin
// anew when their answer comes, so that no packet meets half of one rule set and half of another.
void Pipeline::Impl::LeaveRules() {
  claims_.ForEach([this](Claim& claim) {
    if (claim.flight.source == Source::kOperator) return;
    const bool looped = claim.flight.in == net::kLoopbackPort;
    claim.stale = (claim.hook == Hook::kPrerouting && !looped) || claim.hook == Hook::kOutput;
    if (!claim.stale) Count(claim.flight, claim.path);
    claim.path.Clear();
  });
}

void Pipeline::Impl::StartAnew(Flight& f) {
  net::Packet packet = *f.packet;
  const Source source = f.source;
  tracker_.Release(f.ct);
  if (f.claim != kNoClaim) EndClaim(f);
  packet.mark = 0;
  if (source == Source::kHost) {
    Egress(&packet, Known{}, f.now);
  } else {
    Ingress(&packet, Known{}, f.now);
  }
}

}  // namespace postern::pipeline

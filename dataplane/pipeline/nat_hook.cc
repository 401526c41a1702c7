// The nat table (first packets) and the translation of every packet: nf_nat_inet_fn.
#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/pipeline/pipeline_impl.h"
#include "nat/rewrite.h"

namespace postern::pipeline {
namespace {

using ctrack::CtInfo;
using net::Hook;
using net::Manip;

constexpr uint32_t DoneBit(Manip manip) {
  return manip == Manip::kSource ? ctrack::kSrcNatDone : ctrack::kDstNatDone;
}

// The status bit that says whether packets of this direction change here: a reply undoes at the
// destination what the original direction had done to its source.
constexpr uint32_t TranslationBit(Manip manip, net::Direction direction) {
  const bool source = (manip == Manip::kSource) == (direction == net::Direction::kOriginal);
  return source ? ctrack::kSrcNat : ctrack::kDstNat;
}

class TableOracle final : public nat::TupleOracle {
 public:
  // `claim`: kNoClaim unless the connection has asked before.
  TableOracle(ctrack::Tracker* tracker, const net::OwnerMap* owners, unsigned worker,
              const ClaimRoom* claims, ClaimId claim, const ctrack::Connection* connection,
              net::Time now)
      : tracker_(tracker),
        owners_(owners),
        worker_(worker),
        claims_(claims),
        claim_(claim),
        connection_(connection),
        now_(now) {}

  // What another worker owns is free until that worker has said otherwise (MayHave asks).
  bool Taken(const net::Tuple& reply) override {
    if (tracker_->TupleTaken(reply, connection_, now_)) return true;
    return !Suits(reply) && claims_->Taken(reply, claim_);
  }
  bool TakenForGood(const net::Tuple& reply) override {
    if (tracker_->TakenForGood(reply, *connection_, now_)) return true;
    return !Suits(reply) && claims_->Taken(reply, claim_);
  }
  bool Suits(const net::Tuple& reply) override { return owners_->OwnerOf(reply) == worker_; }

 private:
  ctrack::Tracker* tracker_;
  const net::OwnerMap* owners_;
  unsigned worker_;
  const ClaimRoom* claims_;
  ClaimId claim_;
  const ctrack::Connection* connection_;
  net::Time now_;
};

bool IsIcmp(const net::ParsedPacket& ip) {
  return ip.protocol == (ip.family == net::Family::kIpv4 ? net::kProtoIcmp : net::kProtoIcmpv6);
}

}  // namespace

bool Pipeline::Impl::NatHook(Flight& f, Hook hook) {
  // Packets that belong to no connection are never translated.
  if (f.ct.connection == nullptr) return true;
  ctrack::Connection& connection = *f.ct.connection;
  if (!HasTable(f.packet->ip.family, net::Table::kNat)) {
    // The table may be gone while translated connections live on; without it nothing is looked at.
    constexpr uint32_t kAny = ctrack::kSrcNat | ctrack::kDstNat;
    if ((connection.status & kAny) == 0) return true;
    const bool error = f.ct.info == CtInfo::kRelated || f.ct.info == CtInfo::kRelatedReply;
    return error && IsIcmp(f.packet->ip) ? TranslateIcmpError(f, hook) : TranslatePacket(f, hook);
  }
  const bool related = f.ct.info == CtInfo::kRelated || f.ct.info == CtInfo::kRelatedReply;
  if (related && IsIcmp(f.packet->ip)) return TranslateIcmpError(f, hook);
  const bool first = related || f.ct.info == CtInfo::kNew;
  if (first && (connection.status & DoneBit(ManipAt(hook))) == 0) {
    if (!NatChain(f, hook)) return false;
  } else if (hook == Hook::kPostrouting && connection.masquerade_port != net::kNoPort &&
             !ctrack::IsReply(f.ct.info) && connection.masquerade_port != f.out) {
    // nf_nat_oif_changed: the way out moved to another port, so the address is wrong.
    ctrack::Connection* gone = f.ct.connection;
    f.ct = {};
    FinishDrop(f, net::DropReason::kNatFailed);
    tracker_.Destroy(gone, now_);
    return false;
  }
  return TranslatePacket(f, hook);
}

bool Pipeline::Impl::NatChain(Flight& f, Hook hook) {
  f.nat_walked = true;
  const Manip manip = ManipAt(hook);
  const rules::WalkResult result = Walk(f, net::Table::kNat, hook);
  if (result.verdict != net::Verdict::kAccept) {
    Refused(f, hook, result);
    return false;
  }
  if (manip == Manip::kSource) {
    f.source_range = result.nat;
    f.masquerade = result.masquerade;
  } else {
    f.destination_answered = f.destination_answered || result.nat != nullptr;
  }
  if (result.nat == nullptr && LeaveAsItIs(f.ct.connection, manip)) return true;
  net::NatRange range;
  if (result.nat != nullptr) {
    range = *result.nat;
    if (!BindingFor(f, result, &range)) return false;
    if (result.masquerade && !f.ct.connection->Has(ctrack::kConfirmed)) {
      f.ct.connection->masquerade_port = f.out;
    }
    return SetupNat(f, hook, range);
  }
  // nf_nat_alloc_null_binding: the same address, so that only a clash moves the port.
  const net::Tuple& reply = f.ct.connection->reply();
  range.SetAddress(manip == Manip::kSource ? reply.destination : reply.source);
  return SetupNat(f, hook, range);
}

// A null binding to begin with: ChooseTuple's answer where nobody answers to the reply.
bool Pipeline::Impl::LeaveAsItIs(ctrack::Connection* connection, Manip manip) {
  if (connection->Has(ctrack::kConfirmed)) return true;
  if (!tracker_.table().Lookup(connection->reply()).empty()) return false;
  // Another worker may know somebody.
  if (context_.owners->OwnerOf(connection->reply()) != context_.worker) return false;
  connection->status |= DoneBit(manip);
  return true;
}

// MASQUERADE and REDIRECT take their address from the port.
bool Pipeline::Impl::BindingFor(Flight& f, const rules::WalkResult& result, net::NatRange* range) {
  if (!result.masquerade && !result.redirect) return true;
  const net::Family family = f.packet->ip.family;
  std::optional<net::IpAddress> address;
  const net::IpAddress& destination = f.packet->ip.destination;
  if (result.masquerade && f.out == net::kLoopbackPort && family == net::Family::kIpv6) {
    address = destination;  // RFC 6724 rule 1: the destination is an own address
  } else if (result.masquerade) {
    const bool v4 = family == net::Family::kIpv4;
    address = routes().SourceFor(f.out, family, v4 ? f.route.next_hop : destination);
  } else if (f.in != net::kNoPort) {
    address = routes().RedirectTo(f.in, family, destination);
  } else {
    // nf_nat_redirect at OUTPUT: the loopback address.
    address = family == net::Family::kIpv4 ? net::IpAddress::V4(0x7f000001)
                                           : *net::ParseAddress(net::Family::kIpv6, "::1");
  }
  if (!address) {
    FinishDrop(f, net::DropReason::kNatFailed);
    return false;
  }
  range->SetAddress(*address);
  return true;
}

// nf_nat_setup_info. The source comes last, and what it ends with is what confirmation wants;
// before it only a tuple matters that another one would be taken for.
bool Pipeline::Impl::SetupNat(Flight& f, Hook hook, const net::NatRange& range) {
  ctrack::Connection* connection = f.ct.connection;
  // A confirmed connection's translation is never decided again.
  if (connection->Has(ctrack::kConfirmed)) return true;
  const Manip manip = ManipAt(hook);
  const auto current = net::Mirror(connection->reply());
  if (!current) {
    FinishDrop(f, net::DropReason::kNatFailed);
    return false;
  }
  const nat::Choice choice =
      ChooseTuple(connection, manip, range, *current, f.claim, &sources_, f.now);
  std::optional<net::Tuple> changed;
  if (!(choice.tuple == *current)) {
    changed = net::Mirror(choice.tuple);
    if (!changed) {
      FinishDrop(f, net::DropReason::kNatFailed);
      return false;
    }
  }
  const net::Tuple& reply = changed ? *changed : connection->reply();
  f.nat_exhausted = f.nat_exhausted || choice.exhausted;
  if (context_.owners->workers() > 1 && !MayHave(f, hook, range, choice, reply)) return false;
  TakeReply(connection, manip, choice.tuple, reply);
  return true;
}

// `current`: the mirror of the unconfirmed connection's reply.
nat::Choice Pipeline::Impl::ChooseTuple(const ctrack::Connection* connection, Manip manip,
                                        const net::NatRange& range, const net::Tuple& current,
                                        ClaimId claim, const nat::SourceMap* sources,
                                        net::Time now) {
  TableOracle oracle(&tracker_, context_.owners, context_.worker, &claims_, claim, connection, now);
  return nat::ChooseTuple(current, manip, range, &oracle, sources, &rng_,
                          snapshot_->strict_port_preservation);
}

// Gives an unconfirmed connection one half of its translation. `reply`: the mirror of `translated`.
void Pipeline::Impl::TakeReply(ctrack::Connection* connection, Manip manip,
                               const net::Tuple& translated, const net::Tuple& reply) {
  if (!(reply == connection->reply())) {
    tracker_.AlterReply(connection, reply);
    if (manip == Manip::kSource) std::memcpy(&last_source_, translated.source.bytes.data(), 4);
    connection->status |= manip == Manip::kSource ? ctrack::kSrcNat : ctrack::kDstNat;
  }
  connection->status |= DoneBit(manip);
}

// nf_nat_packet.
bool Pipeline::Impl::TranslatePacket(Flight& f, Hook hook) {
  const ctrack::Connection& connection = *f.ct.connection;
  const net::Direction direction = ctrack::DirectionOf(f.ct.info);
  const Manip manip = ManipAt(hook);
  if ((connection.status & TranslationBit(manip, direction)) == 0) return true;
  const auto target = net::Mirror(connection.tuple(net::Opposite(direction)));
  if (target && nat::Rewrite(f.packet, manip, *target)) return true;
  FinishDrop(f, net::DropReason::kNatFailed);
  return false;
}

// nf_nat_icmp_reply_translation.
bool Pipeline::Impl::TranslateIcmpError(Flight& f, Hook hook) {
  const ctrack::Connection& connection = *f.ct.connection;
  const net::Direction direction = ctrack::DirectionOf(f.ct.info);
  const Manip manip = ManipAt(hook);
  const net::ParsedPacket& ip = f.packet->ip;
  // Before anything is decided the kernel looks at the checksum, whoever sent the error.
  if (!f.packet->checksum_verified && !net::TransportChecksumValid(*f.packet)) {
    FinishDrop(f, net::DropReason::kNatFailed);
    return false;
  }
  const uint8_t redirect =
      ip.family == net::Family::kIpv4 ? net::kIcmpRedirect : net::kIcmpv6Redirect;
  if (ip.icmp_type == redirect) {
    // A redirect is only good where nothing is translated and both halves are decided.
    constexpr uint32_t kDone = ctrack::kSrcNatDone | ctrack::kDstNatDone;
    constexpr uint32_t kAny = ctrack::kSrcNat | ctrack::kDstNat;
    if ((connection.status & kDone) != kDone || (connection.status & kAny) != 0) {
      FinishDrop(f, net::DropReason::kNatFailed);
      return false;
    }
  }
  if ((connection.status & TranslationBit(manip, direction)) == 0) return true;
  const auto target = net::Mirror(connection.tuple(net::Opposite(direction)));
  if (target && nat::RewriteIcmpError(f.packet, manip, *target)) return true;
  FinishDrop(f, net::DropReason::kNatFailed);
  return false;
}

}  // namespace postern::pipeline

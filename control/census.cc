#include "control/census.h"

#include <algorithm>

#include "dataplane/net/wire.h"
#include "dataplane/pipeline/pipeline.h"

namespace postern::control {
namespace {

Census::Protocol ProtocolOf(uint8_t protocol) {
  switch (protocol) {
    case net::kProtoTcp:
      return Census::kTcp;
    case net::kProtoSctp:
      return Census::kSctp;
    case net::kProtoUdp:
      return Census::kUdp;
    case net::kProtoIcmp:
      return Census::kIcmp;
    case net::kProtoIcmpv6:
      return Census::kIcmpv6;
    default:
      return Census::kOther;
  }
}

bool HasPortOrId(uint8_t protocol) {
  return net::HasPorts(protocol) || protocol == net::kProtoIcmp || protocol == net::kProtoIcmpv6;
}

constexpr unsigned kProtocolShift = 56;

// Protocol, key and address in one number: exact for IPv4, a hash of the address for IPv6 (two of a
// million addresses agree in one of 2^20 cases).
uint64_t TranslatedSource(const ctrack::Connection& c) {
  const net::Tuple& reply = c.reply();
  const bool icmp = reply.protocol == net::kProtoIcmp || reply.protocol == net::kProtoIcmpv6;
  const uint64_t key = icmp ? reply.source_key : reply.destination_key;
  uint64_t address = reply.destination.Word(0);
  if (reply.family == net::Family::kIpv6) {
    for (int i = 1; i < 4; ++i) {
      address = (address ^ reply.destination.Word(i)) * 0x9e3779b97f4a7c15U;
      address ^= address >> 29;
    }
    address &= (uint64_t{1} << 40) - 1;
  }
  return uint64_t{ProtocolOf(reply.protocol)} << kProtocolShift | address << 16 | key;
}

}  // namespace

void Census::Count(const ctrack::Connection& c) {
  const Protocol protocol = ProtocolOf(c.original().protocol);
  if (protocol == kTcp) {
    ++tcp[static_cast<size_t>(c.protocol.tcp.state)];
  } else if (protocol == kSctp) {
    ++sctp[static_cast<size_t>(c.protocol.sctp.state)];
  } else {
    const Other state = c.Has(ctrack::kAssured)     ? kAssured
                        : c.Has(ctrack::kSeenReply) ? kReplied
                                                    : kUnreplied;
    ++others[protocol][state];
  }
  if (c.Has(ctrack::kSrcNat)) ++source_translated;
  if (c.Has(ctrack::kDstNat)) ++destination_translated;
}

bool CensusCommand::Step(pipeline::Pipeline& pipeline, net::Time now) {
  constexpr unsigned kSlotsPerStep = 256;
  return pipeline.tracker().Visit(now, kSlotsPerStep, &cursor_,
                                  [this](ctrack::Connection& c) { Visit(c); });
}

void CensusCommand::Visit(const ctrack::Connection& c) {
  census_.Count(c);
  // A worker doesn't allocate.
  if (c.Has(ctrack::kSrcNat) && HasPortOrId(c.original().protocol) &&
      translated_.size() < translated_.capacity()) {
    translated_.push_back(TranslatedSource(c));
  }
}

namespace {

template <typename Counts>
void AddAll(const Counts& from, Counts* to) {
  for (size_t i = 0; i < from.size(); ++i) (*to)[i] += from[i];
}

void Add(const Census& from, Census* to) {
  AddAll(from.tcp, &to->tcp);
  AddAll(from.sctp, &to->sctp);
  for (size_t p = 0; p < from.others.size(); ++p) AddAll(from.others[p], &to->others[p]);
  to->source_translated += from.source_translated;
  to->destination_translated += from.destination_translated;
}

}  // namespace

Census TakeCensus(pipeline::Dataplane* dataplane) {
  Census sum;
  std::vector<uint64_t> translated;
  const std::vector<pipeline::WorkerStats> workers = dataplane->Workers();
  for (unsigned worker = 0; worker < dataplane->workers(); ++worker) {
    // Some more than there are now: the walk takes its time.
    constexpr size_t kMore = 4096;
    const size_t now = worker < workers.size() ? workers[worker].connections : 0;
    CensusCommand command(now + now / 8 + kMore);
    dataplane->Run(worker, &command);
    Add(command.result(), &sum);
    translated.insert(translated.end(), command.translated().begin(), command.translated().end());
  }
  std::sort(translated.begin(), translated.end());
  translated.erase(std::unique(translated.begin(), translated.end()), translated.end());
  for (const uint64_t source : translated) ++sum.nat_ports[source >> kProtocolShift];
  return sum;
}

}  // namespace postern::control

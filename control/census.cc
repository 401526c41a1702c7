#include "control/census.h"

#include "dataplane/net/wire.h"
#include "dataplane/pipeline/pipeline.h"

namespace postern::control {
namespace {

Census::Protocol ProtocolOf(uint8_t protocol) {
  switch (protocol) {
    case net::kProtoTcp:
      return Census::kTcp;
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

}  // namespace

void Census::Count(const ctrack::Connection& c) {
  const Protocol protocol = ProtocolOf(c.original().protocol);
  if (protocol == kTcp) {
    ++tcp[static_cast<size_t>(c.protocol.tcp.state)];
  } else {
    const Other state = c.Has(ctrack::kAssured)     ? kAssured
                        : c.Has(ctrack::kSeenReply) ? kReplied
                                                    : kUnreplied;
    ++others[protocol][state];
  }
  if (c.Has(ctrack::kSrcNat)) ++source_translated;
  if (c.Has(ctrack::kDstNat)) ++destination_translated;
}

Census& Census::operator+=(const Census& other) {
  for (size_t i = 0; i < tcp.size(); ++i) tcp[i] += other.tcp[i];
  for (size_t p = 0; p < others.size(); ++p) {
    for (size_t s = 0; s < others[p].size(); ++s) others[p][s] += other.others[p][s];
  }
  source_translated += other.source_translated;
  destination_translated += other.destination_translated;
  return *this;
}

bool CensusCommand::Step(pipeline::Pipeline& pipeline, net::Time now) {
  constexpr unsigned kSlotsPerStep = 256;
  return pipeline.tracker().Visit(now, kSlotsPerStep, &cursor_,
                                  [this](ctrack::Connection& c) { census_.Count(c); });
}

Census TakeCensus(pipeline::Dataplane* dataplane) {
  Census sum;
  for (unsigned worker = 0; worker < dataplane->workers(); ++worker) {
    CensusCommand command;
    dataplane->Run(worker, &command);
    sum += command.result();
  }
  return sum;
}

}  // namespace postern::control

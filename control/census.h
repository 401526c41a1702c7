// How many connections there are of which kind; for metrics.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataplane/pipeline/dataplane.h"

namespace postern::control {

// Counted by protocol; TCP and SCTP by state, the others by whether a reply was seen and they are
// assured.
struct Census {
  enum Protocol : size_t { kTcp, kSctp, kUdp, kIcmp, kIcmpv6, kOther, kProtocolCount };
  enum Other : size_t { kUnreplied, kReplied, kAssured, kOtherCount };
  static constexpr std::array<const char*, kProtocolCount> kProtocolNames = {
      "tcp", "sctp", "udp", "icmp", "icmpv6", "other"};

  std::array<uint64_t, static_cast<size_t>(ctrack::TcpState::kCount)> tcp{};
  std::array<uint64_t, static_cast<size_t>(ctrack::SctpState::kCount)> sctp{};
  std::array<std::array<uint64_t, kOtherCount>, kProtocolCount> others{};  // kTcp, kSctp unused
  uint64_t source_translated = 0;
  uint64_t destination_translated = 0;
  // Different ports (ICMP: ids) of different addresses that source NAT has taken, by protocol.
  // Connections to different peers may share one.
  std::array<uint64_t, kProtocolCount> nat_ports{};

  void Count(const ctrack::Connection& connection);
};

// Counts one worker's connections, 256 slots a step.
class CensusCommand : public pipeline::WorkerCommand {
 public:
  // Room for the translations of `connections`; what goes beyond it isn't in nat_ports.
  explicit CensusCommand(size_t connections) { translated_.reserve(connections); }
  bool Step(pipeline::Pipeline& pipeline, net::Time now) override;
  const Census& result() const { return census_; }
  // A number for each translated source, not sorted.
  const std::vector<uint64_t>& translated() const { return translated_; }

 private:
  void Visit(const ctrack::Connection& connection);

  Census census_;
  std::vector<uint64_t> translated_;
  uint32_t cursor_ = 0;
};

// Over all workers. Control thread; takes as long as a walk over the table does.
Census TakeCensus(pipeline::Dataplane* dataplane);

}  // namespace postern::control

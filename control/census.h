// How many connections there are of which kind; for metrics.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataplane/pipeline/dataplane.h"

namespace postern::control {

// Counted by protocol; TCP by state, the others by whether a reply was seen and they are assured.
struct Census {
  enum Protocol : size_t { kTcp, kUdp, kIcmp, kIcmpv6, kOther, kProtocolCount };
  enum Other : size_t { kUnreplied, kReplied, kAssured, kOtherCount };
  std::array<uint64_t, static_cast<size_t>(ctrack::TcpState::kCount)> tcp{};
  std::array<std::array<uint64_t, kOtherCount>, kProtocolCount> others{};  // kTcp unused
  uint64_t source_translated = 0;
  uint64_t destination_translated = 0;

  void Count(const ctrack::Connection& connection);
  Census& operator+=(const Census& other);
};

// Counts one worker's connections, 256 slots a step.
class CensusCommand : public pipeline::WorkerCommand {
 public:
  bool Step(pipeline::Pipeline& pipeline, net::Time now) override;
  const Census& result() const { return census_; }

 private:
  Census census_;
  uint32_t cursor_ = 0;
};

// Over all workers. Control thread; takes as long as a walk over the table does.
Census TakeCensus(pipeline::Dataplane* dataplane);

}  // namespace postern::control

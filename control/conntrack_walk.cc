#include "control/conntrack_walk.h"

#include "ctrack/extension.h"
#include "dataplane/pipeline/pipeline.h"

namespace postern::control {

ConnectionWalk::ConnectionWalk(const ConntrackFilter* filter, WalkAction action, uint32_t reporter)
    : filter_(filter), action_(action), reporter_(reporter) {
  found_.reserve(kMostFound);
}

void ConnectionWalk::Restart() {
  found_.clear();
  cursor_ = 0;
  finished_ = false;
}

bool ConnectionWalk::Step(pipeline::Pipeline& pipeline, net::Time now) {
  pipeline.SetReporter(reporter_);
  unsigned cost = 0;
  const auto room = [this] { return found_.size() + kSlotsAtOnce <= kMostFound; };
  while (!finished_ && cost < kCostAStep && room()) {
    cost += kSlotsAtOnce;
    finished_ = pipeline.tracker().Visit(
        now, kSlotsAtOnce, &cursor_,
        [&](ctrack::Connection& connection) { cost += Meet(pipeline, &connection, now); });
  }
  pipeline.SetReporter(0);
  return finished_ || !room();
}

unsigned ConnectionWalk::Meet(pipeline::Pipeline& pipeline, ctrack::Connection* connection,
                              net::Time now) {
  if (action_ == WalkAction::kUpdate) return Update(pipeline, connection, now);
  if (!filter_->Matches(*connection, now)) return 0;
  unsigned cost = 0;
  if (action_ != WalkAction::kFlush) {
    found_.push_back({CopyOf(*connection, now), ctrack::RequestOutcome::kDone});
    cost += kCopyCost;
  }
  if (action_ == WalkAction::kZero && connection->extension != nullptr) {
    connection->extension->packets = {};
    connection->extension->bytes = {};
  }
  if (action_ == WalkAction::kDelete || action_ == WalkAction::kFlush) {
    pipeline.tracker().Destroy(connection, now);
    cost += kChangeCost;
  }
  return cost;
}

unsigned ConnectionWalk::Update(pipeline::Pipeline& pipeline, ctrack::Connection* connection,
                                net::Time now) {
  if (!filter_->MatchesForUpdate(*connection)) return 0;
  const std::optional<ctrack::ConnectionRequest> request = filter_->Update(*connection, now);
  if (!request) return 0;
  std::optional<ctrack::RequestOutcome> outcome;
  // A living connection's translation can't be changed; that the command names one is enough.
  const bool translation = filter_->source_nat || filter_->destination_nat;
  if (!translation) outcome = pipeline.tracker().Change(connection, *request, now);
  found_.push_back({CopyOf(*connection, now), outcome});
  return kCopyCost + kChangeCost;
}

bool ConnectionGet::Step(pipeline::Pipeline& pipeline, net::Time now) {
  net::Direction direction{};
  if (const ctrack::Connection* found = pipeline.tracker().Find(key_, &direction, now)) {
    result_ = CopyOf(*found, now);
  }
  return true;
}

bool ConnectionInsert::Step(pipeline::Pipeline& pipeline, net::Time now) {
  if (!pipeline.Owns(request_.original)) return true;
  pipeline.SetReporter(reporter_);
  outcome_ = pipeline.Insert(request_, nat_, now);
  pipeline.SetReporter(0);
  return outcome_.has_value();
}

}  // namespace postern::control

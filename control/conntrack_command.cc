#include "control/conntrack_command.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <utility>

#include "control/conntrack_help.h"
#include "control/conntrack_load.h"
#include "control/conntrack_options.h"
#include "control/conntrack_walk.h"
#include "dataplane/pipeline/pipeline.h"

namespace postern::control {
namespace {

using Verb = ConntrackVerb;
using Table = ConntrackTable;
using ctrack::RequestOutcome;

constexpr std::string_view kBanner = "conntrack v1.4.7 (conntrack-tools)";
constexpr int kFailed = 1;

// The time of day when the workers' clock showed `time`.
int64_t WallClock(const pipeline::Dataplane& dataplane, net::Time time) {
  const auto wall = std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  return wall.count() - (static_cast<int64_t>(dataplane.Now()) - static_cast<int64_t>(time));
}

// What the original makes of ctnetlink's errors.
std::string_view Sentence(RequestOutcome outcome) {
  switch (outcome) {
    case RequestOutcome::kDone:
      break;
    case RequestOutcome::kExists:
      return "Such conntrack exists, try -U to update";
    case RequestOutcome::kFull:
      return "not enough memory";
    case RequestOutcome::kBusy:
      return "Device or resource busy";
    case RequestOutcome::kNotPermitted:
      return "sorry, you must be root or get CAP_NET_ADMIN capability to do this";
  }
  return "Success";
}
constexpr std::string_view kInvalid = "invalid parameters";
constexpr std::string_view kNotSupported = "Operation not supported";
constexpr std::string_view kNoSuchFile = "No such file or directory";

int Fail(const CommandIo& io, std::string_view sentence) {
  io.error(fmt::format("{}: Operation failed: {}\n", kBanner, sentence));
  return kFailed;
}

// -L, -D and -U: a walk over every worker's connections.
class WalkCommand : public Command {
 public:
  WalkCommand(ConntrackOptions options, WalkAction action, uint32_t reporter,
              pipeline::Dataplane* dataplane)
      : options_(std::move(options)),
        action_(action),
        dataplane_(dataplane),
        walk_(&options_.filter, action, reporter) {
    // Only a listing shows when a connection began.
    if (action == WalkAction::kDelete || action == WalkAction::kUpdate) {
      options_.format.ktimestamp = false;
    }
    // Postern keeps neither dying nor unconfirmed connections in a table, and has no expectations.
    if (options_.table != Table::kConntrack) worker_ = dataplane->workers();
  }
  WalkCommand(const WalkCommand&) = delete;
  WalkCommand& operator=(const WalkCommand&) = delete;

  std::optional<int> Step(const CommandIo& io) override {
    if (worker_ < dataplane_->workers()) {
      walk_.Clear();
      dataplane_->Run(worker_, &walk_);
      Show(io);
      if (walk_.finished()) {
        ++worker_;
        walk_.Restart();
      }
      if (worker_ < dataplane_->workers()) return std::nullopt;
    }
    if (head_shown_) io.out(kXmlTail);
    if (action_ == WalkAction::kFlush) {
      io.error(fmt::format("{}: connection tracking table has been emptied.\n", kBanner));
      return 0;
    }
    if (!options_.summary) return 0;
    io.error(fmt::format("{}: {} {}\n", kBanner, shown_, Ending()));
    const bool list = action_ == WalkAction::kCopy || action_ == WalkAction::kZero;
    return list || shown_ != 0 ? 0 : kFailed;
  }

 private:
  std::string_view Ending() const {
    if (options_.table == Table::kExpect) return "expectations have been shown.";
    if (action_ == WalkAction::kDelete) return "flow entries have been deleted.";
    if (action_ == WalkAction::kUpdate) return "flow entries have been updated.";
    return "flow entries have been shown.";
  }

  void Show(const CommandIo& io) {
    const bool list = action_ == WalkAction::kCopy || action_ == WalkAction::kZero;
    std::string text;
    for (const ConnectionWalk::Found& found : walk_.found()) {
      // What can't be changed is shown and counted all the same.
      if (found.outcome != RequestOutcome::kDone) {
        io.error(fmt::format("Operation failed: {}\n",
                             found.outcome ? Sentence(*found.outcome) : kNotSupported));
      }
      if (list && options_.format.xml && !std::exchange(head_shown_, true)) text += kXmlHead;
      ConntrackOccasion occasion;
      if (action_ == WalkAction::kDelete && options_.format.save) {
        occasion.message = ConntrackMessage::kDestroy;
      }
      // The kernel counts the one who asks, too.
      if (action_ == WalkAction::kUpdate) occasion.use = 2;
      occasion.wall_nanoseconds = WallClock(*dataplane_, found.copy.now);
      AppendConnection(found.copy, options_.format, occasion, &text);
      text += '\n';
      ++shown_;
    }
    if (!text.empty()) io.out(text);
  }

  ConntrackOptions options_;
  const WalkAction action_;
  pipeline::Dataplane* const dataplane_;
  ConnectionWalk walk_;
  unsigned worker_ = 0;
  uint64_t shown_ = 0;
  bool head_shown_ = false;
};

// A command that is done at once.
class OnceCommand : public Command {
 public:
  explicit OnceCommand(std::function<int(const CommandIo&)> run) : run_(std::move(run)) {}
  std::optional<int> Step(const CommandIo& io) override { return run_(io); }

 private:
  std::function<int(const CommandIo&)> run_;
};

std::unique_ptr<Command> Once(std::function<int(const CommandIo&)> run) {
  return std::make_unique<OnceCommand>(std::move(run));
}
std::unique_ptr<Command> Answer(std::string text) {
  return Once([text = std::move(text)](const CommandIo& io) {
    io.out(text);
    return 0;
  });
}

int Insert(const CommandIo& io, const ConntrackOptions& options, uint32_t reporter,
           pipeline::Dataplane* dataplane) {
  const std::optional<ctrack::ConnectionRequest> request = options.filter.Insertion();
  if (!request) return Fail(io, kInvalid);
  ConnectionInsert insert(*request, options.filter.Wish(), reporter);
  for (unsigned worker = 0; worker < dataplane->workers() && !insert.outcome(); ++worker) {
    dataplane->Run(worker, &insert);
  }
  const RequestOutcome outcome = insert.outcome().value_or(RequestOutcome::kFull);
  const bool add = options.verb == Verb::kAdd;
  if (outcome != RequestOutcome::kDone && !(add && outcome == RequestOutcome::kExists)) {
    return Fail(io, Sentence(outcome));
  }
  if (!options.summary) return 0;
  io.error(fmt::format("{}: {} flow entries have been {}.\n", kBanner,
                       outcome == RequestOutcome::kDone ? 1 : 0, add ? "added" : "created"));
  return 0;
}

std::optional<ConnectionCopy> Find(const net::Tuple& key, pipeline::Dataplane* dataplane) {
  ConnectionGet get(key);
  for (unsigned worker = 0; worker < dataplane->workers() && !get.result(); ++worker) {
    dataplane->Run(worker, &get);
  }
  return get.result();
}

int Get(const CommandIo& io, const ConntrackOptions& options, pipeline::Dataplane* dataplane) {
  const std::optional<net::Tuple> key = options.filter.Key();
  if (!key) return Fail(io, kInvalid);
  const std::optional<ConnectionCopy> found = Find(*key, dataplane);
  if (!found) return Fail(io, "such conntrack doesn't exist");
  const bool shown = options.filter.Matches(found->connection, found->now);
  if (shown) {
    std::string text = options.format.xml ? kXmlHead : "";
    ConntrackOccasion occasion;
    occasion.use = 2;  // the kernel counts the one who asks, too
    occasion.wall_nanoseconds = WallClock(*dataplane, found->now);
    AppendConnection(*found, options.format, occasion, &text);
    io.out(text + "\n");
  }
  io.error(fmt::format("{}: {} flow entries have been shown.\n", kBanner, shown ? 1 : 0));
  return shown ? 0 : kFailed;
}

// A worker a line, with the kernel's names.
std::string Statistics(pipeline::Dataplane* dataplane) {
  std::string text;
  unsigned number = 0;
  for (const pipeline::WorkerStats& worker : dataplane->Workers()) {
    const ctrack::TrackerStats& s = worker.conntrack;
    text += fmt::format(
        "cpu={:<4}\tfound={} invalid={} insert={} insert_failed={} drop={} early_drop={} error={} "
        "search_restart={} clash_resolve={} chaintoolong={} \n",
        number++, s.found, s.invalid, s.insert, s.insert_failed, s.drop, s.early_drop, s.error,
        s.search_restart, s.clash_resolve, s.chain_toolong);
  }
  return text;
}

// Postern has no helpers: there is no expectation, and no connection can have one.
std::unique_ptr<Command> ExpectCommand(ConntrackOptions options, pipeline::Dataplane* dataplane) {
  switch (options.verb) {
    case Verb::kCreate:
      return Once([options, dataplane](const CommandIo& io) {
        const std::optional<net::Tuple> master = options.filter.Key();
        if (!master || !Find(*master, dataplane)) return Fail(io, "master conntrack not found");
        return Fail(io, kNotSupported);
      });
    case Verb::kDelete:
    case Verb::kGet:
      return Once([](const CommandIo& io) { return Fail(io, kNoSuchFile); });
    case Verb::kFlush:
      return Once([](const CommandIo& io) {
        io.error(fmt::format("{}: expectation table has been emptied.\n", kBanner));
        return 0;
      });
    case Verb::kStatistics: {
      std::string text;
      for (unsigned worker = 0; worker < dataplane->workers(); ++worker) {
        text += fmt::format("cpu={:<4}\texpect_new=0 expect_create=0 expect_delete=0 \n", worker);
      }
      return Answer(text);
    }
    default:
      return Answer("0\n");  // -C
  }
}

std::unique_ptr<Command> Run(const CommandIo& io, ConntrackOptions options,
                             pipeline::Dataplane* dataplane, ConntrackHub* hub) {
  const uint32_t reporter = io.client;
  const auto walk = [&](WalkAction action) {
    return std::make_unique<WalkCommand>(std::move(options), action, reporter, dataplane);
  };
  switch (options.verb) {
    case Verb::kVersion:
      return Answer(fmt::format("{}\n", kBanner));
    case Verb::kNone:
    case Verb::kHelp:
      return Answer(ConntrackHelp(options.filter.protocol));
    case Verb::kEvent:
      if (hub == nullptr) return Once([](const CommandIo& i) { return Fail(i, kNotSupported); });
      return MakeEventCommand(io, std::move(options), hub,
                              [dataplane](net::Time time) { return WallClock(*dataplane, time); });
    case Verb::kList:
      return walk(options.given.Has('z') ? WalkAction::kZero : WalkAction::kCopy);
    default:
      break;
  }
  if (options.table == Table::kExpect) return ExpectCommand(std::move(options), dataplane);
  switch (options.verb) {
    case Verb::kDelete:
      return walk(WalkAction::kDelete);
    case Verb::kUpdate:
      return walk(WalkAction::kUpdate);
    case Verb::kFlush:
      // The original's request names no family, whatever -f says.
      options.filter = {};
      return walk(WalkAction::kFlush);
    case Verb::kGet:
      return Once([options, dataplane](const CommandIo& i) { return Get(i, options, dataplane); });
    case Verb::kStatistics:
      return Answer(Statistics(dataplane));
    case Verb::kCount:
      return Answer(fmt::format("{}\n", dataplane->conntrack_entries()));
    default:
      return Once([options, reporter, dataplane](const CommandIo& i) {
        return Insert(i, options, reporter, dataplane);
      });
  }
}

}  // namespace

int ComplainOfOptions(const CommandIo& io, const ConntrackError& error) {
  io.error(fmt::format("{}: {}\n", kBanner, error.message));
  if (error.hint) io.error("Try `conntrack -h' or 'conntrack --help' for more information.\n");
  return error.status;
}

std::unique_ptr<Command> MakeConntrackCommand(const CommandIo& io, pipeline::Dataplane* dataplane,
                                              ConntrackHub* hub) {
  if (FileToLoad(io.arguments) != nullptr) {
    if (hub != nullptr) hub->NameReporter(io.client, io.program);
    return MakeLoadCommand([dataplane, hub](const CommandIo& i, ConntrackOptions options) {
      return Run(i, std::move(options), dataplane, hub);
    });
  }
  ConntrackOptions options;
  ConntrackError error;
  const bool good = ParseConntrackOptions(io.arguments, &options, &error);
  for (const std::string& warning : options.warnings) io.error(warning);
  if (good) {
    if (hub != nullptr) hub->NameReporter(io.client, io.program);
    return Run(io, std::move(options), dataplane, hub);
  }
  return Once([error](const CommandIo& i) { return ComplainOfOptions(i, error); });
}

}  // namespace postern::control

#include "control/conntrack_command.h"

#include <fmt/format.h>

#include <ctime>

#include "control/conntrack_options.h"
#include "control/engine.h"
#include "ctrack/extension.h"
#include "dataplane/pipeline/pipeline.h"

namespace postern::control {
namespace {

using Verb = ConntrackOptions::Verb;
using Table = ConntrackOptions::Table;

constexpr std::string_view kBanner = "conntrack v1.4.7 (conntrack-tools)";
constexpr std::string_view kHelp =
    "Command line interface for the connection tracking system of Postern.\n"
    "Usage: conntrack [commands] [options]\n"
    "\n"
    "Commands:\n"
    "  -L [table] [options]\t\tList conntrack or expectation table\n"
    "  -C [table]\t\t\tShow counter\n"
    "  -S\t\t\t\tShow statistics\n"
    "\n"
    "Tables: conntrack, expect, dying, unconfirmed\n"
    "\n"
    "Conntrack parameters and options:\n"
    "  -n, --src-nat ip\t\t\tsource NAT ip\n"
    "  -g, --dst-nat ip\t\t\tdestination NAT ip\n"
    "  -j, --any-nat ip\t\t\tsource or destination NAT ip\n"
    "  -m, --mark mark\t\t\tMark, with an optional mask\n"
    "  -o, --output type[,...]\t\tOutput format: extended, id, ktimestamp, save, xml\n"
    "\n"
    "Common parameters and options:\n"
    "  -s, --src, --orig-src ip\t\tSource address from original direction\n"
    "  -d, --dst, --orig-dst ip\t\tDestination address from original direction\n"
    "  -r, --reply-src ip\t\t\tSource address from reply direction\n"
    "  -q, --reply-dst ip\t\t\tDestination address from reply direction\n"
    "  -p, --protonum proto\t\t\tLayer 4 Protocol, eg. 'tcp'\n"
    "  -f, --family proto\t\t\tLayer 3 Protocol, eg. 'ipv6'\n"
    "  -u, --status status\t\t\tStatus, eg. ASSURED\n"
    "  -w, --zone value\t\t\tConntrack zone\n"
    "  --mask-src ip\t\t\t\tSource mask address\n"
    "  --mask-dst ip\t\t\t\tDestination mask address\n"
    "  --sport, --dport, --reply-port-src, --reply-port-dst port\n"
    "  \t\t\t\t\tPorts, after -p\n"
    "  --state state\t\t\t\tTCP state, after -p tcp\n";

class ListCommand : public Command {
 public:
  ListCommand(ConntrackOptions options, pipeline::Dataplane* dataplane)
      : options_(std::move(options)), dataplane_(dataplane) {}

  std::optional<int> Step(const CommandIo& io) override {
    const bool xml = options_.format.kind == ConntrackFormat::Kind::kXml;
    if (!started_ && xml) io.out(kXmlHead);
    started_ = true;
    // Postern keeps neither dying nor unconfirmed connections in a table.
    if (options_.table == Table::kConntrack && worker_ < dataplane_->workers()) {
      ListSome(io);
      if (worker_ < dataplane_->workers()) return std::nullopt;
    }
    if (xml) io.out(kXmlTail);
    const char* what = options_.table == Table::kExpect ? "expectations" : "flow entries";
    io.error(fmt::format("{}: {} {} have been shown.\n", kBanner, shown_, what));
    return 0;
  }

 private:
  void ListSome(const CommandIo& io) {
    reader_.Clear();
    dataplane_->Run(worker_, &reader_);
    const auto wall = static_cast<int64_t>(std::time(nullptr));
    std::string text;
    for (const ConnectionCopy& copy : reader_.copies()) {
      if (!options_.filter.Matches(copy.connection)) continue;
      text += PrintConnection(copy, options_.format, wall);
      ++shown_;
    }
    if (!text.empty()) io.out(text);
    if (reader_.finished()) {
      ++worker_;
      reader_ = ConnectionReader();
    }
  }

  ConntrackOptions options_;
  pipeline::Dataplane* dataplane_;
  ConnectionReader reader_;
  unsigned worker_ = 0;
  uint64_t shown_ = 0;
  bool started_ = false;
};

// A worker a line, with the kernel's names.
std::string StatisticsText(pipeline::Dataplane* dataplane) {
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

// A command whose answer is known at once.
class FixedAnswer : public Command {
 public:
  FixedAnswer(std::string out, std::string error, int status)
      : out_(std::move(out)), error_(std::move(error)), status_(status) {}
  std::optional<int> Step(const CommandIo& io) override {
    if (!out_.empty()) io.out(out_);
    if (!error_.empty()) io.error(error_);
    return status_;
  }

 private:
  std::string out_;
  std::string error_;
  int status_;
};

}  // namespace

ConnectionReader::ConnectionReader() { copies_.reserve(size_t{2} * kSlotsPerStep); }

bool ConnectionReader::Step(pipeline::Pipeline& pipeline, net::Time now) {
  ctrack::Tracker& tracker = pipeline.tracker();
  const bool acct = tracker.settings().acct;
  finished_ = tracker.Visit(now, kSlotsPerStep, &cursor_, [this, now, acct](auto& connection) {
    ConnectionCopy& copy = copies_.emplace_back();
    copy.connection = connection;
    copy.now = now;
    if (connection.extension == nullptr) return;
    copy.counted = acct;
    copy.packets = connection.extension->packets;
    copy.bytes = connection.extension->bytes;
    copy.start = connection.extension->start;
  });
  return finished_ || copies_.size() + kSlotsPerStep > copies_.capacity();
}

std::unique_ptr<Command> MakeConntrackCommand(const CommandIo& io, pipeline::Dataplane* dataplane) {
  ConntrackOptions options;
  ConntrackError error;
  if (!ParseConntrackOptions(io.arguments, &options, &error)) {
    std::string text = fmt::format("{}: {}\n", kBanner, error.message);
    if (error.hint) text += "Try `conntrack -h' or 'conntrack --help' for more information.\n";
    return std::make_unique<FixedAnswer>("", text, error.status);
  }
  switch (options.verb) {
    case Verb::kList:
      return std::make_unique<ListCommand>(std::move(options), dataplane);
    case Verb::kCount: {
      const uint32_t count =
          options.table == Table::kConntrack ? dataplane->conntrack_entries() : 0;
      return std::make_unique<FixedAnswer>(fmt::format("{}\n", count), "", 0);
    }
    case Verb::kStatistics:
      return std::make_unique<FixedAnswer>(StatisticsText(dataplane), "", 0);
    case Verb::kVersion:
      return std::make_unique<FixedAnswer>(fmt::format("{}\n", kBanner), "", 0);
    case Verb::kNone:
    case Verb::kHelp:
      break;
  }
  return std::make_unique<FixedAnswer>(std::string(kHelp), "", 0);
}

std::unique_ptr<Command> MakeConntrackCommand(const CommandIo& io, Engine* engine) {
  return MakeConntrackCommand(io, &engine->dataplane());
}

}  // namespace postern::control

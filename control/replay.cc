#include "control/replay.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>

#include "control/config.h"
#include "control/conntrack_printer.h"
#include "control/engine.h"
#include "control/iptables/restore.h"
#include "control/log_writer.h"
#include "control/pcap_file.h"
#include "control/replay_events.h"
#include "control/rule_files.h"

namespace postern::control {
namespace {

std::string Join(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

// An input capture with the frame that comes next.
struct Source {
  net::PortId port = 0;
  bool host = false;
  std::string name;
  std::unique_ptr<PcapReader> reader;
  bool ready = false;
};

// Collects what the pipeline says about the packet under way and writes what it sends.
class Recorder final : public pipeline::OfflineOutput,
                       public pipeline::EventSink,
                       public pipeline::PacketObserver {
 public:
  Recorder(const ReplayOptions& options, std::vector<std::string> port_names)
      : options_(options), port_names_(std::move(port_names)) {}

  void Begin(uint64_t number, net::Time time, std::string in) {
    event_ = {};
    event_.number = number;
    event_.time = time;
    event_.in = std::move(in);
    decided_ = false;
  }
  const ReplayEvent& event() const { return event_; }
  const net::Status& status() const { return status_; }

  void OnTransmit(net::PortId port, const net::Packet& frame) override {
    Write(port_names_[port], port_names_[port], frame);
  }
  void OnHost(net::PortId twin, const net::Packet& frame) override {
    Write("host-" + port_names_[twin], "host:" + port_names_[twin], frame);
  }

  void OnOutcome(const net::Packet&, const pipeline::Outcome& outcome,
                 const rules::PathBuilder& path) override {
    decided_ = true;
    event_.verdict = outcome.verdict;
    event_.reason = outcome.reason;
    event_.tracked = outcome.tracked;
    event_.info = outcome.ct.info;
    event_.has_connection = outcome.ct.connection != nullptr;
    if (event_.has_connection) event_.connection = *outcome.ct.connection;
    event_.path.assign(path.rules, path.rules + path.size);
  }
  void OnDrop(const net::Packet& packet, net::DropReason reason) override {
    // A packet that Postern made itself has no input port and isn't what the event is about.
    if (packet.in_port == net::kNoPort && event_.in.rfind("host:", 0) != 0) return;
    event_.reason = reason;
    if (!decided_) event_.verdict = net::Verdict::kDrop;
  }

  void OnLog(const pipeline::LogRecord& record) override {
    std::cerr << FormatLogLine(record, port_names_) << '\n';
  }
  bool WantsConnections() const override { return false; }
  void OnConnection(const pipeline::ConnRecord&) override {}
  void OnTrouble(net::DropReason, net::Time) override {}

  net::Status Close() {
    for (auto& [name, writer] : writers_) {
      net::Status closed = writer->Close();
      if (!closed.ok()) return closed;
    }
    return status_;
  }

 private:
  void Write(const std::string& file, const std::string& shown, const net::Packet& frame) {
    event_.out.push_back(shown);
    if (options_.out_folder.empty()) return;
    auto& writer = writers_[file];
    if (writer == nullptr) {
      writer = std::make_unique<PcapWriter>(options_.out_folder + "/" + file + ".pcap");
    }
    net::Status written = writer->Write({frame.data, frame.length}, event_.time);
    if (!written.ok() && status_.ok()) status_ = written;
  }

  const ReplayOptions& options_;
  const std::vector<std::string> port_names_;
  std::map<std::string, std::unique_ptr<PcapWriter>> writers_;
  ReplayEvent event_;
  bool decided_ = false;
  net::Status status_;
};

net::Result<std::vector<Source>> OpenSources(const ReplayOptions& options, const Config& config) {
  const std::vector<std::string> names = config.PortNames();
  std::vector<Source> sources;
  for (const ReplayInput& input : options.inputs) {
    const auto at = std::find(names.begin(), names.end(), input.port);
    if (at == names.end()) {
      return net::Error{"--in " + input.port + ": " + config.file + " has no such port"};
    }
    auto reader = PcapReader::Open(input.file);
    if (!reader) return net::Error{reader.error()};
    Source source;
    source.port = static_cast<net::PortId>(at - names.begin());
    source.host = input.host;
    source.name = (input.host ? "host:" : "") + input.port;
    source.reader = std::move(*reader);
    sources.push_back(std::move(source));
  }
  return sources;
}

// The source whose next frame is the oldest; null at the end.
net::Result<Source*> NextSource(std::vector<Source>* sources) {
  Source* oldest = nullptr;
  for (Source& source : *sources) {
    if (!source.ready) {
      std::string error;
      source.ready = source.reader->Next(&error);
      if (!error.empty()) return net::Error{error};
    }
    if (!source.ready) continue;
    if (oldest == nullptr || source.reader->time() < oldest->reader->time()) oldest = &source;
  }
  return oldest;
}

uint64_t PromiscuousPorts(const Config& config) {
  uint64_t ports = 0;
  for (size_t i = 0; i < config.ports.size(); ++i) {
    if (!config.ports[i].mac) ports |= uint64_t{1} << i;
  }
  return ports;
}

class VisitAll final : public pipeline::WorkerCommand {
 public:
  explicit VisitAll(std::string* text) : text_(text) {}
  bool Step(pipeline::Pipeline& pipeline, net::Time now) override {
    return pipeline.tracker().Visit(now, 4096, &cursor_, [&](ctrack::Connection& connection) {
      // A capture's clock is the time of day.
      ConntrackOccasion occasion;
      occasion.wall_nanoseconds = static_cast<int64_t>(now);
      AppendConnection(CopyOf(connection, now), ConntrackFormat{}, occasion, text_);
      *text_ += '\n';
    });
  }

 private:
  std::string* text_;
  uint32_t cursor_ = 0;
};

void PrintResults(const ReplayOptions& options, Engine* engine, pipeline::OfflineEngine* datapath) {
  if (options.conntrack) {
    for (unsigned worker = 0; worker < datapath->workers(); ++worker) {
      std::string text;
      VisitAll visit(&text);
      datapath->Run(worker, &visit);
      std::cout << text;
    }
  }
  if (!options.counters) return;
  const rules::Model model = engine->Rules();
  iptables::SaveOptions save;
  save.counters = true;
  std::cout << iptables::PrintSave(model.ipv4, save, true)
            << iptables::PrintSave(model.ipv6, save, true);
}

pipeline::OfflineEngine::Options DatapathOptions(const ReplayOptions& options,
                                                 const Config& config) {
  pipeline::OfflineEngine::Options result;
  result.workers = options.workers != 0 ? options.workers
                                        : static_cast<unsigned>(config.dataplane.workers.size());
  result.connections = config.sysctls.conntrack.max + pipeline::kMaxBurst;
  result.seed = options.seed;
  result.arrival = options.arrival;
  result.promiscuous_ports = PromiscuousPorts(config);
  result.port_names = config.PortNames();
  return result;
}

net::Status Run(const ReplayOptions& options, std::vector<Source>* sources, Recorder* recorder,
                Engine* engine, pipeline::OfflineEngine* datapath) {
  std::ofstream events_file;
  if (!options.events_file.empty() && options.events_file != "-") {
    events_file.open(options.events_file);
    if (!events_file) return net::Error{options.events_file + ": cannot write"};
  }
  std::ostream& events = options.events_file == "-" ? std::cout : events_file;
  uint64_t number = 0;
  while (true) {
    auto next = NextSource(sources);
    if (!next) return net::Error{next.error()};
    Source* source = *next;
    if (source == nullptr) break;
    source->ready = false;
    // A capture may step back in time; the datapath's clock doesn't.
    const net::Time now = std::max(source->reader->time(), datapath->Now());
    datapath->AdvanceTo(now);
    recorder->Begin(++number, source->reader->time(), source->name);
    if (source->host) {
      datapath->InjectHost(source->port, source->reader->frame(), now);
    } else {
      datapath->Inject(source->port, source->reader->frame(), now);
    }
    if (!options.events_file.empty()) {
      events << ToJson(recorder->event(), *engine->rule_set()) << '\n';
    }
  }
  if (options.settle_seconds > 0) {
    datapath->AdvanceTo(datapath->Now() + static_cast<net::Time>(options.settle_seconds * 1e9));
  }
  events.flush();
  if (!events) return net::Error{options.events_file + ": cannot write"};
  return recorder->Close();
}

}  // namespace

net::Result<ReplayInput> ParseReplayInput(const std::string& text) {
  const size_t equals = text.find('=');
  ReplayInput input;
  input.port = text.substr(0, equals);
  constexpr std::string_view kHost = "host:";
  if (input.port.rfind(kHost, 0) == 0) {
    input.host = true;
    input.port.erase(0, kHost.size());
  }
  if (equals == std::string::npos || input.port.empty() || equals + 1 == text.size()) {
    return net::Error{"--in wants PORT=FILE, not '" + text + "'"};
  }
  input.file = text.substr(equals + 1);
  return input;
}

net::Status Replay(const ReplayOptions& options) {
  std::vector<std::string> errors;
  auto config = LoadConfig(options.config, &errors);
  if (!config) return net::Error{Join(errors)};
  auto model = LoadRules(*config, &errors);
  if (!model) return net::Error{Join(errors)};
  auto sources = OpenSources(options, *config);
  if (!sources) return net::Error{sources.error()};
  if (!options.out_folder.empty()) {
    std::error_code failed;
    std::filesystem::create_directories(options.out_folder, failed);
    if (failed) return net::Error{options.out_folder + ": " + failed.message()};
  }

  if (!options.limit_icmp_errors) config->sysctls.icmp_ratelimit = 0;
  Recorder recorder(options, config->PortNames());
  pipeline::OfflineEngine datapath(DatapathOptions(options, *config), &recorder, &recorder,
                                   &recorder);
  Engine::Options engine_options;
  engine_options.fast_path = options.fast_path;
  engine_options.hash_seed = options.seed;
  Engine engine(*config, &datapath, std::move(engine_options));
  engine.Start(std::move(*model));
  net::Status done = Run(options, &*sources, &recorder, &engine, &datapath);
  if (done.ok()) PrintResults(options, &engine, &datapath);
  return done;
}

}  // namespace postern::control

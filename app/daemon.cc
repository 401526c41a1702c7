#include "app/daemon.h"

#include <fmt/format.h>
#include <grp.h>
#include <spdlog/spdlog.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>

#include <chrono>
#include <csignal>
#include <ctime>
#include <random>
#include <sstream>
#include <utility>

#include "app/privileges.h"
#include "app/runtime_options.h"
#include "control/metrics.h"
#include "dataplane/dpdk/rte_fib_adapter.h"

namespace postern::app {
namespace {

using std::chrono::milliseconds;

constexpr size_t kSpareRoutes = 512;
constexpr milliseconds kDrainInterval{5};
constexpr milliseconds kWatchInterval{1000};
// The census walks the whole table: once for scrapes that come close together.
constexpr std::chrono::seconds kCensusAge{5};

uint64_t RandomSeed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

void LogFromDataplane(dpdk::LogLevel level, const std::string& message) {
  switch (level) {
    case dpdk::LogLevel::kInfo:
      spdlog::info("{}", message);
      break;
    case dpdk::LogLevel::kWarning:
      spdlog::warn("{}", message);
      break;
    case dpdk::LogLevel::kError:
      spdlog::error("{}", message);
      break;
  }
}

void LogLines(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) spdlog::error("{}", line);
}

// sd_notify(3) wants the time with RELOADING=1.
void NotifyReloading() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const uint64_t micro =
      static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
  sd_notify(0, fmt::format("RELOADING=1\nMONOTONIC_USEC={}", micro).c_str());
}

}  // namespace

Daemon::Daemon(control::Config config, rules::Model model)
    : config_(std::move(config)),
      model_(std::move(model)),
      signals_(context_, SIGTERM, SIGINT, SIGHUP),
      drain_timer_(context_),
      watch_timer_(context_),
      hub_([this](bool wants) {
        if (runtime_) runtime_->SetWantsConnections(wants);
      }) {
  signals_.add(SIGUSR1);
}

Daemon::~Daemon() { Stop(); }

net::Status Daemon::Start() {
  if (net::Status status = StartLog(); !status) return status;
  server_ = std::make_unique<control::Server>(
      &context_, [this](const control::CommandIo& io) { return dispatcher_->Start(io); });
  if (net::Status status = server_->Open(config_.system.control_socket); !status) return status;
  if (getgrnam("postern") == nullptr) {
    spdlog::info("there is no group postern: only root may use the control socket");
  }
  if (net::Status status = StartDataplane(); !status) return status;
  dispatcher_ =
      std::make_unique<control::Dispatcher>(engine_.get(), &hub_, [this] { return Reload(); });
  if (const net::Status status = DropCapabilities(); !status) {
    spdlog::warn("{}", status.error());
  }
  return StartMetrics();
}

net::Status Daemon::StartLog() {
  log_ = std::make_unique<control::LogWriter>(config_.log, config_.PortNames());
  const net::Status status = log_->Open();
  if (status) return {};
  if (!config_.log.rules_file.empty()) return status;
  spdlog::warn("LOG lines are lost until it is there: {}", status.error());
  return {};
}

net::Status Daemon::StartDataplane() {
  dpdk::RuntimeConfig options = MakeRuntimeConfig(config_, RandomSeed());
  options.log = &LogFromDataplane;
  auto started = dpdk::Runtime::Start(options);
  if (!started) return net::Error{started.error()};
  runtime_ = std::move(*started);

  control::Engine::Options engine;
  for (size_t i = 0; i < config_.ports.size(); ++i) {
    const auto port = static_cast<net::PortId>(i);
    engine.macs.push_back({runtime_->PortMac(port), runtime_->HostMac(port)});
  }
  engine.warn = [](const std::string& warning) { spdlog::warn("{}", warning); };
  engine.conntrack_capacity = options.conntrack_capacity;
  engine.hash_seed = RandomSeed();
  // Twice the routes of the configuration: addresses, subnets and broadcasts come on top.
  engine.make_fib = [routes = config_.routes.size()] {
    return dpdk::MakeRteFib(static_cast<uint32_t>(2 * routes + kSpareRoutes));
  };
  engine_ = std::make_unique<control::Engine>(config_, runtime_.get(), std::move(engine));
  engine_->Start(std::move(model_));
  return {};
}

net::Status Daemon::StartMetrics() {
  if (config_.system.metrics.empty()) return {};
  auto census = std::make_shared<control::Census>();
  auto taken = std::make_shared<std::chrono::steady_clock::time_point>();
  const auto gather = [this, census, taken] {
    const auto now = std::chrono::steady_clock::now();
    if (now - *taken > kCensusAge) {
      *census = control::TakeCensus(runtime_.get());
      *taken = now;
    }
    control::MetricsReport report = control::GatherMetrics(engine_.get());
    report.census = *census;
    report.clients = server_->sessions();
    report.log_lines = log_->written();
    report.log_lines_lost = log_->lost();
    return control::MakeMetrics(report);
  };
  auto started = control::MetricsServer::Start(config_.system.metrics, &context_, gather);
  if (!started) return net::Error{started.error()};
  metrics_ = std::move(*started);
  spdlog::info("metrics on http://{}/metrics", metrics_->address());
  return {};
}

void Daemon::Run() {
  AwaitSignal();
  Drain();
  Watch();
  sd_notify(0, "READY=1");
  spdlog::info("ready: {} ports, {} workers, control socket {}", config_.ports.size(),
               config_.dataplane.workers.size(), config_.system.control_socket);
  context_.run();
  Stop();
}

void Daemon::AwaitSignal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    if (signal == SIGHUP || signal == SIGUSR1) {
      signal == SIGHUP ? OnReload() : ReopenLog();
      AwaitSignal();
      return;
    }
    spdlog::info("stopping");
    sd_notify(0, "STOPPING=1");
    context_.stop();
  });
}

void Daemon::OnReload() {
  NotifyReloading();
  if (const net::Status status = Reload(); status) {
    spdlog::info("reloaded: rule set generation {}", engine_->generation());
  } else {
    LogLines(status.error());
    spdlog::error("the reload failed: nothing has changed");
    ReopenLog();
  }
  sd_notify(0, "READY=1");
}

// logrotate has moved the file. Not a reload: that would put the rules of the files in force again,
// and undo what has been changed since.
void Daemon::ReopenLog() {
  if (const net::Status reopened = log_->Reopen(); !reopened) LogLines(reopened.error());
}

net::Status Daemon::Reload() {
  if (net::Status status = engine_->Reload(); !status) return status;
  const control::Config& config = engine_->config();
  const net::Status status = log_->Configure(config.log, config.PortNames());
  if (!status) LogLines(status.error());
  return {};
}

void Daemon::Drain() {
  const dpdk::EventHandlers handlers{
      [this](const pipeline::LogRecord& record) { log_->Write(record); },
      [this](const pipeline::ConnRecord& record) { hub_.Publish(record); }};
  runtime_->DrainEvents(handlers);
  hub_.NoteLost(runtime_->ConnectionEventsLost());
  drain_timer_.expires_after(kDrainInterval);
  drain_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) Drain();
  });
}

// What changes slowly: links, and what keeps going wrong.
void Daemon::Watch() {
  control::TroubleLog::Counts counts{};
  for (const dpdk::Trouble& trouble : runtime_->Troubles()) {
    counts[static_cast<size_t>(trouble.reason)] = trouble.count;
  }
  troubles_.Report(counts, runtime_->Now(), [this](const std::string& sentence) {
    log_->WriteText(LOG_WARNING, sentence);
    spdlog::warn("{}", sentence);
  });
  const auto ports = runtime_->Ports();
  links_.resize(ports.size(), true);
  for (size_t i = 0; i < ports.size(); ++i) {
    if (ports[i].link_up == links_[i]) continue;
    links_[i] = ports[i].link_up;
    spdlog::log(links_[i] ? spdlog::level::info : spdlog::level::warn, "port {}: link {}",
                ports[i].name, links_[i] ? "up" : "down");
  }
  if (log_->lost() != log_lost_) {
    spdlog::warn("{} LOG lines are lost: syslog or the log file doesn't take them",
                 log_->lost() - log_lost_);
    log_lost_ = log_->lost();
  }
  watch_timer_.expires_after(kWatchInterval);
  watch_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) Watch();
  });
}

void Daemon::Stop() {
  metrics_.reset();
  if (server_) server_->Close();
  if (!runtime_) return;
  runtime_->Stop();
  const dpdk::EventHandlers handlers{
      [this](const pipeline::LogRecord& record) { log_->Write(record); }, nullptr};
  while (runtime_->DrainEvents(handlers) > 0) {
  }
  // Sessions hold commands, which hold the engine.
  server_.reset();
  context_.stop();
}

}  // namespace postern::app

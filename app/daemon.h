// posternd, wired together: configuration, data plane, engine, control socket, logs, metrics.
//
// Life-cycle: the control socket is bound first (a second daemon of the same configuration stops
// there, before it touches a port), then the ports come up, the first rule set is published, and
// only then packets flow, clients are answered and systemd is told. Run() returns after SIGTERM or
// SIGINT, with everything closed in the opposite order.
//
// Threads: the control thread, which is the main thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>
#include <vector>

#include "control/config.h"
#include "control/conntrack_events.h"
#include "control/dispatcher.h"
#include "control/engine.h"
#include "control/log_writer.h"
#include "control/metrics_server.h"
#include "control/server.h"
#include "dataplane/dpdk/runtime.h"

namespace postern::app {

class Daemon {
 public:
  Daemon(control::Config config, rules::Model model);
  ~Daemon();

  // Everything up to the first packet. The error is a sentence.
  net::Status Start();
  // Until a signal ends it.
  void Run();

 private:
  net::Status StartLog();
  net::Status StartDataplane();
  net::Status StartMetrics();
  void AwaitSignal();
  void OnReload();
  void ReopenLog();
  net::Status Reload();
  void Drain();
  void Watch();
  void Stop();

  const control::Config config_;
  rules::Model model_;
  boost::asio::io_context context_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer drain_timer_;
  boost::asio::steady_timer watch_timer_;
  std::unique_ptr<control::LogWriter> log_;
  control::TroubleLog troubles_;
  control::ConntrackHub hub_;
  std::unique_ptr<dpdk::Runtime> runtime_;  // outlives the engine, which publishes on it
  std::unique_ptr<control::Engine> engine_;
  std::unique_ptr<control::Dispatcher> dispatcher_;
  std::unique_ptr<control::Server> server_;
  std::unique_ptr<control::MetricsServer> metrics_;
  std::vector<bool> links_;  // by port, as last told
  uint64_t log_lost_ = 0;
};

}  // namespace postern::app

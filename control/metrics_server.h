// Serves /metrics with prometheus-cpp.
//
// Threads: the exposer's threads ask the control thread at each scrape (a task posted to its loop)
// and wait for the answer, at most some seconds; nothing is shared but that answer.
#pragma once

#include <prometheus/metric_family.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/net/result.h"

namespace postern::control {

class MetricsServer {
 public:
  // Runs on the control thread.
  using Gather = std::function<std::vector<prometheus::MetricFamily>()>;

  // `address` as in system.metrics. The error is a sentence.
  static net::Result<std::unique_ptr<MetricsServer>> Start(const std::string& address,
                                                           boost::asio::io_context* context,
                                                           Gather gather);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // With the port that was got: "127.0.0.1:9797".
  const std::string& address() const;

 private:
  struct Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::control

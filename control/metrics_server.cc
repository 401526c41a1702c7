#include "control/metrics_server.h"

#include <fmt/format.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <chrono>
#include <exception>
#include <future>
#include <utility>

namespace postern::control {
namespace {

using Metrics = std::vector<prometheus::MetricFamily>;

class Collector : public prometheus::Collectable {
 public:
  Collector(boost::asio::io_context* context, MetricsServer::Gather gather)
      : context_(context), gather_(std::make_shared<MetricsServer::Gather>(std::move(gather))) {}

  Metrics Collect() const override {
    if (closed_) return {};
    auto answer = std::make_shared<std::promise<Metrics>>();
    std::future<Metrics> future = answer->get_future();
    boost::asio::post(*context_, [answer, gather = gather_] { answer->set_value((*gather)()); });
    // A control thread that is busy for longer than a scrape's usual timeout gives an empty page.
    if (future.wait_for(std::chrono::seconds(8)) != std::future_status::ready) return {};
    return future.get();
  }

  void Close() { closed_ = true; }

 private:
  boost::asio::io_context* context_;
  std::shared_ptr<MetricsServer::Gather> gather_;
  std::atomic<bool> closed_{false};
};

}  // namespace

struct MetricsServer::Impl {
  std::string address;
  std::shared_ptr<Collector> collector;
  std::unique_ptr<prometheus::Exposer> exposer;
};

MetricsServer::MetricsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

MetricsServer::~MetricsServer() {
  impl_->collector->Close();
  impl_->exposer.reset();
}

const std::string& MetricsServer::address() const { return impl_->address; }

net::Result<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& address,
                                                                 boost::asio::io_context* context,
                                                                 Gather gather) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  auto impl = std::make_unique<Impl>();
  try {
    impl->exposer = std::make_unique<prometheus::Exposer>(host + address.substr(colon), 2);
  } catch (const std::exception&) {
    return net::Error{fmt::format("system.metrics: can't listen on {}", address)};
  }
  const std::vector<int> ports = impl->exposer->GetListeningPorts();
  impl->address = fmt::format("{}:{}", host, ports.empty() ? 0 : ports[0]);
  impl->collector = std::make_shared<Collector>(context, std::move(gather));
  impl->exposer->RegisterCollectable(impl->collector);
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(impl)));
}

}  // namespace postern::control

#include "perf/bench.h"

#include <fstream>

#include "dataplane/dpdk/eal.h"

namespace postern::perf {

net::Status StartDpdk(const BenchOptions& options, uint32_t connections) {
  dpdk::RuntimeConfig config;
  config.workers = {options.cpus.front()};
  config.main_core = options.cpus.front();
  config.hugepages = false;
  config.conntrack_capacity = connections;
  return dpdk::StartEal(config);
}

net::Status WriteJson(const BenchOptions& options, const std::string& text) {
  if (options.json.empty()) return {};
  std::ofstream file(options.json);
  file << text << '\n';
  return file.flush() ? net::Status{} : net::Error{options.json + ": cannot be written"};
}

}  // namespace postern::perf

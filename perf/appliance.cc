#include "perf/appliance.h"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <utility>

#include "control/conntrack_command.h"
#include "control/rule_files.h"
#include "dataplane/dpdk/rte_fib_adapter.h"

namespace postern::perf {
namespace {

constexpr uint32_t kMbufs = 16384;
constexpr uint32_t kRoutes = 256;
constexpr uint64_t kSeed = 9693;

// wan0's IPv6 address is Ipv6Of(kWanAddress), so that answers to what was translated find it.
constexpr char kConfiguration[] = R"(
dataplane: {{ hugepages = false; memory_mb = 512; mbufs = {mbufs}; }};
ports: (
  {{ name = "wan0"; device = "net_null0,no-rx=1"; mac = "02:00:00:00:00:01"; host = false;
    addresses = [ "203.0.113.2/24", "2001:2::cb00:cb00:7102/96" ]; }},
  {{ name = "lan0"; device = "net_null1,no-rx=1"; mac = "02:00:00:00:00:02"; host = false;
    addresses = [ "192.0.2.1/24", "2001:db8:2::1/64" ]; }}
);
routes: (
  {{ prefix = "0.0.0.0/0"; via = "203.0.113.1"; }},
  {{ prefix = "198.18.0.0/16"; via = "192.0.2.2"; }},
  {{ prefix = "::/0"; via = "2001:2::cb00:cb00:7101"; }},
  {{ prefix = "2001:2::c612:0:0/96"; via = "2001:db8:2::2"; }}
);
neighbors: (
  {{ address = "203.0.113.1"; mac = "02:00:00:00:00:11"; port = "wan0"; }},
  {{ address = "192.0.2.2"; mac = "02:00:00:00:00:12"; port = "lan0"; }},
  {{ address = "2001:2::cb00:cb00:7101"; mac = "02:00:00:00:00:11"; port = "wan0"; }},
  {{ address = "2001:db8:2::2"; mac = "02:00:00:00:00:12"; port = "lan0"; }}
);
conntrack: {{ nf_conntrack_max = {max}; nf_conntrack_udp_timeout = {udp};
  nf_conntrack_udp_timeout_stream = {udp}; nf_conntrack_tcp_timeout_fin_wait = {closing};
  nf_conntrack_tcp_timeout_last_ack = {closing}; nf_conntrack_tcp_timeout_time_wait = {closing};
  nf_conntrack_tcp_timeout_close_wait = {closing}; nf_conntrack_tcp_timeout_close = {closing}; }};
rules: {{ ipv4 = "rules.v4"; ipv6 = "rules.v6"; }};
)";

net::Error First(const std::vector<std::string>& errors) {
  return {errors.empty() ? "it doesn't say why" : errors.front()};
}

net::Status Write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  return file.flush() ? net::Status{} : net::Error{path.string() + ": cannot be written"};
}

}  // namespace

Appliance::~Appliance() {
  if (runtime_) runtime_->Stop();
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

net::Result<std::unique_ptr<Appliance>> Appliance::Start(const Options& options) {
  std::unique_ptr<Appliance> appliance(new Appliance(options));
  if (net::Status status = appliance->Configure(); !status) return net::Error{status.error()};
  return appliance;
}

net::Status Appliance::Configure() {
  std::string name = (std::filesystem::temp_directory_path() / "postern-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) return net::Error{name + ": cannot be made"};
  folder_ = name;
  const std::string text =
      fmt::format(kConfiguration, fmt::arg("mbufs", kMbufs), fmt::arg("max", options_.connections),
                  fmt::arg("udp", options_.udp_timeout), fmt::arg("closing", options_.tcp_closing));
  if (net::Status status = Write(folder_ / "postern.conf", text); !status) return status;
  if (net::Status status = WriteRules(0); !status) return status;
  std::vector<std::string> errors;
  auto config = control::LoadConfig((folder_ / "postern.conf").string(), &errors);
  if (!config) return First(errors);
  config_ = std::move(*config);
  return StartRuntime();
}

net::Status Appliance::WriteRules(unsigned variant) const {
  net::Status status =
      Write(folder_ / "rules.v4", EdgeRules(options_.rules, options_.nat, variant));
  return status ? Write(folder_ / "rules.v6", EdgeRules6(options_.rules, options_.nat)) : status;
}

net::Status Appliance::StartRuntime() {
  dpdk::RuntimeConfig runtime;
  runtime.workers = options_.cpus;
  runtime.main_core = options_.main_cpu;
  runtime.hugepages = false;
  runtime.memory_mb = config_.dataplane.memory_mb;
  runtime.mbufs = config_.dataplane.mbufs;
  runtime.idle = dpdk::IdlePolicy::kPoll;
  for (const control::PortSettings& settings : config_.ports) {
    dpdk::PortSettings port;
    port.name = settings.name;
    port.device = settings.device;
    port.mac = settings.mac;
    port.host = false;
    runtime.ports.push_back(std::move(port));
  }
  runtime.conntrack_capacity = options_.connections;
  runtime.seed = kSeed;
  auto started = dpdk::Runtime::Start(runtime);
  if (!started) return net::Error{started.error()};
  runtime_ = std::move(*started);

  control::Engine::Options engine;
  for (net::PortId port = 0; port < config_.ports.size(); ++port) {
    engine.macs.push_back({runtime_->PortMac(port), runtime_->HostMac(port)});
  }
  engine.conntrack_capacity = options_.connections;
  engine.hash_seed = kSeed;
  engine.make_fib = [] { return dpdk::MakeRteFib(kRoutes); };
  engine.fast_path = options_.fast_path;
  engine_ = std::make_unique<control::Engine>(config_, runtime_.get(), std::move(engine));
  return {};
}

net::Status Appliance::Begin() {
  std::vector<std::string> errors;
  auto model = control::LoadRules(config_, &errors);
  if (!model) return First(errors);
  engine_->Start(std::move(*model));
  return {};
}

net::Status Appliance::Reload(unsigned variant) {
  if (net::Status status = WriteRules(variant); !status) return status;
  return engine_->Reload();
}

net::Status Appliance::SetUdpTimeout(uint32_t seconds) {
  control::Sysctls sysctls = engine_->sysctls();
  sysctls.conntrack.udp_timeout = seconds;
  sysctls.conntrack.udp_timeout_stream = seconds;
  return engine_->SetSysctls(sysctls);
}

Appliance::CommandResult Appliance::Conntrack(const std::vector<std::string>& arguments) {
  CommandResult result;
  control::CommandIo io;
  io.program = "conntrack";
  io.arguments = arguments;
  io.out = [&result](std::string_view text) {
    result.bytes += text.size();
    return true;
  };
  io.error = [&result](std::string_view text) {
    result.error += text;
    return true;
  };
  const auto command = control::MakeConntrackCommand(io, &engine_->dataplane(), nullptr);
  std::optional<int> status;
  while (!(status = command->Step(io))) {
  }
  result.status = *status;
  return result;
}

}  // namespace postern::perf

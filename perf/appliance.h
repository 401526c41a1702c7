// A whole data plane as the daemon runs it (dpdk::Runtime, control::Engine), with workers of its
// own on their CPUs, and two in-memory ports. What the ports receive and what becomes of what
// they send is the affair of perf/memory_ports.
//
// Life-cycle: one a process (DPDK starts once). No packet is received before Begin().
// Threads: the control thread's.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "control/engine.h"
#include "dataplane/dpdk/runtime.h"
#include "dataplane/net/result.h"
#include "perf/rule_texts.h"

namespace postern::perf {

class Appliance {
 public:
  struct Options {
    std::vector<unsigned> cpus;  // of the workers
    unsigned main_cpu = 0;
    uint32_t connections = 0;  // nf_conntrack_max
    unsigned rules = 10;
    Nat nat = Nat::kNone;
    bool fast_path = true;
    uint32_t udp_timeout = 600;  // seconds; of streams, too
    uint32_t tcp_closing = 120;  // seconds; FIN_WAIT to CLOSE
  };
  static net::Result<std::unique_ptr<Appliance>> Start(const Options& options);

  ~Appliance();

  // Publishes the rules: packets flow.
  net::Status Begin();
  // Writes the rule files anew, with `variant` as of EdgeRules, and reloads as SIGHUP would.
  net::Status Reload(unsigned variant);
  // In force from the next packet of a connection on.
  net::Status SetUdpTimeout(uint32_t seconds);
  // `conntrack` with these arguments, to its end. Its exit status; what it prints is counted.
  struct CommandResult {
    int status = 0;
    uint64_t bytes = 0;
    std::string error;
  };
  CommandResult Conntrack(const std::vector<std::string>& arguments);

  dpdk::Runtime& runtime() { return *runtime_; }

 private:
  explicit Appliance(const Options& options) : options_(options) {}
  net::Status Configure();
  net::Status StartRuntime();
  net::Status WriteRules(unsigned variant) const;

  const Options options_;
  std::filesystem::path folder_;
  control::Config config_;
  std::unique_ptr<dpdk::Runtime> runtime_;
  std::unique_ptr<control::Engine> engine_;
};

}  // namespace postern::perf

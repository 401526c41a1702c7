// The configuration file of arbitrary text: a configuration or errors, never both or neither, each
// error with its place; and what is taken makes ports and routes.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "control/config.h"
#include "control/snapshot_builder.h"
#include "tests/fuzz/words.h"

namespace {

using namespace postern;

void Require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::string_view kWords[] = {"system: {",
                                       "dataplane: {",
                                       "ports: (",
                                       "routes: (",
                                       "neighbors: (",
                                       "conntrack: {",
                                       "nat: {",
                                       "rules: {",
                                       "log: {",
                                       "{",
                                       "}",
                                       "(",
                                       ")",
                                       "[",
                                       "]",
                                       "};",
                                       ");",
                                       "],",
                                       "= 0;",
                                       "= -1;",
                                       "= 4294967296;",
                                       "= 0x10;",
                                       "= 1.5;",
                                       "= true;",
                                       "= \"\";",
                                       "= [ ];",
                                       "= ( );",
                                       "= { };",
                                       "control_socket",
                                       "metrics",
                                       "state_dir",
                                       "workers",
                                       "main_core",
                                       "hugepages",
                                       "memory_mb",
                                       "mbufs",
                                       "rx_descriptors",
                                       "tx_descriptors",
                                       "burst",
                                       "eal_args",
                                       "idle = \"sleep\";",
                                       "name",
                                       "device",
                                       "addresses",
                                       "mtu",
                                       "mac",
                                       "host",
                                       "prefix",
                                       "via",
                                       "address",
                                       "port",
                                       "helpers",
                                       "nf_conntrack_max",
                                       "nf_conntrack_tcp_loose",
                                       "nf_conntrack_frag6_low_thresh",
                                       "port_preservation = \"strict\";",
                                       "ipv4",
                                       "ipv6",
                                       "ipset",
                                       "rules_file",
                                       "facility",
                                       "\"203.0.113.2/24\"",
                                       "\"2001:db8:1::2/64\"",
                                       "\"0.0.0.0/0\"",
                                       "\"::/0\"",
                                       "\"192.168.1.1/24\"",
                                       "\"02:00:00:00:00:01\"",
                                       "\"wan0\"",
                                       "\"net_tap0\"",
                                       "\"0000:03:00.0\"",
                                       "\"[::1]:0\""};

}  // namespace

// What libconfig's scanner has read of a string is lost where the text goes wrong there, and to
// look for other leaks takes longer than anything else.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  return test::MutateWords(data, size, max_size, seed, kWords, " \n;");
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  // What it includes is a file of the machine.
  if (text.find("@include") != std::string::npos) return 0;
  if (text.find("sysctl_files") != std::string::npos) return 0;
  std::vector<std::string> errors;
  const auto config = control::ParseConfig(text, "fuzz.conf", &errors);
  Require(config.has_value() == errors.empty());
  for (const std::string& error : errors) Require(error.starts_with("fuzz.conf:"));
  if (!config) return 0;
  const auto ports = control::MakePortConfigs(*config, {});
  Require(ports.size() == config->ports.size());
  const route::RouteTable routes(ports, config->routes, route::MakeTrieFib(), 1);
  return 0;
}

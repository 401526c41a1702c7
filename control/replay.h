// `postern replay`: captures through the datapath's own code, offline.
#pragma once

#include <string>
#include <vector>

#include "dataplane/net/result.h"
#include "dataplane/pipeline/offline.h"

namespace postern::control {

struct ReplayInput {
  std::string port;   // name in the configuration
  bool host = false;  // frames that the appliance's own kernel sends on the port's twin
  std::string file;   // capture
};

struct ReplayOptions {
  std::string config;
  std::vector<ReplayInput> inputs;
  std::string out_folder;   // PORT.pcap and host-PORT.pcap are written there
  std::string events_file;  // "": none; "-": standard output
  bool conntrack = false;   // print the final table as conntrack -L
  bool counters = false;    // print the rules as iptables-save -c, IPv4 then IPv6
  unsigned workers = 0;     // 0: as many as the configuration names
  pipeline::Arrival arrival = pipeline::Arrival::kRss;
  bool fast_path = true;
  bool limit_icmp_errors = true;  // false: as net.ipv4.icmp_ratelimit = 0
  uint64_t seed = 1;
  double settle_seconds = 0;  // time that passes after the last packet
};

// "PORT=FILE" or "host:PORT=FILE".
net::Result<ReplayInput> ParseReplayInput(const std::string& text);

// Merges the captures by timestamp (ties in the order of the options), drives the pipeline with
// their clock and writes what came out; what --conntrack and --counters ask for goes to standard
// output. Needs no daemon and no root. The error is ready to print.
net::Status Replay(const ReplayOptions& options);

}  // namespace postern::control

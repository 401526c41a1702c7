// Command lines as the control socket hands them to the daemon: iptables and its kin, conntrack,
// sysctl's values and status, on a firewall that carries packets.
//
// A line of the input is a command, its words are separated by blanks; lines that begin with '<'
// are standard input of the command after them. A command ends with a status, whatever it is given,
// and what iptables-save prints in the end is a file that iptables-restore takes and prints again.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/dispatcher.h"
#include "control/engine.h"
#include "dataplane/pipeline/offline.h"
#include "tests/fuzz/words.h"
#include "tests/support/sample_frames.h"

namespace {

using namespace postern;

constexpr std::string_view kConfig =
    "ports: ({ name = \"wan0\"; device = \"net_tap0\"; addresses = [ \"198.51.100.1/24\", "
    "\"2001:db8:1::1/64\" ]; },\n"
    "        { name = \"lan0\"; device = \"net_tap1\"; addresses = [ \"192.0.2.254/24\", "
    "\"2001:db8::254/64\" ]; });\n"
    "rules: { ipv4 = \"rules.v4\"; };\n"
    "conntrack: { nf_conntrack_max = 16; };\n";

constexpr std::string_view kWords[] = {
    // clang-format off
    "iptables", "ip6tables", "iptables-save", "ip6tables-save", "iptables-restore", "conntrack",
    "status", "sysctl-values", "\niptables", "\nip6tables", "\nconntrack", "\n<", "-t", "filter",
    "nat", "mangle", "raw", "-A", "-I", "-D", "-R", "-C", "-L", "-S", "-F", "-Z", "-N", "-X", "-P",
    "-E", "-n", "-v", "-x", "--line-numbers", "-c", "1", "2", "0", "4294967296", "INPUT", "FORWARD",
    "OUTPUT", "PREROUTING", "POSTROUTING", "one", "two", "!", "-s", "-d", "-i", "-o", "-p", "-j",
    "-g", "-m", "tcp", "udp", "icmp", "ipv6-icmp", "sctp", "all", "multiport", "conntrack", "state",
    "comment", "mark", "limit", "recent", "connlimit", "ACCEPT", "DROP", "RETURN", "REJECT", "LOG",
    "MARK", "SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NOTRACK", "CT", "--dport", "--sport",
    "--dports", "--ports", "22,80:90", "1024:65535", "--syn", "--tcp-flags", "SYN,ACK", "ALL",
    "--tcp-option", "--icmp-type", "--icmpv6-type", "echo-request", "3/4", "--ctstate", "--state",
    "NEW,ESTABLISHED", "RELATED", "INVALID,UNTRACKED", "--ctstatus", "--ctdir", "REPLY",
    "--ctproto", "--ctorigsrc", "--ctrepldstport", "--ctexpire", "--comment", "\"a b\"", "--mark",
    "0x1/0xff", "--set-mark", "--set-xmark", "--limit", "5/second", "--limit-burst", "--name",
    "SSH", "--set", "--update", "--rcheck", "--remove", "--seconds", "60", "--hitcount", "--rttl",
    "--rdest", "--reap", "--mask", "255.255.0.0", "--connlimit-above", "--connlimit-upto",
    "--connlimit-mask", "--connlimit-daddr", "--reject-with", "tcp-reset", "icmp-port-unreachable",
    "--log-prefix", "--log-level", "--log-ip-options", "--to-source", "--to-destination",
    "192.0.2.1-192.0.2.9:1-2", "[2001:db8::1]:80", "--to-ports", "--random", "--persistent",
    "--notrack", "192.0.2.0/24", "198.51.100.2", "2001:db8::/32", "0.0.0.0/0", "lan+", "wan0", "lo",
    "-w", "--wait", "-G", "-U", "-E", "-o", "extended,id", "xml", "save", "--orig-src", "-q", "-r",
    "--dst-nat", "--state", "TIME_WAIT", "-u", "ASSURED", "--status", "--timeout", "120", "-f",
    "ipv6", "<*filter", "<:INPUT ACCEPT [0:0]", "<-A INPUT -j ACCEPT", "<COMMIT", "--noflush",
    "net.netfilter.nf_conntrack_max", "net/netfilter/nf_conntrack_max", "--json",
    // clang-format on
};

class Machine final : public pipeline::OfflineOutput,
                      public pipeline::EventSink,
                      public pipeline::PacketObserver {
 public:
  Machine()
      : datapath_(DatapathOptions(), this, this, this),
        engine_(Configuration(), &datapath_, EngineOptions()),
        dispatcher_(&engine_, &hub_, [] { return net::Status(net::Error{"not here"}); }) {
    rules::Model model;
    model.ipv4.present = {true, true, true, true};
    model.ipv6.present = {true, true, true, true};
    engine_.Start(std::move(model));
    InjectAll();
  }

  struct Answer {
    int status = 0;
    std::string out;
    std::string error;
  };
  Answer Run(std::vector<std::string> words, std::string input) {
    Answer answer;
    control::CommandIo io;
    io.program = words.empty() ? "" : words[0];
    if (!words.empty()) words.erase(words.begin());
    io.arguments = std::move(words);
    io.standard_input = std::move(input);
    io.out = [&](std::string_view text) { return answer.out += text, true; };
    io.error = [&](std::string_view text) { return answer.error += text, true; };
    const auto command = dispatcher_.Start(io);
    for (int steps = 0;; ++steps) {
      const std::optional<int> status = command->Step(io);
      if (status) {
        answer.status = *status;
        break;
      }
      if (command->Waits() && !command->Stop()) break;
      if (steps > 10'000) std::abort();
    }
    InjectAll();
    return answer;
  }

  void OnTransmit(net::PortId, const net::Packet&) override {}
  void OnHost(net::PortId, const net::Packet&) override {}
  void OnLog(const pipeline::LogRecord&) override {}
  bool WantsConnections() const override { return true; }
  void OnConnection(const pipeline::ConnRecord& record) override { hub_.Publish(record); }
  void OnTrouble(net::DropReason, net::Time) override {}
  void OnOutcome(const net::Packet&, const pipeline::Outcome&, const rules::PathBuilder&) override {
  }
  void OnDrop(const net::Packet&, net::DropReason) override {}

 private:
  static pipeline::OfflineEngine::Options DatapathOptions() {
    pipeline::OfflineEngine::Options options;
    options.connections = 64;
    options.promiscuous_ports = 3;
    options.port_names = {"wan0", "lan0"};
    return options;
  }
  static control::Engine::Options EngineOptions() {
    control::Engine::Options options;
    options.conntrack_capacity = 64;
    return options;
  }
  static control::Config Configuration() {
    static const control::Config config = [] {
      std::vector<std::string> errors;
      auto parsed = control::ParseConfig(std::string(kConfig), "fuzz.conf", &errors);
      for (const std::string& error : errors) std::fprintf(stderr, "%s\n", error.c_str());
      if (!parsed) std::abort();
      return *parsed;
    }();
    return config;
  }

  // Every rule is met by packets of every kind.
  void InjectAll() {
    static const std::vector<test::Bytes> kFrames = test::SampleFrames();
    for (size_t i = 0; i < kFrames.size(); i += 3) {
      now_ += net::kMillisecond;
      datapath_.Inject(static_cast<net::PortId>(i % 2), kFrames[i], now_);
    }
  }

  net::Time now_ = 1'000 * net::kSecond;
  control::ConntrackHub hub_{[](bool) {}};
  pipeline::OfflineEngine datapath_;
  control::Engine engine_;
  control::Dispatcher dispatcher_;
};

std::vector<std::string> Words(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const size_t end = std::min(line.find(' '), line.size());
    words.emplace_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

std::string WithoutComments(const std::string& text) {
  std::string rest;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
    if (text[at] != '#') rest.append(text, at, end - at);
    at = end;
  }
  return rest;
}

// Counters go on: the packets after each command are counted.
void RequireSavedFormReadsBack(Machine* machine, const std::string& prefix) {
  const Machine::Answer saved = machine->Run({prefix + "-save"}, "");
  const Machine::Answer restored = machine->Run({prefix + "-restore"}, saved.out);
  const Machine::Answer again = machine->Run({prefix + "-save"}, "");
  const auto bare = [](const std::string& text) {
    std::string result;
    for (std::string_view rest = text; !rest.empty();) {
      const size_t end = std::min(rest.find('\n'), rest.size() - 1) + 1;
      const std::string_view line = rest.substr(0, end);
      result += line.starts_with(':') ? line.substr(0, line.find('[')) : line;
      rest.remove_prefix(end);
    }
    return WithoutComments(result);
  };
  if (saved.status == 0 && restored.status == 0 && bare(saved.out) == bare(again.out)) return;
  std::fprintf(stderr, "%s%s%s", saved.out.c_str(), restored.error.c_str(), again.out.c_str());
  std::abort();
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  return test::MutateWords(data, size, max_size, seed, kWords, " \n");
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Machine machine;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string input;
  for (int commands = 0; !text.empty() && commands < 16;) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with('<')) {
      input.append(line.substr(1)) += '\n';
      continue;
    }
    std::vector<std::string> words = Words(line);
    // These write and read the machine's files.
    if (words.empty() || words[0] == "save" || words[0] == "reload") continue;
    machine.Run(std::move(words), std::exchange(input, ""));
    ++commands;
  }
  RequireSavedFormReadsBack(&machine, "iptables");
  RequireSavedFormReadsBack(&machine, "ip6tables");
  return 0;
}

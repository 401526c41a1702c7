// `postern replay` of an arbitrary file as a capture on two ports: it ends with a sentence or with
// what came out, and frames that are written to a capture read back.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "control/pcap_file.h"
#include "control/replay.h"

namespace {

using namespace postern;
using Frames = std::vector<std::vector<uint8_t>>;

void Require(bool holds) {
  if (!holds) std::abort();
}

// A file that exists in memory only.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content = "") : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
    Require(fd_ >= 0);
    Set(content);
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void Set(std::string_view content) {
    Require(ftruncate(fd_, 0) == 0);
    Require(pwrite(fd_, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

constexpr std::string_view kRules =
    "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    ":POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o wan0 -j MASQUERADE\nCOMMIT\n"
    "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"
    "-A FORWARD -m recent --update --seconds 60 --name seen -j REJECT\n"
    "-A FORWARD -m limit --limit 5/second -j LOG --log-prefix \"in: \"\n"
    "-A FORWARD -m recent --set --name seen -j ACCEPT\nCOMMIT\n";

std::string Configuration(const MemoryFile& rules) {
  return "ports: ({ name = \"wan0\"; device = \"net_tap0\"; addresses = [ \"198.51.100.1/24\" ]; "
         "},\n        { name = \"lan0\"; device = \"net_tap1\"; addresses = [ \"192.0.2.254/24\" "
         "]; });\n"
         "routes: ({ prefix = \"0.0.0.0/0\"; via = \"198.51.100.254\"; });\n"
         "conntrack: { nf_conntrack_max = 16; };\n"
         "rules: { ipv4 = \"" +
         rules.path() + "\"; };\n";
}

// The frames of a capture up to its end or to where it is damaged.
Frames Read(const std::string& file, std::vector<net::Time>* times) {
  Frames frames;
  auto reader = control::PcapReader::Open(file);
  if (!reader) {
    Require(!reader.error().empty());
    return frames;
  }
  std::string error;
  while ((*reader)->Next(&error)) {
    const auto frame = (*reader)->frame();
    frames.emplace_back(frame.begin(), frame.end());
    times->push_back((*reader)->time());
  }
  return frames;
}

void RequireCopyReadsBack(const Frames& frames, const std::vector<net::Time>& times) {
  static const MemoryFile kCopy;
  control::PcapWriter writer(kCopy.path());
  for (size_t i = 0; i < frames.size(); ++i) Require(writer.Write(frames[i], times[i]).ok());
  Require(writer.Close().ok());
  std::vector<net::Time> ignored;
  if (!frames.empty()) Require(Read(kCopy.path(), &ignored) == frames);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static MemoryFile capture;
  static const MemoryFile kRuleFile(kRules);
  static const MemoryFile kConfigFile(Configuration(kRuleFile));
  static const MemoryFile kEvents;
  capture.Set({reinterpret_cast<const char*>(data), size});
  std::vector<net::Time> times;
  const Frames frames = Read(capture.path(), &times);
  RequireCopyReadsBack(frames, times);

  control::ReplayOptions options;
  options.config = kConfigFile.path();
  options.inputs = {{"wan0", false, capture.path()},
                    {"lan0", false, capture.path()},
                    {"lan0", true, capture.path()}};
  options.events_file = kEvents.path();
  options.conntrack = true;
  options.counters = true;
  options.settle_seconds = 700;
  std::ostringstream printed;
  std::streambuf* const out = std::cout.rdbuf(printed.rdbuf());
  std::streambuf* const log = std::cerr.rdbuf(nullptr);
  const net::Status done = control::Replay(options);
  std::cout.rdbuf(out);
  std::cerr.rdbuf(log);
  Require(done.ok() || !done.error().empty());
  return 0;
}

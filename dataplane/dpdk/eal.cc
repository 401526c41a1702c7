#include "dataplane/dpdk/eal.h"

#include <fcntl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>

#include "dataplane/dpdk/large_pages.h"

namespace postern::dpdk {
namespace {

// The last lines that DPDK has logged.
class MessageMemory {
 public:
  static constexpr size_t kMaxLines = 64;

  void Append(const char* text, size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < size; ++i) {
      if (text[i] != '\n') {
        line_ += text[i];
        continue;
      }
      if (!line_.empty() && lines_.size() < kMaxLines) lines_.push_back(line_);
      line_.clear();
    }
  }
  std::vector<std::string> Take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(lines_, {});
  }

 private:
  std::mutex mutex_;
  std::string line_;
  std::vector<std::string> lines_;
};

MessageMemory& Messages() {
  static MessageMemory messages;
  return messages;
}

ssize_t WriteMessage(void*, const char* text, size_t size) {
  Messages().Append(text, size);
  return static_cast<ssize_t>(size);
}

// Once a process: DPDK keeps the stream.
void CatchLog() {
  static FILE* stream = [] {
    cookie_io_functions_t functions{};
    functions.write = WriteMessage;
    FILE* file = fopencookie(nullptr, "w", functions);
    if (file != nullptr) setvbuf(file, nullptr, _IOLBF, 512);
    return file;
  }();
  if (stream != nullptr) rte_openlog_stream(stream);
}

// On a bad argument the EAL prints all that it knows of options, for minutes of reading; the reason
// is in its log.
class QuietStandardOutput {
 public:
  QuietStandardOutput() : kept_(dup(STDOUT_FILENO)) {
    std::fflush(stdout);
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere >= 0) {
      dup2(nowhere, STDOUT_FILENO);
      close(nowhere);
    }
  }
  ~QuietStandardOutput() {
    std::fflush(stdout);
    if (kept_ < 0) return;
    dup2(kept_, STDOUT_FILENO);
    close(kept_);
  }
  QuietStandardOutput(const QuietStandardOutput&) = delete;
  QuietStandardOutput& operator=(const QuietStandardOutput&) = delete;

 private:
  int kept_;
};

bool CpuIsUsable(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof(set), &set) != 0) return false;
  return CPU_ISSET(cpu, &set);
}

net::Status CheckCpus(const RuntimeConfig& config) {
  if (!CpuIsUsable(config.main_core)) {
    return net::Error{"main_core: this machine has no usable CPU " +
                      std::to_string(config.main_core)};
  }
  for (unsigned cpu : config.workers) {
    if (!CpuIsUsable(cpu)) {
      return net::Error{"workers: this machine has no usable CPU " + std::to_string(cpu)};
    }
  }
  return {};
}

// False, and said why, when hugepages were asked for but aren't there.
bool ChooseHugepages(const RuntimeConfig& config) {
  if (!config.hugepages) {
    config.Log(LogLevel::kInfo, "using ordinary memory instead of hugepages: slower");
    return false;
  }
  const size_t free_mb = FreeHugepagesMb();
  if (free_mb >= config.memory_mb) return true;
  config.Log(LogLevel::kWarning,
             "only " + std::to_string(free_mb) + " MB of hugepages are free and " +
                 std::to_string(config.memory_mb) +
                 " MB are asked for (memory_mb): using ordinary " + "memory, which is slower");
  return false;
}

// What DPDK is to have. Hugepages are as many as the operator says. Ordinary memory that isn't
// touched costs nothing, so there is enough for everything that is sized by the configuration.
size_t MemoryMb(const RuntimeConfig& config, bool hugepages) {
  if (hugepages) return config.memory_mb;
  constexpr size_t kMegabyte = 1U << 20;
  constexpr size_t kMbufBytes = 700;  // beside the frame
  constexpr size_t kWorkerMb = 16;    // rings, events
  constexpr size_t kRestMb = 256;     // two FIBs while one replaces the other, drivers, gaps
  size_t room = 2048;
  for (const PortSettings& port : config.ports) room = std::max<size_t>(room, port.mtu + 128U);
  const size_t rings = config.workers.size() * kWorkerMb;
  const size_t buffers = config.mbufs * (room + kMbufBytes) / kMegabyte;
  return config.memory_mb + rings + buffers + kRestMb;
}

// No device hands the memory to another process or to hardware.
bool MayReplaceMemory(const RuntimeConfig& config) {
  constexpr const char* kAlone[] = {"net_pcap", "net_af_packet", "net_tap", "net_ring", "net_null"};
  return std::all_of(config.ports.begin(), config.ports.end(), [&](const PortSettings& port) {
    return std::any_of(std::begin(kAlone), std::end(kAlone),
                       [&](const char* kind) { return port.device.starts_with(kind); });
  });
}

}  // namespace

bool IsPciAddress(const std::string& device) {
  const std::string name = DeviceName(device);
  // [domain:]bus:device.function
  std::string shape;
  for (char c : name) {
    if (std::isxdigit(static_cast<unsigned char>(c)) != 0) {
      if (shape.empty() || shape.back() != 'x') shape += 'x';
    } else {
      shape += c;
    }
  }
  return shape == "x:x.x" || shape == "x:x:x.x";
}

std::string DeviceName(const std::string& device) { return device.substr(0, device.find(',')); }

std::string DeviceArgument(const std::string& device, const std::string& key) {
  size_t at = device.find(',');
  while (at != std::string::npos) {
    const size_t end = device.find(',', at + 1);
    const std::string pair = device.substr(at + 1, end == std::string::npos ? end : end - at - 1);
    if (pair.starts_with(key + "=")) return pair.substr(key.size() + 1);
    at = end;
  }
  return "";
}

size_t FreeHugepagesMb() {
  size_t total_kb = 0;
  std::error_code error;
  const std::filesystem::directory_iterator sizes("/sys/kernel/mm/hugepages", error);
  if (error) return 0;
  for (const auto& entry : sizes) {
    const std::string name = entry.path().filename().string();  // hugepages-2048kB
    const size_t dash = name.find('-');
    if (dash == std::string::npos) continue;
    size_t pages = 0;
    std::ifstream(entry.path() / "free_hugepages") >> pages;
    total_kb += pages * std::strtoull(name.c_str() + dash + 1, nullptr, 10);
  }
  return total_kb / 1024;
}

std::vector<std::string> EalArguments(const RuntimeConfig& config, bool hugepages) {
  std::vector<std::string> arguments = {"posternd"};
  std::string lcores = "--lcores=0@";
  lcores += std::to_string(config.main_core);
  for (size_t w = 0; w < config.workers.size(); ++w) {
    lcores.append(",").append(std::to_string(w + 1));
    lcores.append("@").append(std::to_string(config.workers[w]));
  }
  arguments.push_back(lcores);
  arguments.push_back("--main-lcore=0");
  // No file and no socket is left for the next start to trip over, and two daemons don't see each
  // other. DPDK takes --in-memory with hugepages only.
  arguments.push_back(hugepages ? "--in-memory" : "--no-shconf");
  arguments.push_back("--no-telemetry");
  arguments.push_back("--file-prefix=" + (config.file_prefix.empty()
                                              ? "postern-" + std::to_string(getpid())
                                              : config.file_prefix));
  arguments.push_back("--log-level=warning");
  if (!hugepages) arguments.push_back("--no-huge");
  arguments.push_back("-m");
  arguments.push_back(std::to_string(MemoryMb(config, hugepages)));
  bool pci = false;
  for (const PortSettings& port : config.ports) {
    if (!IsPciAddress(port.device)) continue;
    arguments.push_back("-a");
    arguments.push_back(port.device);
    pci = true;
  }
  if (!pci) arguments.push_back("--no-pci");
  arguments.insert(arguments.end(), config.eal_args.begin(), config.eal_args.end());
  return arguments;
}

net::Status StartEal(const RuntimeConfig& config) {
  if (net::Status cpus = CheckCpus(config); !cpus) return cpus;
  const bool hugepages = ChooseHugepages(config);
  CatchLog();
  std::vector<std::string> arguments = EalArguments(config, hugepages);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  TakeEalMessages();
  const QuietStandardOutput quiet;
  if (rte_eal_init(static_cast<int>(arguments.size()), argv.data()) < 0) {
    return net::Error{"DPDK doesn't start: " + std::string(rte_strerror(rte_errno)) + EalReason()};
  }
  if (!hugepages && MayReplaceMemory(config)) UseLargePages();
  return {};
}

void StopEal() { rte_eal_cleanup(); }

std::vector<std::string> TakeEalMessages() { return Messages().Take(); }

std::string EalReason() {
  std::string text;
  for (const std::string& line : TakeEalMessages()) {
    text.append(text.empty() ? " (" : "; ").append(line);
  }
  if (!text.empty()) text.append(")");
  return text;
}

}  // namespace postern::dpdk

// The text of sysctl.conf(5) files and sysctl(8)'s operands: every value that is kept lies within
// its name's limits and reads back, and a name survives both of its spellings.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/sysctl.h"
#include "control/sysctl_command.h"
#include "tests/fuzz/words.h"

namespace {

using namespace postern::control;

void Require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::string_view kWords[] = {"net.netfilter.nf_conntrack_max",
                                       "net/netfilter/nf_conntrack_*",
                                       "net.nf_conntrack_max",
                                       "net.ipv4.ip_forward",
                                       "-net.netfilter.nf_conntrack_helper",
                                       "net.ipv4.conf.all.rp_filter",
                                       "net.netfilter.nf_conntrack_frag6_low_thresh",
                                       "net.netfilter.nf_conntrack_frag6_high_thresh",
                                       "net.netfilter.nf_conntrack_buckets",
                                       "net.ipv4.conf.eth0/100.rp_filter",
                                       "net.*",
                                       "*",
                                       "[a-z]?",
                                       "=",
                                       "= 1",
                                       "=0x10",
                                       "= 010",
                                       "=-1",
                                       "= 4294967296",
                                       "= 18446744073709551616",
                                       "#",
                                       ";",
                                       "-",
                                       "-w",
                                       "-n",
                                       "-N",
                                       "-a",
                                       "-e",
                                       "-q",
                                       "-r",
                                       "--pattern",
                                       "--dry-run",
                                       "--values",
                                       "-b",
                                       "\n"};

// Keeps values as posternd does.
class Access final : public SysctlAccess {
 public:
  std::optional<std::map<std::string, Value>> Values() override {
    std::map<std::string, Value> all;
    for (const SysctlName& name : SysctlNames()) {
      all[SysctlPath(name.name)] = {std::to_string(name.read(sysctls_)), true};
    }
    return all;
  }
  SysctlOutcome Set(const std::string& path, const std::string& value) override {
    const SysctlName* name = FindSysctl(path);
    Require(name != nullptr);
    const auto status = SetSysctl(*name, value, &sysctls_);
    return status.ok() ? SysctlOutcome{} : SysctlOutcome{22, status.error(), ""};
  }

 private:
  Sysctls sysctls_;
};

// Read as a file.
void ReadText(std::string_view text) {
  Sysctls sysctls;
  std::vector<std::string> errors, warnings;
  ReadSysctlText(text, "fuzz", &sysctls, &errors, &warnings);
  for (const std::string& error : errors) Require(error.starts_with("fuzz:"));
  for (const SysctlName& name : SysctlNames()) {
    const uint64_t value = name.read(sysctls);
    Require(value >= name.minimum && value <= name.maximum + 511);  // buckets: rounded to pages
  }
}

// Read as a command line, a line a word. Files are the machine's.
void RunWords(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  std::string written;
  const SysctlIo io{[&](std::string_view t) { written += t; },
                    [&](std::string_view t) { written += t; }};
  SysctlOptions options;
  if (ParseSysctlArguments(words, io, &options)) return;
  if (options.load || options.system) return;
  // The C library's regular expressions multiply what is repeated.
  if (options.pattern && options.pattern->find_first_of("{*+?") != std::string::npos) return;
  Access access;
  PosternSysctlTree tree(&access);
  RunSysctl(words, &tree, io);
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  return postern::test::MutateWords(data, size, max_size, seed, kWords, " \n");
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string line(text.substr(0, text.find('\n')));
  Require(SysctlPath(SysctlDots(SysctlPath(line))) == SysctlPath(line));
  IsUnsupportedSysctl(line);
  ReadText(text);
  RunWords(text);
  return 0;
}

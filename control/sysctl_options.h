// The command line of sysctl(8), as procps 4.0.2 reads it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::control {

// Where the command writes.
struct SysctlIo {
  std::function<void(std::string_view)> out;
  std::function<void(std::string_view)> error;
};

struct SysctlOptions {
  bool all = false;
  bool write = false;
  bool names = false;
  bool print_name = true;
  bool print_newline = true;
  bool ignore = false;
  bool quiet = false;
  bool dry_run = false;
  bool system = false;
  bool load = false;
  std::optional<std::string> file;  // of -pFILE
  std::optional<std::string> pattern;
  std::vector<std::string> words;
};

extern const std::string_view kSysctlUsage;

// Reads `arguments` (without the program's name); the exit status where that was all.
std::optional<int> ParseSysctlArguments(const std::vector<std::string>& arguments,
                                        const SysctlIo& io, SysctlOptions* options);

}  // namespace postern::control

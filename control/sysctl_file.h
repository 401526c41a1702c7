// The syntax of sysctl.conf(5) and of sysctl(8)'s operands, as procps 4.0.2 reads them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::control {

// Both forms of a name: the first separator says which one it is, the other character then stands
// for a separator's own (net/ipv4/conf/eth0.100 is net.ipv4.conf.eth0/100).
std::string SysctlPath(std::string_view name);  // net/ipv4/ip_forward
std::string SysctlDots(std::string_view name);  // net.ipv4.ip_forward

// `*?[` in a path.
bool IsSysctlGlob(std::string_view path);
// As glob(3) matches: no wildcard stands for a '/'.
bool MatchesSysctlGlob(const std::string& pattern, std::string_view path);

// A line that says something. Nothing for comments and lines of less than two characters.
struct SysctlLine {
  std::string name;            // as it was written
  std::string path;            // with slashes; may be a pattern
  std::string value;           // trimmed
  bool valid = true;           // false: there is no '=' in it
  bool exclude = false;        // "-name": patterns leave this path alone
  bool ignore_errors = false;  // "-name = value"
};
// `line` with its end-of-line character, where it has one.
std::optional<SysctlLine> ParseSysctlLine(std::string_view line);

// True where a line of the list names this very path: patterns of the list then leave it to it.
bool NamesSysctlPath(const std::vector<SysctlLine>& lines, std::string_view path);

}  // namespace postern::control

#include "control/sysctl_file.h"

#include <fnmatch.h>

#include <algorithm>

namespace postern::control {
namespace {

constexpr std::string_view kBlank = " \t\r\n\v\f";

std::string_view TrimLeft(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlank);
  return first == std::string_view::npos ? "" : text.substr(first);
}

std::string_view TrimRight(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kBlank) + 1);
}

std::string WithSeparator(std::string_view name, char wanted) {
  std::string result(name);
  const size_t first = result.find_first_of("./");
  if (first == std::string::npos || result[first] == wanted) return result;
  for (char& c : result) {
    if (c == '.') {
      c = '/';
    } else if (c == '/') {
      c = '.';
    }
  }
  return result;
}

}  // namespace

std::string SysctlPath(std::string_view name) { return WithSeparator(name, '/'); }
std::string SysctlDots(std::string_view name) { return WithSeparator(name, '.'); }

bool IsSysctlGlob(std::string_view path) { return path.find_first_of("*?[") != path.npos; }

bool MatchesSysctlGlob(const std::string& pattern, std::string_view path) {
  return fnmatch(pattern.c_str(), std::string(path).c_str(), FNM_PATHNAME | FNM_PERIOD) == 0;
}

std::optional<SysctlLine> ParseSysctlLine(std::string_view line) {
  std::string_view text = TrimLeft(line);
  if (text.size() < 2 || text[0] == '#' || text[0] == ';') return std::nullopt;
  SysctlLine result;
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    result.exclude = text[0] == '-';
    result.valid = result.exclude;
    if (result.exclude) text.remove_prefix(1);
    result.name = TrimRight(text);
  } else {
    result.value = TrimRight(TrimLeft(text.substr(equals + 1)));
    text = text.substr(0, equals);
    result.ignore_errors = text.starts_with('-');
    if (result.ignore_errors) text.remove_prefix(1);
    result.name = TrimRight(text);
  }
  // Where a second '-' leads the name, the path is what follows it.
  const bool second = result.name.starts_with('-');
  result.path = SysctlPath(std::string_view(result.name).substr(second ? 1 : 0));
  return result;
}

bool NamesSysctlPath(const std::vector<SysctlLine>& lines, std::string_view path) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const SysctlLine& line) { return line.path == path; });
}

}  // namespace postern::control

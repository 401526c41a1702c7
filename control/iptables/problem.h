// What stops a command: the original's sentence and exit status. Thrown inside control/iptables
// only; Run() and ParseRestore() turn it into output.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace postern::control::iptables {

// The original's exit statuses.
enum class Exit : int {
  kOther = 1,      // what the kernel would have refused, I/O
  kParameter = 2,  // followed by "Try `iptables -h' …"
  kVersion = 3,    // followed by "Perhaps iptables or your kernel needs to be upgraded."
  kResource = 4,
};

// How the sentence is introduced.
enum class Form : uint8_t {
  kTitled,  // "iptables v1.8.9 (postern): sentence"
  kPlain,   // "iptables: sentence."; "iptables-restore: line 3 failed: sentence."
  kBare,    // nothing
};

struct Problem {
  Exit status = Exit::kParameter;
  // May end with a line feed, as some of the original's sentences do; the command prints it so,
  // messages with file and line strip it.
  std::string message;
  Form form = Form::kTitled;
  std::string warnings = {};  // that came before it, each with its line feed
};

template <typename... Args>
[[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Problem{Exit::kParameter, fmt::format(format, std::forward<Args>(args)...), Form::kTitled};
}

// A refusal that the original reports when it comes to act.
[[noreturn]] inline void Refuse(std::string sentence) {
  throw Problem{Exit::kOther, std::move(sentence), Form::kPlain};
}

// What the kernel would have answered with EINVAL; we say why.
[[noreturn]] inline void RefuseRule(std::string sentence) {
  throw Problem{Exit::kResource, std::move(sentence), Form::kTitled};
}

}  // namespace postern::control::iptables

// A firewall that only keeps what it is given, and a keyboard.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "control/iptables/command.h"
#include "control/iptables/restore.h"

namespace postern::control::iptables {

class FakeFirewall : public Firewall {
 public:
  rules::Model Rules() override { return model; }
  net::Status Apply(rules::Model next, bool keep_running_counters) override {
    if (!refusal.empty()) return net::Error{refusal};
    model = std::move(next);
    kept_counters = keep_running_counters;
    ++applied;
    return {};
  }

  rules::Model model;
  std::string refusal;
  bool kept_counters = false;
  int applied = 0;
};

struct Answer {
  int status = 0;
  std::string output;
  std::string error;
};

// `typed`: words between blanks, no quotes.
inline Answer Type(FakeFirewall* firewall, const std::string& program, const std::string& typed,
                   const std::string& input = "") {
  Answer answer;
  CommandIo io;
  io.program = program;
  std::istringstream words(typed);
  for (std::string word; words >> word;) io.arguments.push_back(word);
  io.standard_input = input;
  io.out = [&answer](std::string_view text) { return answer.output += text, true; };
  io.error = [&answer](std::string_view text) { return answer.error += text, true; };
  answer.status = Run(io, firewall);
  return answer;
}

// The "-A" lines of all tables.
inline std::string SavedRules(const FakeFirewall& firewall, net::Family family) {
  std::istringstream text(PrintSave(firewall.model.family(family), {}, false));
  std::string saved;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("-A")) saved += line + "\n";
  }
  return saved;
}

}  // namespace postern::control::iptables

// The iptables commands without a daemon, for the comparisons with the original. Answers requests
// until its input ends, each a line of JSON, with a line of JSON:
//   {"program":"iptables","arguments":["-S"],"input":""}  ->  {"status":0,"out":"…","error":"…"}
//   {"reset":true}                                        ->  {}
// Between requests the rules live as restore files with counters do: as text.
#include <array>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "control/iptables/command.h"
#include "control/iptables/restore.h"

namespace {

using namespace postern;
using nlohmann::json;

constexpr std::array kFamilies = {net::Family::kIpv4, net::Family::kIpv6};
// What was saved can't be read: the exit status that no command has.
constexpr int kBrokenState = 99;

using SavedTexts = std::array<std::string, kFamilies.size()>;

class TextFirewall : public control::Firewall {
 public:
  explicit TextFirewall(SavedTexts* saved) : saved_(saved) {
    control::iptables::RestoreOptions options;
    options.counters = true;
    for (size_t i = 0; i < kFamilies.size(); ++i) {
      control::iptables::ParseRestore((*saved_)[i], i == 0 ? "v4" : "v6", options,
                                      &model_.family(kFamilies[i]), &errors_);
    }
  }

  const std::vector<std::string>& errors() const { return errors_; }

  rules::Model Rules() override { return model_; }

  net::Status Apply(rules::Model next, bool) override {
    model_ = std::move(next);
    control::iptables::SaveOptions options;
    options.counters = true;
    for (size_t i = 0; i < kFamilies.size(); ++i) {
      (*saved_)[i] = control::iptables::PrintSave(model_.family(kFamilies[i]), options, false);
    }
    return {};
  }

 private:
  SavedTexts* saved_;
  rules::Model model_;
  std::vector<std::string> errors_;
};

json Answer(const json& request, SavedTexts* saved) {
  if (request.value("reset", false)) {
    *saved = {};
    return json::object();
  }
  TextFirewall firewall(saved);
  std::string out, error;
  for (const std::string& sentence : firewall.errors()) error += sentence + "\n";
  if (!error.empty()) return {{"status", kBrokenState}, {"out", out}, {"error", error}};
  control::CommandIo io;
  io.program = request.at("program");
  io.arguments = request.at("arguments");
  io.standard_input = request.at("input");
  io.out = [&out](std::string_view text) { return out += text, true; };
  io.error = [&error](std::string_view text) { return error += text, true; };
  const int status = control::iptables::Run(io, &firewall);
  return {{"status", status}, {"out", out}, {"error", error}};
}

}  // namespace

int main() {
  SavedTexts saved;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout
        << Answer(json::parse(line), &saved).dump(-1, ' ', false, json::error_handler_t::replace)
        << std::endl;
  }
  return 0;
}

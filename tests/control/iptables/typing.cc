// The iptables commands without a daemon, for the comparisons with the original. Answers requests
// until its input ends, each a line of JSON, with a line of JSON:
//   {"program":"iptables","arguments":["-S"],"input":""}  ->  {"status":0,"out":"…","error":"…"}
//   {"reset":true}                                        ->  {}
// After each change the rules are saved with their counters, read back, and saved again.
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
// What was saved can't be read, or reads as something else: the exit status that no command has.
constexpr int kBrokenState = 99;

// Keeps the rules as the daemon does, and reads back what it would save of them.
class ModelFirewall : public control::Firewall {
 public:
  explicit ModelFirewall(rules::Model* model) : model_(*model) {}

  const std::vector<std::string>& errors() const { return errors_; }

  rules::Model Rules() override { return model_; }

  net::Status Apply(rules::Model next, bool) override {
    model_ = std::move(next);
    for (const net::Family family : kFamilies) ReadBack(family);
    return {};
  }

 private:
  void ReadBack(net::Family family) {
    control::iptables::SaveOptions save;
    save.counters = true;
    const std::string text = control::iptables::PrintSave(model_.family(family), save, false);
    control::iptables::RestoreOptions restore;
    restore.counters = true;
    rules::Model whole;
    rules::FamilyModel& again = whole.family(family);
    if (!control::iptables::ParseRestore(text, "saved", restore, &again, &errors_)) return;
    if (control::iptables::PrintSave(again, save, false) != text) {
      errors_.push_back("read back and saved again it is another text:\n" + text);
    }
  }

  rules::Model& model_;
  std::vector<std::string> errors_;
};

json Answer(const json& request, rules::Model* model) {
  if (request.value("reset", false)) {
    *model = {};
    return json::object();
  }
  ModelFirewall firewall(model);
  std::string out, error;
  control::CommandIo io;
  io.program = request.at("program");
  io.arguments = request.at("arguments");
  io.standard_input = request.at("input");
  io.out = [&out](std::string_view text) { return out += text, true; };
  io.error = [&error](std::string_view text) { return error += text, true; };
  const int status = control::iptables::Run(io, &firewall);
  if (!firewall.errors().empty()) {
    error.clear();
    for (const std::string& sentence : firewall.errors()) error += sentence + "\n";
    return {{"status", kBrokenState}, {"out", out}, {"error", error}};
  }
  return {{"status", status}, {"out", out}, {"error", error}};
}

}  // namespace

int main() {
  rules::Model model;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout
        << Answer(json::parse(line), &model).dump(-1, ' ', false, json::error_handler_t::replace)
        << std::endl;
  }
  return 0;
}

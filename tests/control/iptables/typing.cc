// The iptables commands without a daemon, for the comparison with the original: the rules live in
// the directory $IPTABLES_STATE between runs, as restore files with counters.
//   typing PROGRAM [ARGUMENT ...]
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>

#include "control/iptables/command.h"
#include "control/iptables/restore.h"

namespace {

using namespace postern;

class FileFirewall : public control::Firewall {
 public:
  explicit FileFirewall(std::string directory) : directory_(std::move(directory)) {
    for (const net::Family family : {net::Family::kIpv4, net::Family::kIpv6}) {
      std::ifstream file(Path(family));
      const std::string text((std::istreambuf_iterator<char>(file)), {});
      control::iptables::RestoreOptions options;
      options.counters = true;
      std::vector<std::string> errors;
      if (!control::iptables::ParseRestore(text, Path(family), options, &model_.family(family),
                                           &errors)) {
        for (const std::string& error : errors) std::cerr << error << "\n";
        std::exit(99);
      }
    }
  }

  rules::Model Rules() override { return model_; }

  net::Status Apply(rules::Model next, bool) override {
    model_ = std::move(next);
    for (const net::Family family : {net::Family::kIpv4, net::Family::kIpv6}) {
      control::iptables::SaveOptions options;
      options.counters = true;
      std::ofstream(Path(family)) << control::iptables::PrintSave(model_.family(family), options,
                                                                  false);
    }
    return {};
  }

 private:
  std::string Path(net::Family family) const {
    return directory_ + (family == net::Family::kIpv4 ? "/v4" : "/v6");
  }
  std::string directory_;
  rules::Model model_;
};

}  // namespace

int main(int argc, char** argv) {
  const char* directory = std::getenv("IPTABLES_STATE");
  if (argc < 2 || directory == nullptr) return 99;
  FileFirewall firewall(directory);
  control::CommandIo io;
  io.program = argv[1];
  io.arguments.assign(argv + 2, argv + argc);
  if (io.program.ends_with("-restore")) {
    io.standard_input.assign(std::istreambuf_iterator<char>(std::cin), {});
  }
  io.out = [](std::string_view text) { return bool(std::cout << text); };
  io.error = [](std::string_view text) { return bool(std::cerr << text); };
  return control::iptables::Run(io, &firewall);
}

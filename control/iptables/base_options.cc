#include "control/iptables/base_options.h"

#include "control/iptables/problem.h"

namespace postern::control::iptables {
namespace {

// Letters of the commands, by bit.
constexpr char kVerbLetters[] = {'I', 'D', 'D', 'R', 'A', 'L', 'F', 'Z',
                                 'N', 'X', 'P', 'E', 'S', 'Z', 'C'};
// The options that a command doesn't take, by bit.
constexpr std::string_view kRefused[] = {"nx0",         "nx0c",        "nsdpjxio0cf", "nx0",
                                         "nx0",         "sdpjiocf",    "nsdpjxio0cf", "nsdpjxio0cf",
                                         "nsdpjxio0cf", "nsdpjxio0cf", "nsdpjxio0f",  "nsdpjxio0cf",
                                         "nsdpjxio0cf", "nsdpjxio0cf", "nx0c"};
constexpr std::string_view kOptionOrder = "nsdpjvxio0cf";
constexpr std::string_view kInvertible = "sdpiof";

}  // namespace

const std::string_view kBaseLetters =
    "A:C:D:E:F::I:L::M:N:P:VX::Z::c:d:i:j:o:p:s:t:R:S::W::46bfg:h::m:nvw::x";
const std::vector<LongOption>& BaseOptions() {
  using enum HasArgument;
  static const std::vector<LongOption> kOptions = {
      {"append", kRequired, 'A'},
      {"delete", kRequired, 'D'},
      {"check", kRequired, 'C'},
      {"insert", kRequired, 'I'},
      {"replace", kRequired, 'R'},
      {"list", kOptional, 'L'},
      {"list-rules", kOptional, 'S'},
      {"flush", kOptional, 'F'},
      {"zero", kOptional, 'Z'},
      {"new-chain", kRequired, 'N'},
      {"delete-chain", kOptional, 'X'},
      {"rename-chain", kRequired, 'E'},
      {"policy", kRequired, 'P'},
      {"source", kRequired, 's'},
      {"destination", kRequired, 'd'},
      {"src", kRequired, 's'},
      {"dst", kRequired, 'd'},
      {"protocol", kRequired, 'p'},
      {"in-interface", kRequired, 'i'},
      {"jump", kRequired, 'j'},
      {"table", kRequired, 't'},
      {"match", kRequired, 'm'},
      {"numeric", kNo, 'n'},
      {"out-interface", kRequired, 'o'},
      {"verbose", kNo, 'v'},
      {"wait", kOptional, 'w'},
      {"wait-interval", kOptional, 'W'},
      {"exact", kNo, 'x'},
      {"fragments", kNo, 'f'},
      {"version", kNo, 'V'},
      {"help", kOptional, 'h'},
      {"line-numbers", kNo, kLineNumbers},
      {"modprobe", kRequired, 'M'},
      {"set-counters", kRequired, 'c'},
      {"goto", kRequired, 'g'},
      {"ipv4", kNo, '4'},
      {"ipv6", kNo, '6'},
  };
  return kOptions;
}

char VerbLetter(uint32_t verbs) {
  size_t bit = 0;
  while (verbs > 1) {
    verbs >>= 1;
    ++bit;
  }
  return kVerbLetters[bit];
}

bool IsInvertible(char option) { return kInvertible.find(option) != kInvertible.npos; }

// An option is legal if any of the commands takes it.
void CheckOptionsOfVerbs(uint32_t verbs, std::string_view options) {
  for (const char option : kOptionOrder) {
    if (options.find(option) == options.npos) continue;
    bool refused = false;
    bool taken = false;
    for (size_t bit = 0; bit < std::size(kRefused); ++bit) {
      if ((verbs & (1U << bit)) == 0) continue;
      (kRefused[bit].find(option) == std::string_view::npos ? taken : refused) = true;
    }
    if (refused && !taken) Fail("Illegal option `-{}' with this command", option);
  }
}

}  // namespace postern::control::iptables

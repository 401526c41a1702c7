#include "control/iptables/help.h"

#include <fmt/format.h>

namespace postern::control::iptables {

const char kVersion[] = "1.8.9 (postern)";

namespace {

constexpr char kCommands[] = R"(Commands:
  -A, --append CHAIN RULE              put a rule at the end of a chain
  -I, --insert CHAIN [NUMBER] RULE     put it before rule NUMBER (1)
  -R, --replace CHAIN NUMBER RULE      put it in the place of rule NUMBER
  -D, --delete CHAIN RULE | NUMBER     take a rule away
  -C, --check CHAIN RULE               is there such a rule?
  -L, --list [CHAIN [NUMBER]]          show rules as a table
  -S, --list-rules [CHAIN [NUMBER]]    show rules as commands
  -F, --flush [CHAIN]                  take all rules away
  -Z, --zero [CHAIN [NUMBER]]          set counters to zero
  -N, --new-chain CHAIN                make a chain
  -X, --delete-chain [CHAIN]           take an empty chain away
  -E, --rename-chain OLD NEW           give a chain another name
  -P, --policy CHAIN ACCEPT | DROP     what happens at the end of a built-in chain

Rules ([!] may stand before):
  [!] -p, --protocol NAME | NUMBER     [!] -s, --source ADDRESS[/MASK][,...]
  [!] -i, --in-interface NAME[+]       [!] -d, --destination ADDRESS[/MASK][,...]
  [!] -o, --out-interface NAME[+]      -m, --match NAME
  -j, --jump TARGET                    -g, --goto CHAIN
  -c, --set-counters PACKETS BYTES

Options:
  -t, --table filter | nat | mangle | raw
  -n, --numeric                        numbers instead of names
  -v, --verbose                        counters and interfaces too
  -x, --exact                          counters without K, M, G
  --line-numbers                       number the rules
  -4, --ipv4, -6, --ipv6               in restore files: a line for one family
  -w, --wait [SECONDS]                 accepted, there is no lock; so is -W, --wait-interval
  -M, --modprobe COMMAND               accepted, there is no module to load
  -V, --version                        -h, --help
)";

}  // namespace

std::string HelpText(const std::string& program, net::Family family) {
  std::string text =
      fmt::format("{0} v{1}\n\nUsage: {0} COMMAND [RULE] [OPTIONS]\n\n", program, kVersion);
  text += kCommands;
  if (family == net::Family::kIpv4) {
    text += "  [!] -f, --fragments                  later fragments only\n";
  }
  return text;
}

std::string RestoreHelpText(const std::string& program) {
  return fmt::format(
      "Usage: {} [OPTIONS] [FILE]\n"
      "  -c, --counters          take the counters in the text\n"
      "  -n, --noflush           add to the rules that are there\n"
      "  -T, --table=TABLE       this table only\n"
      "  -t, --test              check only\n"
      "  -v, --verbose           say what is done\n"
      "  -w, --wait[=SECONDS], -W, --wait-interval[=MICROSECONDS], -M, --modprobe=COMMAND\n"
      "                          accepted, there is nothing to wait for or to load\n"
      "  -V, --version           -h, --help\n",
      program);
}

}  // namespace postern::control::iptables

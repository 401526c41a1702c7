#include "control/iptables/command_line.h"

#include "control/iptables/command_parser.h"
#include "control/iptables/help.h"
#include "control/iptables/ip_options.h"
#include "control/iptables/values.h"

namespace postern::control::iptables {

namespace {

// The original's exit_tryhelp() after a sentence without title.
[[noreturn]] void FailBare(std::string sentence) {
  throw Problem{Exit::kParameter, std::move(sentence), Form::kBare};
}

}  // namespace

void Parser::SetOption(char option) {
  if (Has(option)) Fail("multiple -{} flags not allowed", option);
  options_ += option;
  if (invert_ && !IsInvertible(option)) {
    Fail("cannot have ! before -{}", option);
  }
}

void Parser::ParseProtocolOption() {
  SetOption('p');
  std::string name = scanner_.LastWord();
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  ip_.protocol = ParseProtocol(name);
  if (ip_.protocol == 0 && invert_) Fail("rule would never match protocol");
  ip_.invert_protocol = invert_;
  if (context_.family == Family::kIpv6 && !invert_) {
    command_.warnings += WarningOfProtocol(name, ip_.protocol);
  }
  builder_.SetProtocol(name, ip_.protocol, invert_);
}

bool Parser::ParseRuleOption(int option) {
  switch (option) {
    case 'p':
      ParseProtocolOption();
      return true;
    case 's':
      SetOption('s');
      source_ = scanner_.LastWord();
      ip_.source.invert = invert_;
      return true;
    case 'd':
      SetOption('d');
      destination_ = scanner_.LastWord();
      ip_.destination.invert = invert_;
      return true;
    case 'g':
      SetOption('j');
      builder_.Goto(Argument());
      return true;
    case 'j':
      SetOption('j');
      builder_.Jump(scanner_.LastWord());
      return true;
    case 'i':
    case 'o':
      if (Argument().empty()) Fail("Empty interface is likely to be undesired");
      SetOption(static_cast<char>(option));
      (option == 'i' ? ip_.in : ip_.out) =
          ParseInterface(scanner_.LastWord(), invert_, &command_.warnings);
      return true;
    case 'f':
      if (context_.family == Family::kIpv6) {
        Fail("`-f' is not supported in IPv6, use -m frag instead");
      }
      SetOption('f');
      ip_.fragment = true;
      ip_.invert_fragment = invert_;
      return true;
    case 'm':
      if (invert_) Fail("unexpected ! flag before --match");
      builder_.AddMatch(Argument());
      return true;
    case 'c':
      ParseCounters();
      return true;
    default:
      return false;
  }
}

void Parser::ParseCounters() {
  SetOption('c');
  const std::string packets = Argument();
  std::string bytes;
  if (const size_t comma = packets.find(',', 1); comma != packets.npos) {
    bytes = packets.substr(comma + 1);
  } else if (scanner_.HasFreeWord()) {
    bytes = scanner_.TakeWord();
  } else {
    Fail("-c requires packet and byte counter");
  }
  counters_ = CountersOf(packets, bytes);
  command_.counters_given = true;
}

bool Parser::ParseOtherOption(int option) {
  const auto family_letter = context_.family == Family::kIpv4 ? '4' : '6';
  switch (option) {
    case 'v':
      if (command_.verbose == 0) SetOption('v');
      ++command_.verbose;
      return true;
    case 'n':
    case 'x':
    case kLineNumbers:
      SetOption(static_cast<char>(option));
      return true;
    case 't':
      if (invert_) Fail("unexpected ! flag before --table");
      if (context_.restore) Fail("The -t option cannot be used in {}.\n", context_.program);
      command_.table = Argument();
      return true;
    case 'V':
      if (invert_) throw Finished{fmt::format("Not {} ;-)\n", kVersion)};
      throw Finished{fmt::format("{} v{}\n", context_.program, kVersion)};
    case 'h':
      throw Finished{HelpText(context_.program, context_.family) + builder_.Help()};
    case 'w':
    case 'W':
      // There is no lock to wait for.
      if (context_.restore) {
        Fail("You cannot use `-{}' from iptables-restore", static_cast<char>(option));
      }
      return ParseWait(option);
    case 'M':
      return true;
    case '4':
    case '6':
      if (option == family_letter) return true;
      if (!context_.restore) FailBare("");
      skip_line_ = true;
      return true;
    default:
      return false;
  }
}

bool Parser::ParseWait(int option) {
  const bool interval = option == 'W';
  const bool given = scanner_.argument() != nullptr || scanner_.HasFreeWord();
  if (interval && !given) Fail("wait interval value required");
  const std::string seconds = scanner_.argument() != nullptr ? Argument()
                              : given                        ? scanner_.TakeWord()
                                                             : "0";
  if (!LeadingNumber(seconds)) Fail("wait {} not numeric", interval ? "interval" : "seconds");
  (interval ? wait_interval_given_ : wait_given_) = true;
  if (interval) command_.warnings += "Ignoring deprecated --wait-interval option.\n";
  return true;
}

bool Parser::ParseWord() {
  const std::string word = Argument();
  if (word != "!") FailBare(fmt::format("Bad argument `{}'", word));
  if (invert_) Fail("multiple consecutive ! not allowed");
  invert_ = true;
  return false;
}

ParsedCommand Parser::Parse() {
  while (true) {
    const int option = scanner_.Next();
    if (option == OptionScanner::kEnd) break;
    if (option == OptionScanner::kWord) {
      if (!ParseWord()) continue;
    } else if (!ParseVerb(option) && !ParseRuleOption(option) && !ParseOtherOption(option)) {
      if (builder_.Option(option, invert_, Has('n'))) continue;
    }
    if (skip_line_) return {};
    invert_ = false;
  }
  CheckEnd();
  command_.numeric = Has('n');
  command_.exact = Has('x');
  command_.line_numbers = Has(kLineNumbers);
  if ((command_.verbs & kTakesRule) != 0) MakeRules();
  return std::move(command_);
}

void Parser::CheckEnd() {
  if (wait_interval_given_ && !wait_given_) {
    Fail("--wait-interval only makes sense with --wait\n");
  }
  if (command_.table == "nat" && (command_.policy == "DROP" || builder_.target_name() == "DROP")) {
    Fail(
        "\nThe \"nat\" table is not intended for filtering, the use of DROP is therefore "
        "inhibited.\n\n");
  }
  builder_.CheckOptions();
  if (!scanner_.AtEnd()) Fail("unknown arguments found on commandline");
  if (command_.verbs == 0) Fail("no command specified");
  if (invert_) Fail("nothing appropriate following !");
  ParseAddresses();
  if (command_.verbs == kReplace && (sources_.size() != 1 || destinations_.size() != 1)) {
    Fail("Replacement rule does not specify a unique address");
  }
  CheckOptionsOfVerbs(command_.verbs, options_);
  CheckChain();
  if (command_.table != "filter" && command_.table != "nat" && command_.table != "mangle" &&
      command_.table != "raw") {
    throw Problem{Exit::kVersion, fmt::format("table '{}' does not exist", command_.table),
                  Form::kTitled};
  }
}

void Parser::ParseAddresses() {
  const bool takes_rule = (command_.verbs & kTakesRule) != 0;
  sources_.resize(takes_rule ? 1 : 0);
  destinations_.resize(takes_rule ? 1 : 0);
  if (Has('s')) sources_ = ParseAddressList(context_.family, source_);
  if (Has('d')) destinations_ = ParseAddressList(context_.family, destination_);
  if ((sources_.size() > 1 || destinations_.size() > 1) &&
      (ip_.source.invert || ip_.destination.invert)) {
    Fail("! not allowed with multiple source or destination IP addresses");
  }
}

void Parser::CheckChain() const {
  if (!command_.chain) return;
  const std::string& chain = *command_.chain;
  constexpr size_t kMaxChain = 28;
  if (chain.size() > kMaxChain) {
    Fail("chain name `{}' too long (must be under {} chars)", chain, kMaxChain + 1);
  }
  if ((command_.verbs & (kTakesRule | kDeleteNumber)) == 0) return;
  if ((chain == "PREROUTING" || chain == "INPUT") && Has('o')) {
    Fail("Can't use -o with {}\n", chain);
  }
  if ((chain == "POSTROUTING" || chain == "OUTPUT") && Has('i')) {
    Fail("Can't use -i with {}\n", chain);
  }
}

void Parser::MakeRules() {
  rules::Rule rule;
  builder_.Finish(&rule);
  rule.ip = ip_;
  rule.counters = counters_;
  for (const rules::AddressMatch& source : sources_) {
    for (const rules::AddressMatch& destination : destinations_) {
      rule.ip.source.address = source.address;
      rule.ip.source.mask = source.mask;
      rule.ip.destination.address = destination.address;
      rule.ip.destination.mask = destination.mask;
      command_.rules.push_back(rule);
    }
  }
}

ParsedCommand ParseCommandLine(const CommandContext& context, std::vector<std::string> words) {
  Parser parser(context, std::move(words));
  try {
    return parser.Parse();
  } catch (Problem& problem) {
    problem.warnings = parser.warnings();
    throw;
  }
}

}  // namespace postern::control::iptables

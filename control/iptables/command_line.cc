#include "control/iptables/command_line.h"

#include <limits>

#include "control/iptables/help.h"
#include "control/iptables/rule_builder.h"
#include "control/iptables/values.h"

namespace postern::control::iptables {

const char kVersion[] = "1.8.9 (postern)";

namespace {

constexpr std::string_view kShortOptions =
    "A:C:D:E:F::I:L::M:N:P:VX::Z::c:d:i:j:o:p:s:t:R:S::W::46bfg:h::m:nvw::x";
constexpr char kLineNumbers = '0';

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

char VerbLetter(uint32_t verbs) {
  size_t bit = 0;
  while (verbs > 1) {
    verbs >>= 1;
    ++bit;
  }
  return kVerbLetters[bit];
}

// The original's exit_tryhelp() after a sentence without title.
[[noreturn]] void FailBare(std::string sentence) {
  throw Problem{Exit::kParameter, std::move(sentence), Form::kBare};
}

class Parser {
 public:
  Parser(const CommandContext& context, std::vector<std::string> words)
      : context_(context),
        scanner_(std::move(words), kShortOptions, BaseOptions()),
        builder_(context.family, &scanner_) {
    command_.table = context.table;
  }

  ParsedCommand Parse();

 private:
  bool ParseVerb(int option);
  bool ParseRuleOption(int option);
  bool ParseOtherOption(int option);
  bool ParseWord();  // false: it was `!`

  void AddVerb(uint32_t verb, uint32_t together = 0);
  void OptionalChain();
  int RuleNumber(const std::string& text) const;
  void OptionalNumber();
  void SetOption(char option);
  rules::InterfaceMatch ParseInterface();
  void ParseProtocolOption();
  void ParseCounters();

  void CheckEnd();
  void ParseAddresses();
  void CheckOptionsOfVerbs() const;
  void CheckChain() const;
  void MakeRules();

  const std::string& Argument() const { return *scanner_.argument(); }
  bool Has(char option) const { return options_.find(option) != std::string::npos; }

  const CommandContext& context_;
  OptionScanner scanner_;
  RuleBuilder builder_;
  ParsedCommand command_;
  rules::IpMatch ip_;
  rules::Counters counters_;
  std::string options_;  // letters of the options that were given
  bool invert_ = false;
  bool skip_line_ = false;
  bool table_given_ = false;
  std::string source_, destination_;
  std::vector<rules::AddressMatch> sources_, destinations_;
};

void Parser::AddVerb(uint32_t verb, uint32_t together) {
  if (invert_) Fail("unexpected '!' flag");
  if (const uint32_t others = command_.verbs & ~together; others != 0) {
    Fail("Cannot use -{} with -{}", VerbLetter(verb), VerbLetter(others));
  }
  command_.verbs |= verb;
}

void Parser::OptionalChain() {
  if (scanner_.argument() != nullptr) {
    command_.chain = Argument();
  } else if (scanner_.HasFreeWord()) {
    command_.chain = scanner_.TakeWord();
  }
}

int Parser::RuleNumber(const std::string& text) const {
  const auto number = ParseNumber(text, 1, std::numeric_limits<int>::max());
  if (!number) Fail("Invalid rule number `{}'", text);
  return static_cast<int>(*number);
}

void Parser::OptionalNumber() {
  if (scanner_.HasFreeWord()) command_.number = RuleNumber(scanner_.TakeWord());
}

bool Parser::ParseVerb(int option) {
  switch (option) {
    case 'A':
      AddVerb(kAppend);
      break;
    case 'C':
      AddVerb(kCheck);
      break;
    case 'D':
      AddVerb(kDelete);
      command_.chain = Argument();
      OptionalNumber();
      if (command_.number != 0) command_.verbs = kDeleteNumber;
      return true;
    case 'R':
      AddVerb(kReplace);
      command_.chain = Argument();
      if (!scanner_.HasFreeWord()) Fail("-R requires a rule number");
      OptionalNumber();
      return true;
    case 'I':
      AddVerb(kInsert);
      command_.chain = Argument();
      command_.number = 1;
      OptionalNumber();
      return true;
    case 'L':
    case 'S':
      AddVerb(option == 'L' ? kList : kListRules, kZero | kZeroNumber);
      OptionalChain();
      OptionalNumber();
      return true;
    case 'F':
    case 'X':
      AddVerb(option == 'F' ? kFlush : kDeleteChain);
      OptionalChain();
      return true;
    case 'Z':
      AddVerb(kZero, kList | kListRules);
      OptionalChain();
      if (scanner_.HasFreeWord()) {
        OptionalNumber();
        command_.verbs = kZeroNumber;
      }
      return true;
    case 'N':
      CheckChainName(Argument(), context_.family);
      AddVerb(kNewChain);
      break;
    case 'E':
      AddVerb(kRenameChain);
      command_.chain = Argument();
      if (!scanner_.HasFreeWord()) Fail("-E requires old-chain-name and new-chain-name");
      command_.new_name = scanner_.TakeWord();
      return true;
    case 'P':
      AddVerb(kSetPolicy);
      command_.chain = Argument();
      if (!scanner_.HasFreeWord()) Fail("-P requires a chain and a policy");
      command_.policy = scanner_.TakeWord();
      return true;
    default:
      return false;
  }
  command_.chain = Argument();
  return true;
}

void Parser::SetOption(char option) {
  if (Has(option)) Fail("multiple -{} flags not allowed", option);
  options_ += option;
  if (invert_ && kInvertible.find(option) == kInvertible.npos) {
    Fail("cannot have ! before -{}", option);
  }
}

rules::InterfaceMatch Parser::ParseInterface() {
  constexpr size_t kMaxInterface = 15;
  const std::string& name = scanner_.LastWord();
  if (name.size() > kMaxInterface) {
    Fail("interface name `{}' must be shorter than IFNAMSIZ ({})", name, kMaxInterface);
  }
  // Names are saved without quotes.
  if (name.find_first_of("\" \t\n\v\f\r") != name.npos) {
    Fail("interface name `{}' has a blank or a quote", name);
  }
  if (name.find('/') != name.npos) {
    command_.warnings += fmt::format(
        "Warning: weird character in interface `{}' ('/' and ' ' are not allowed by the "
        "kernel).\n",
        name);
  }
  // A lone `+` is every interface: nothing to match.
  if (name == "+" && !invert_) return {};
  return {name, invert_};
}

// Those that -p never sees: it looks at the last header.
bool IsExtensionHeader(uint8_t protocol) {
  constexpr uint8_t kRouting = 43, kFragment = 44, kAuthentication = 51, kDestination = 60;
  return protocol == kRouting || protocol == kFragment || protocol == kAuthentication ||
         protocol == kDestination;
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
  if (context_.family == Family::kIpv6 && IsExtensionHeader(ip_.protocol) && !invert_) {
    command_.warnings +=
        fmt::format("Warning: never matched protocol: {}. use extension match instead.\n", name);
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
      (option == 'i' ? ip_.in : ip_.out) = ParseInterface();
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

// sscanf's %llu: digits at the beginning are enough.
std::optional<uint64_t> LeadingNumber(const std::string& text) {
  char* end = nullptr;
  const uint64_t value = std::strtoull(text.c_str(), &end, 10);
  if (end == text.c_str()) return std::nullopt;
  return value;
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
  const auto packet_count = LeadingNumber(packets);
  if (!packet_count) Fail("-c packet counter not numeric");
  const auto byte_count = LeadingNumber(bytes);
  if (!byte_count) Fail("-c byte counter not numeric");
  counters_ = {*packet_count, *byte_count};
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
      throw Finished{HelpText(context_.program, context_.family)};
    case 'w':
    case 'W': {
      // There is no lock to wait for.
      if (context_.restore) {
        Fail("You cannot use `-{}' from iptables-restore", static_cast<char>(option));
      }
      const std::string seconds = scanner_.argument() != nullptr ? Argument()
                                  : scanner_.HasFreeWord()       ? scanner_.TakeWord()
                                                                 : "0";
      if (!LeadingNumber(seconds)) {
        Fail("wait {} not numeric", option == 'w' ? "seconds" : "interval");
      }
      return true;
    }
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
  CheckOptionsOfVerbs();
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

// An option is legal if any of the commands takes it.
void Parser::CheckOptionsOfVerbs() const {
  for (const char option : kOptionOrder) {
    if (!Has(option)) continue;
    bool refused = false;
    bool taken = false;
    for (size_t bit = 0; bit < std::size(kRefused); ++bit) {
      if ((command_.verbs & (1U << bit)) == 0) continue;
      (kRefused[bit].find(option) == std::string_view::npos ? taken : refused) = true;
    }
    if (refused && !taken) Fail("Illegal option `-{}' with this command", option);
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

}  // namespace

ParsedCommand ParseCommandLine(const CommandContext& context, std::vector<std::string> words) {
  return Parser(context, std::move(words)).Parse();
}

}  // namespace postern::control::iptables

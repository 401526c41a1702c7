#include "control/iptables/restore.h"

#include <ctime>
#include <optional>

#include "control/iptables/command_line.h"
#include "control/iptables/editor.h"
#include "control/iptables/help.h"
#include "control/iptables/printer.h"
#include "control/iptables/restore_run.h"
#include "control/iptables/rule_builder.h"
#include "control/iptables/values.h"

namespace postern::control::iptables {
namespace {

// The original's limits of one line.
constexpr size_t kMaxWord = 1023;
constexpr size_t kMaxWords = 253;

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n'; }

// The next word between blanks; "" at the end.
std::string_view NextWord(std::string_view* rest) {
  while (!rest->empty() && IsBlank(rest->front())) rest->remove_prefix(1);
  size_t length = 0;
  while (length < rest->size() && !IsBlank((*rest)[length])) ++length;
  const std::string_view word = rest->substr(0, length);
  rest->remove_prefix(length);
  return word;
}

// Words between blanks; double quotes hold blanks together, a backslash in them takes the next
// character as it is.
std::vector<std::string> SplitWords(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  bool escaped = false;
  const auto finish = [&] {
    if (words.size() >= kMaxWords) Fail("Parser cannot handle more arguments");
    words.push_back(std::move(word));
    word.clear();
  };
  for (const char c : line) {
    if (quoted && (escaped || (c != '\\' && c != '"'))) {
      word += c;
      escaped = false;
    } else if (quoted && c == '\\') {
      escaped = true;
    } else if (quoted) {
      // The end of a quotation ends the word, even an empty one.
      quoted = false;
      finish();
    } else if (c == '"') {
      quoted = true;
    } else if (!IsBlank(c)) {
      word += c;
    } else if (!word.empty()) {
      finish();
    }
    if (word.size() > kMaxWord) Fail("Parameter too long!");
  }
  if (!word.empty()) finish();
  return words;
}

// "[12:345]" as sscanf reads it.
std::optional<rules::Counters> ParseCounterPair(std::string_view text) {
  unsigned long long packets = 0;
  unsigned long long bytes = 0;
  if (std::sscanf(std::string(text).c_str(), "[%llu:%llu]", &packets, &bytes) != 2) {
    return std::nullopt;
  }
  return rules::Counters{packets, bytes};
}

class Restorer {
 public:
  Restorer(const RestoreRun& run, rules::FamilyModel* model, std::string* out)
      : run_(run), model_(model), out_(out), editor_(model, out) {
    context_.family = model->family;
    context_.program = run.program;
    context_.restore = true;
  }

  std::vector<RestoreFailure> Run(std::string_view text);

 private:
  void ReadLine(std::string_view line);
  void ReadTable(std::string_view rest);
  void ReadChain(std::string_view rest);
  void ReadCommand(std::string_view line);
  void Note(int line, Problem problem) { failures_.push_back({line, std::move(problem), false}); }

  const RestoreRun& run_;
  rules::FamilyModel* const model_;
  std::string* const out_;
  Editor editor_;
  CommandContext context_;
  int line_ = 0;
  bool in_table_ = false;
  bool other_table_ = false;  // in one that -T excludes
  net::Table table_ = net::Table::kFilter;
  std::vector<RestoreFailure> failures_;
};

void Restorer::ReadTable(std::string_view rest) {
  const std::string_view name = NextWord(&rest);
  if (name.empty()) Fail("{}: line {} table name invalid", run_.program, line_);
  bool known = false;
  for (int i = 0; i < net::kTableCount; ++i) {
    known = known || net::ToString(static_cast<net::Table>(i)) == name;
  }
  other_table_ = false;
  if (!known) {
    // Whatever follows belongs to the unknown table.
    other_table_ = true;
    if (name == "security") Fail("table 'security' isn't supported");
    Fail("{}: line {} table name '{}' invalid", run_.program, line_, name);
  }
  if (!run_.options.only_table.empty() && run_.options.only_table != name) {
    other_table_ = true;
    return;
  }
  table_ = TableByName(name);
  context_.table = name;
  in_table_ = true;
  if (!run_.options.noflush) editor_.StartTable(table_, run_.verbose);
}

void Restorer::ReadChain(std::string_view rest) {
  const std::string name(NextWord(&rest));
  if (name.empty()) Fail("{}: line {} chain name invalid", run_.program, line_);
  CheckChainName(name, model_->family);
  const std::string policy(NextWord(&rest));
  if (policy.empty()) Fail("{}: line {} policy invalid", run_.program, line_);
  const rules::Chain* chain = model_->table(table_).Find(name);
  if (chain == nullptr || !chain->builtin) {
    editor_.RestoreChain(table_, name);
    return;
  }
  rules::Counters counters;
  if (run_.options.counters) {
    const std::string_view word = NextWord(&rest);
    const bool lacks = word.empty() && run_.options.counters_may_lack;
    const auto pair = lacks ? std::optional(counters) : ParseCounterPair(word);
    if (!pair) Fail("invalid policy counters for chain '{}'", name);
    counters = *pair;
  }
  // A built-in chain may have "-" too: its policy stays.
  editor_.SetPolicy(table_, name, policy == "-" ? PolicyName(chain->policy) : policy);
  model_->table(table_).Find(name)->policy_counters = counters;
}

void Restorer::ReadCommand(std::string_view line) {
  std::vector<std::string> words;
  for (int i = 0; !run_.options.noflush && i < run_.verbose; ++i) words.emplace_back("-v");
  if (line.starts_with('[')) {
    const size_t close = line.find(']');
    if (close == line.npos) Fail("Bad line {}: need ]", line_);
    const std::string_view pair = line.substr(1, close - 1);
    const size_t colon = pair.find(':');
    if (colon == pair.npos) Fail("Bad line {}: need ]", line_);
    if (run_.options.counters) {
      words.emplace_back("--set-counters");
      words.emplace_back(pair.substr(0, colon));
      words.emplace_back(pair.substr(colon + 1));
    }
    line.remove_prefix(close + 1);
  }
  for (std::string& word : SplitWords(line)) words.push_back(std::move(word));
  editor_.Apply(ParseCommandLine(context_, std::move(words)), {run_.file, line_});
}

void Restorer::ReadLine(std::string_view line) {
  if (line.empty()) return;
  if (line.front() == '#') {
    if (run_.verbose != 0) out_->append(line).append("\n");
  } else if (in_table_ && line == "COMMIT") {
    in_table_ = false;
  } else if (line.front() == '*' && !in_table_) {
    ReadTable(line.substr(1));
  } else if (line.front() == ':' && in_table_) {
    ReadChain(line.substr(1));
  } else if (in_table_) {
    ReadCommand(line);
  } else if (!other_table_) {
    Refuse("");
  }
}

std::vector<RestoreFailure> Restorer::Run(std::string_view text) {
  while (!text.empty() && (failures_.empty() || !run_.stop_at_first)) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_;
    // The original reads C strings. A line that begins with the end of one isn't an empty line: a
    // file of zeros, as a crash may leave, is no rule set that accepts everything.
    const bool nothing = line.starts_with('\0');
    line = line.substr(0, line.find('\0'));
    try {
      if (nothing) Refuse("");
      ReadLine(line);
    } catch (Problem& problem) {
      Note(line_, std::move(problem));
    } catch (const Finished& finished) {
      *out_ += finished.output;
    }
  }
  if (in_table_ && (failures_.empty() || !run_.stop_at_first)) {
    failures_.push_back(
        {line_ + 1,
         {Exit::kOther, fmt::format("COMMIT expected at line {}", line_ + 1), Form::kPlain},
         true});
  }
  return std::move(failures_);
}

std::string DateLine() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[64];
  const size_t length = std::strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &parts);
  return std::string(text, length);
}

void PrintTable(const rules::FamilyModel& model, net::Table table, const SaveOptions& options,
                std::string* out) {
  *out += fmt::format("*{}\n", net::ToString(table));
  const auto chains = SortedChains(model.table(table));
  for (const rules::Chain* chain : chains) {
    *out += fmt::format(":{} {} [{}:{}]\n", chain->name,
                        chain->builtin ? PolicyName(chain->policy) : "-",
                        chain->policy_counters.packets, chain->policy_counters.bytes);
  }
  for (const rules::Chain* chain : chains) {
    for (const rules::Rule& rule : chain->rules) {
      if (options.counters) {
        *out += fmt::format("[{}:{}] ", rule.counters.packets, rule.counters.bytes);
      }
      *out += "-A " + chain->name;
      AppendRuleText(model.family, rule, false, out);
      *out += '\n';
    }
  }
  *out += "COMMIT\n";
}

}  // namespace

std::vector<RestoreFailure> RunRestore(std::string_view text, const RestoreRun& run,
                                       rules::FamilyModel* model, std::string* out) {
  return Restorer(run, model, out).Run(text);
}

bool ParseRestore(std::string_view text, const std::string& file, const RestoreOptions& options,
                  rules::FamilyModel* model, std::vector<std::string>* errors) {
  RestoreRun run;
  run.program = model->family == Family::kIpv4 ? "iptables-restore" : "ip6tables-restore";
  run.file = file;
  run.options = options;
  rules::FamilyModel next = *model;
  std::string output;
  const auto failures = RunRestore(text, run, &next, &output);
  for (const RestoreFailure& failure : failures) {
    std::string message = failure.problem.message;
    while (!message.empty() && message.back() == '\n') message.pop_back();
    message.erase(0, message.find_first_not_of('\n'));
    if (message.empty()) message = "not a table, chain or rule";
    errors->push_back(fmt::format("{}:{}: {}", file, failure.line, message));
  }
  if (!failures.empty()) return false;
  *model = std::move(next);
  return true;
}

std::string PrintSave(const rules::FamilyModel& model, const SaveOptions& options, bool comments) {
  std::string out;
  const char* program = model.family == Family::kIpv4 ? "iptables-save" : "ip6tables-save";
  // The order of the original's nf_tables form.
  for (const net::Table table :
       {net::Table::kMangle, net::Table::kRaw, net::Table::kFilter, net::Table::kNat}) {
    if (options.only_table.empty() ? !model.present[static_cast<size_t>(table)]
                                   : options.only_table != net::ToString(table)) {
      continue;
    }
    if (comments) {
      out += fmt::format("# Generated by {} v{} on {}\n", program, kVersion, DateLine());
    }
    PrintTable(model, table, options, &out);
    if (comments) out += fmt::format("# Completed on {}\n", DateLine());
  }
  return out;
}

}  // namespace postern::control::iptables

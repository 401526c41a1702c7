#include "control/conntrack_load.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>
#include <utility>

namespace postern::control {
namespace {

using Verb = ConntrackVerb;

bool MayLoad(const ConntrackOptions& options) {
  if (options.table != ConntrackTable::kConntrack) return false;
  switch (options.verb) {
    case Verb::kCreate:
    case Verb::kAdd:
    case Verb::kUpdate:
    case Verb::kDelete:
    case Verb::kFlush:
      return true;
    default:
      return false;
  }
}

// At blanks, but for those in double quotes.
std::vector<std::string> Words(std::string_view line) {
  std::vector<std::string> words;
  bool quoted = false;
  bool inside = false;
  for (const char c : line) {
    if (c == '"') quoted = !quoted;
    const bool blank = c == ' ' || c == '\t' || c == '\r';
    if (c != '"' && (!blank || quoted)) {
      if (!std::exchange(inside, true)) words.emplace_back();
      words.back() += c;
    } else if (!quoted && blank) {
      inside = false;
    }
  }
  return words;
}

class LoadCommand : public Command {
 public:
  explicit LoadCommand(ConntrackStart start) : start_(std::move(start)) {}

  std::optional<int> Step(const CommandIo& io) override {
    for (unsigned i = 0; i < kLinesAStep; ++i) {
      if (command_) return StepOfLine(io);
      const std::optional<std::string_view> line = NextLine(io.standard_input);
      if (!line && !checking_) return 0;
      if (!line) {
        checking_ = false;
        next_ = 0;
      } else if (const std::optional<int> status = Take(io, *line)) {
        return status;
      }
    }
    return std::nullopt;
  }

 private:
  static constexpr unsigned kLinesAStep = 64;

  std::optional<int> StepOfLine(const CommandIo& io) {
    const std::optional<int> status = command_->Step(io);
    if (!status) return std::nullopt;
    command_.reset();
    return *status == 0 ? std::nullopt : status;
  }

  // Without those that say nothing.
  std::optional<std::string_view> NextLine(std::string_view text) {
    while (next_ < text.size()) {
      const size_t end = std::min(text.find('\n', next_), text.size());
      const std::string_view line = text.substr(next_, end - next_);
      next_ = end + 1;
      if (!line.empty() && line[0] != '#') return line;
    }
    return std::nullopt;
  }

  // The exit status if the line is no good.
  std::optional<int> Take(const CommandIo& io, std::string_view line) {
    ConntrackOptions options;
    ConntrackError error;
    bool good = ParseConntrackOptions(Words(line), &options, &error);
    if (!checking_) {
      options.summary = false;
      command_ = start_(io, std::move(options));
      return std::nullopt;
    }
    for (const std::string& warning : options.warnings) io.error(warning);
    if (good && options.verb == Verb::kNone) {
      // No option goes with no command.
      const auto surplus = CheckOptions(options.verb, options.table, options.given);
      good = !surplus;
      error.message = surplus.value_or("");
    }
    if (!good) return ComplainOfOptions(io, error);
    if (MayLoad(options)) return std::nullopt;
    const bool expect = options.table == ConntrackTable::kExpect;
    const char letter = LetterOf(options.verb);
    const std::string name =
        letter == '\0' ? "unknown" : fmt::format("-{}{}", letter, expect ? " expect" : "");
    return ComplainOfOptions(
        io, {.message = fmt::format("Cannot use command `{}' with --load-file", name)});
  }

  const ConntrackStart start_;
  bool checking_ = true;              // all lines, before the first one is done
  size_t next_ = 0;                   // where the next line begins
  std::unique_ptr<Command> command_;  // of the line that is being done
};

}  // namespace

std::unique_ptr<Command> MakeLoadCommand(ConntrackStart start) {
  return std::make_unique<LoadCommand>(std::move(start));
}

}  // namespace postern::control

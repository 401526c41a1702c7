#include "control/iptables/command.h"

#include <optional>

#include "control/iptables/command_line.h"
#include "control/iptables/editor.h"
#include "control/iptables/help.h"
#include "control/iptables/restore.h"
#include "control/iptables/restore_run.h"
#include "control/iptables/tool_options.h"

namespace postern::control::iptables {
namespace {

using net::Family;

Family FamilyOf(const CommandIo& io) {
  return io.program.starts_with("ip6") ? Family::kIpv6 : Family::kIpv4;
}

// `line`: of a restore file; 0: none.
std::string ProblemText(const std::string& program, const Problem& problem, int line) {
  std::string text;
  switch (problem.form) {
    case Form::kTitled:
      text = fmt::format("{} v{}: {}\n", program, kVersion, problem.message);
      break;
    case Form::kPlain:
      text = line == 0 ? fmt::format("{}: {}.\n", program, problem.message)
                       : fmt::format("{}: line {} failed", program, line);
      if (line != 0) text += problem.message.empty() ? "\n" : ": " + problem.message + ".\n";
      return text;
    case Form::kBare:
      if (!problem.message.empty()) text = problem.message + "\n";
      break;
  }
  if (problem.status == Exit::kParameter) {
    if (line != 0) text += fmt::format("Error occurred at line: {}\n", line);
    text += fmt::format("Try `{0} -h' or '{0} --help' for more information.\n", program);
  } else if (problem.status == Exit::kVersion) {
    text += fmt::format("Perhaps {} or your kernel needs to be upgraded.\n", program);
  }
  return text;
}

// What the engine refuses (loops, limits) has the status of a kernel's refusal.
int Publish(const CommandIo& io, Firewall* firewall, rules::Model model, bool keep_counters) {
  const net::Status status = firewall->Apply(std::move(model), keep_counters);
  if (status.ok()) return 0;
  io.error(ProblemText(io.program, {Exit::kResource, status.error(), Form::kTitled}, 0));
  return static_cast<int>(Exit::kResource);
}

int RunEdit(const CommandIo& io, Firewall* firewall) {
  CommandContext context;
  context.family = FamilyOf(io);
  context.program = io.program;
  std::string output;
  try {
    const ParsedCommand command = ParseCommandLine(context, io.arguments);
    if (!command.warnings.empty()) io.error(command.warnings);
    rules::Model model = firewall->Rules();
    Editor editor(&model.family(context.family), &output);
    editor.Apply(command, {});
    if (!output.empty()) io.out(output);
    if (!editor.changed()) return 0;
    const bool zeroes = (command.verbs & (kZero | kZeroNumber)) != 0;
    return Publish(io, firewall, std::move(model), !zeroes);
  } catch (const Finished& finished) {
    io.out(finished.output);
    return 0;
  } catch (const Problem& problem) {
    if (!output.empty()) io.out(output);
    io.error(problem.warnings + ProblemText(io.program, problem, 0));
    return static_cast<int>(problem.status);
  }
}

// As getopt says it.
void Complain(const CommandIo& io, const ToolOptions& options, int option) {
  const std::string& word = options.scanner().LastWord();
  if (option == OptionScanner::kMissing) {
    io.error(
        word.starts_with("--")
            ? fmt::format("{}: option '{}' requires an argument\n", io.program, word)
            : fmt::format("{}: option requires an argument -- '{}'\n", io.program, word.back()));
  } else if (option == OptionScanner::kUnknown) {
    io.error(
        word.starts_with("--")
            ? fmt::format("{}: unrecognized option '{}'\n", io.program, word)
            : fmt::format("{}: invalid option -- '{}'\n", io.program, options.scanner().letter()));
  }
}

int RunSave(const CommandIo& io, Firewall* firewall) {
  ToolOptions options = ToolOptions::OfSave(io.arguments);
  SaveOptions save;
  while (const auto option = options.Next()) {
    switch (*option) {
      case 'c':
        save.counters = true;
        break;
      case 't':
        save.only_table = *options.scanner().argument();
        break;
      case 'V':
        io.out(fmt::format("{} v{}\n", io.program, kVersion));
        return 0;
      case 'f':  // the caller's file: the tool has opened it and sends the output there
      case 'b':
      case 'd':
      case 'M':
        break;
      default:
        Complain(io, options, *option);
        io.error(fmt::format("Look at manual page `{}.8' for more information.\n", io.program));
        return 1;
    }
  }
  if (!options.words().empty()) {
    io.error("Unknown arguments found on commandline\n");
    return 1;
  }
  if (!save.only_table.empty() && save.only_table != "filter" && save.only_table != "nat" &&
      save.only_table != "mangle" && save.only_table != "raw") {
    io.error(fmt::format("Table `{}' does not exist\n", save.only_table));
    return 1;
  }
  const std::string text = PrintSave(firewall->Rules().family(FamilyOf(io)), save, true);
  io.out(text);
  return 0;
}

struct RestoreCommand {
  RestoreRun run;
  bool test = false;
  std::string text;
};

// The exit status where there is nothing more to do.
std::optional<int> ParseRestoreCommand(const CommandIo& io, RestoreCommand* command) {
  ToolOptions options = ToolOptions::OfRestore(io.arguments);
  command->run.program = io.program;
  command->run.stop_at_first = true;
  while (const auto option = options.Next()) {
    switch (*option) {
      case 'b':
      case 'M':
        break;
      case 'c':
        command->run.options.counters = true;
        break;
      case 'v':
        ++command->run.verbose;
        break;
      case 'V':
        io.out(fmt::format("{} v{}\n", io.program, kVersion));
        return 0;
      case 't':
        command->test = true;
        break;
      case 'h':
        io.error(RestoreHelpText(io.program));
        return 0;
      case 'n':
        command->run.options.noflush = true;
        break;
      case 'T':
        command->run.options.only_table = *options.scanner().argument();
        break;
      case 'w':
      case 'W':
        if (options.scanner().argument() == nullptr && options.scanner().HasFreeWord()) {
          options.scanner().TakeWord();
        }
        break;
      default:
        Complain(io, options, *option);
        io.error(fmt::format("Try `{} -h' for more information.\n", io.program));
        return 1;
    }
  }
  if (options.words().size() > 1) {
    io.error("Unknown arguments found on commandline\n");
    return 1;
  }
  // Where a file is named, the tool has opened it and sends what is in it.
  command->text = io.standard_input;
  return std::nullopt;
}

int RunRestoreCommand(const CommandIo& io, Firewall* firewall) {
  RestoreCommand command;
  if (const auto status = ParseRestoreCommand(io, &command)) return *status;
  rules::Model model = firewall->Rules();
  std::string output;
  const auto failures = RunRestore(command.text, command.run, &model.family(FamilyOf(io)), &output);
  if (!output.empty()) io.out(output);
  if (!failures.empty()) {
    const RestoreFailure& failure = failures.front();
    if (failure.whole_text) {
      io.error(fmt::format("{}: {}\n", io.program, failure.problem.message));
    } else {
      io.error(ProblemText(io.program, failure.problem, failure.line));
    }
    return static_cast<int>(failure.problem.status);
  }
  if (command.test) return 0;
  // Restored rules start from the counters in the text, or from zero; what -n leaves goes on.
  return Publish(io, firewall, std::move(model), command.run.options.noflush);
}

}  // namespace

int Run(const CommandIo& io, Firewall* firewall) {
  if (io.program.ends_with("-save")) return RunSave(io, firewall);
  if (io.program.ends_with("-restore")) return RunRestoreCommand(io, firewall);
  return RunEdit(io, firewall);
}

}  // namespace postern::control::iptables

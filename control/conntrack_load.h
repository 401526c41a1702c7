// `conntrack -R FILE`: a file's lines as commands, in the form that -o save writes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/command.h"
#include "control/conntrack_options.h"

namespace postern::control {

// The file that a command line wants loaded, "-" for standard input; null: it loads none. As in the
// original -R has to come first and whatever follows the file doesn't matter.
inline const std::string* FileToLoad(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2) return nullptr;
  return arguments[0] == "-R" || arguments[0] == "--load-file" ? &arguments[1] : nullptr;
}

// Says what is wrong; the exit status.
int ComplainOfOptions(const CommandIo& io, const ConntrackError& error);

// Reads the lines of io.standard_input, all of them before it does the first one; stops at the
// first that fails. `start`: makes a line's command.
using ConntrackStart = std::function<std::unique_ptr<Command>(const CommandIo&, ConntrackOptions)>;
std::unique_ptr<Command> MakeLoadCommand(ConntrackStart start);

}  // namespace postern::control

// `postern sysctl`, as sysctl(8) of procps 4.0.2 writes and complains. It runs in the tool, which
// reads files with its caller's rights; posternd only gives and takes values.
#pragma once

#include <string>
#include <vector>

#include "control/command.h"
#include "control/sysctl_options.h"
#include "control/sysctl_tree.h"

namespace postern::control {

class Engine;

// Runs a command line (without the program's name) and returns its exit status.
int RunSysctl(const std::vector<std::string>& arguments, SysctlTree* tree, const SysctlIo& io);

// The daemon's side. The program is kSysctlValues; without arguments it prints a line
// "PATH MODE VALUE" for each name (MODE: rw or ro), with PATH and VALUE it sets one: the exit
// status is the error's number (errno(3)), standard error has a sentence where there is more to
// say.
inline constexpr std::string_view kSysctlValues = "sysctl-values";
int RunSysctlValues(const CommandIo& io, Engine* engine);

}  // namespace postern::control

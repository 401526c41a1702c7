// postern's commands: which name does what, in the daemon or here.
#pragma once

#include <string>
#include <vector>

namespace postern::app {

struct ToolCall {
  std::string socket;  // --socket, or ""
  std::string command;
  std::vector<std::string> arguments;
  bool by_link = false;  // called by the command's own name
};

// Runs a command and returns its exit status.
int RunTool(const ToolCall& call);

// The names that the tool answers to when it is called by them: iptables, conntrack …
bool IsToolName(const std::string& name);

// `postern --help`.
std::string ToolHelp();

}  // namespace postern::app

#include "app/persistent_tool.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "control/client.h"

namespace postern::app {
namespace {

constexpr std::string_view kName = "netfilter-persistent";

int Ask(const ToolCall& call, std::string program, std::vector<std::string> arguments) {
  control::ClientRequest request;
  request.socket_path = control::SocketPath(call.socket);
  request.program = std::move(program);
  request.called = kName;
  request.arguments = std::move(arguments);
  return control::RunClient(request);
}

int Flush(const ToolCall& call) {
  struct Chain {
    const char* table;
    const char* name;
  };
  constexpr auto kChains = std::to_array<Chain>({
      {"raw", "PREROUTING"},
      {"raw", "OUTPUT"},
      {"mangle", "PREROUTING"},
      {"mangle", "INPUT"},
      {"mangle", "FORWARD"},
      {"mangle", "OUTPUT"},
      {"mangle", "POSTROUTING"},
      {"nat", "PREROUTING"},
      {"nat", "INPUT"},
      {"nat", "OUTPUT"},
      {"nat", "POSTROUTING"},
      {"filter", "INPUT"},
      {"filter", "FORWARD"},
      {"filter", "OUTPUT"},
  });
  for (const char* program : {"iptables", "ip6tables"}) {
    for (const Chain& chain : kChains) {
      const int status = Ask(call, program, {"-t", chain.table, "-P", chain.name, "ACCEPT"});
      if (status != 0) return status;
    }
    for (const char* table : {"raw", "mangle", "nat", "filter"}) {
      for (const char* what : {"-F", "-X"}) {
        const int status = Ask(call, program, {"-t", table, what});
        if (status != 0) return status;
      }
    }
  }
  return 0;
}

}  // namespace

int RunPersistentTool(const ToolCall& call) {
  const std::string verb = call.arguments.empty() ? "" : call.arguments[0];
  if (verb == "save") return Ask(call, "save", {});
  if (verb == "start" || verb == "reload" || verb == "restart") return Ask(call, "reload", {});
  if (verb == "flush") return Flush(call);
  if (verb == "stop") {
    fmt::print("Automatic flush disabled; use '{} flush'\n", kName);
    return 0;
  }
  fmt::print("Usage: {} (start|stop|restart|reload|flush|save)\n", kName);
  return 0;
}

}  // namespace postern::app

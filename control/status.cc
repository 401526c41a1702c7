#include "control/status.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "control/version.h"

namespace postern::control {
namespace {

std::string Uptime(double seconds) {
  const auto whole = static_cast<uint64_t>(seconds);
  const uint64_t days = whole / 86400;
  const std::string clock =
      fmt::format("{:02}:{:02}:{:02}", whole / 3600 % 24, whole / 60 % 60, whole % 60);
  return days == 0 ? clock : fmt::format("{} d {}", days, clock);
}

nlohmann::ordered_json PortJson(const pipeline::PortStats& port) {
  nlohmann::ordered_json drops = nlohmann::ordered_json::object();
  for (size_t i = 0; i < net::kDropReasonCount; ++i) {
    if (port.drops[i] == 0) continue;
    drops[std::string(net::ToString(static_cast<net::DropReason>(i)))] = port.drops[i];
  }
  return {{"name", port.name},
          {"link", port.link_up ? "up" : "down"},
          {"rx_packets", port.rx_packets},
          {"tx_packets", port.tx_packets},
          {"rx_bytes", port.rx_bytes},
          {"tx_bytes", port.tx_bytes},
          {"drops", drops}};
}

}  // namespace

StatusReport GatherStatus(Engine* engine) {
  StatusReport report;
  const std::chrono::duration<double> uptime = std::chrono::steady_clock::now() - engine->started();
  report.uptime_seconds = uptime.count();
  report.generation = engine->generation();
  report.ports = engine->dataplane().Ports();
  report.workers = engine->dataplane().Workers();
  report.conntrack_entries = engine->dataplane().conntrack_entries();
  report.conntrack_max = engine->sysctls().conntrack.max;
  return report;
}

std::string StatusJson(const StatusReport& report) {
  nlohmann::ordered_json ports = nlohmann::ordered_json::array();
  for (const auto& port : report.ports) ports.push_back(PortJson(port));
  nlohmann::ordered_json workers = nlohmann::ordered_json::array();
  for (const auto& worker : report.workers) {
    workers.push_back({{"cpu", worker.cpu},
                       {"busy", std::round(worker.busy * 1000) / 1000},
                       {"packets", worker.packets},
                       {"handoffs", worker.handoffs_out}});
  }
  const nlohmann::ordered_json json = {
      {"version", std::string(Version())},
      {"uptime_seconds", std::round(report.uptime_seconds * 1000) / 1000},
      {"generation", report.generation},
      {"ports", ports},
      {"workers", workers},
      {"conntrack", {{"entries", report.conntrack_entries}, {"max", report.conntrack_max}}}};
  return json.dump() + "\n";
}

std::string StatusText(const StatusReport& report) {
  std::string text = fmt::format("postern {}, up {}, rule set generation {}\n", Version(),
                                 Uptime(report.uptime_seconds), report.generation);
  const double share =
      report.conntrack_max == 0 ? 0 : 100.0 * report.conntrack_entries / report.conntrack_max;
  text += fmt::format("conntrack: {} of {} entries ({:.1f} %)\n", report.conntrack_entries,
                      report.conntrack_max, share);
  text += fmt::format("\n{:<16}{:<6}{:>14}{:>14}{:>18}{:>18}{:>12}\n", "port", "link", "rx packets",
                      "tx packets", "rx bytes", "tx bytes", "drops");
  for (const auto& port : report.ports) {
    uint64_t drops = 0;
    for (const uint64_t count : port.drops) drops += count;
    text += fmt::format("{:<16}{:<6}{:>14}{:>14}{:>18}{:>18}{:>12}\n", port.name,
                        port.link_up ? "up" : "down", port.rx_packets, port.tx_packets,
                        port.rx_bytes, port.tx_bytes, drops);
    for (size_t i = 0; i < net::kDropReasonCount; ++i) {
      if (port.drops[i] == 0) continue;
      text += fmt::format("  {:<30}{:>12}\n", net::ToString(static_cast<net::DropReason>(i)),
                          port.drops[i]);
    }
  }
  text += fmt::format("\n{:<8}{:<6}{:>8}{:>14}{:>14}{:>14}{:>14}\n", "worker", "cpu", "busy",
                      "packets", "burst size", "handoffs", "connections");
  for (size_t i = 0; i < report.workers.size(); ++i) {
    const auto& worker = report.workers[i];
    uint64_t bursts = 0;
    for (const uint64_t count : worker.burst_histogram) bursts += count;
    const double size = bursts == 0 ? 0 : static_cast<double>(worker.packets) / bursts;
    text += fmt::format("{:<8}{:<6}{:>7.1f}%{:>14}{:>14.1f}{:>14}{:>14}\n", i, worker.cpu,
                        100 * worker.busy, worker.packets, size, worker.handoffs_out,
                        worker.connections);
  }
  return text;
}

int RunStatus(const CommandIo& io, Engine* engine) {
  bool json = false;
  for (const std::string& argument : io.arguments) {
    if (argument == "--json") {
      json = true;
      continue;
    }
    io.error(fmt::format("postern status: unknown argument '{}'\n", argument));
    io.error("Usage: postern status [--json]\n");
    return 2;
  }
  const StatusReport report = GatherStatus(engine);
  io.out(json ? StatusJson(report) : StatusText(report));
  return 0;
}

}  // namespace postern::control

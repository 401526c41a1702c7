#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <vector>

#include "perf/bench.h"
#include "perf/path_report.h"
#include "perf/path_run.h"

namespace postern::perf {
namespace {

std::vector<PathScenario> Chosen(const BenchOptions& options) {
  const std::vector<std::string> all = PathNames();
  std::vector<PathScenario> chosen;
  for (const PathScenario& scenario : AllPaths()) {
    if (!IsChosen(scenario.Name(), options.only, all)) continue;
    if (scenario.flows <= options.most_flows) chosen.push_back(scenario);
  }
  return chosen;
}

// RunPath in a child: {"figures": …} or {"error": …}.
nlohmann::ordered_json Answer(const PathScenario& scenario, const BenchOptions& options) {
  const auto figures = RunPath(scenario, {options.cpus, options.main_cpu, options.seconds});
  if (!figures) return {{"error", figures.error()}};
  return {{"figures", *figures}};
}

std::string ReadAll(int descriptor) {
  std::string text;
  char buffer[4096];
  ssize_t size = 0;
  while ((size = read(descriptor, buffer, sizeof(buffer))) > 0) {
    text.append(buffer, static_cast<size_t>(size));
  }
  return text;
}

nlohmann::ordered_json RunInChild(const PathScenario& scenario, const BenchOptions& options) {
  int ends[2];
  if (pipe(ends) != 0) return {{"error", "no pipe"}};
  std::cout.flush();
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    const std::string text = Answer(scenario, options).dump();
    const bool written =
        write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  const std::string text = child < 0 ? "" : ReadAll(ends[0]);
  close(ends[0]);
  if (child > 0) waitpid(child, nullptr, 0);
  auto answer = nlohmann::ordered_json::parse(text, nullptr, false);
  if (answer.is_discarded()) return {{"error", "the measuring process has crashed"}};
  return answer;
}

}  // namespace

std::vector<std::string> PathNames() {
  std::vector<std::string> names;
  for (const PathScenario& scenario : AllPaths()) names.push_back(scenario.Name());
  return names;
}

net::Status RunPaths(const BenchOptions& options) {
  std::vector<PathMeasurement> measurements;
  for (const PathScenario& scenario : Chosen(options)) measurements.push_back({scenario, {}, {}});
  if (measurements.empty()) return net::Error{"no scenario has such a name; --list shows them"};
  bool failed = false;
  for (unsigned round = 0; round < options.rounds; ++round) {
    for (PathMeasurement& m : measurements) {
      const auto answer = RunInChild(m.scenario, options);
      if (answer.contains("figures")) {
        m.rounds.push_back(answer["figures"]);
      } else {
        m.errors.push_back(answer["error"]);
        std::cerr << m.scenario.Name() << ": " << m.errors.back() << '\n';
        failed = true;
      }
    }
  }
  PrintPaths(std::cout, measurements);
  const nlohmann::ordered_json figures = {
      {"cpus", options.cpus}, {"seconds", options.seconds}, {"paths", PathsToJson(measurements)}};
  if (net::Status status = WriteJson(options, figures.dump(2)); !status) return status;
  if (failed) return net::Error{"not everything could be measured"};
  return {};
}

}  // namespace postern::perf

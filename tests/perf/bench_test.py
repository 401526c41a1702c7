#!/usr/bin/python3
"""The benchmarks run and say what they should. How fast they are is nobody's business here.

    bench_test.py BUILD

Ends with `N passed, N failed`; 77 where it isn't root.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

# Each is the only scenario of its name, and quick.
PATHS = {
    "established, udp masquerade, 1k flows, 10 rules": ["mpps", "burst_p99.9_us"],
    "established, udp6, 16k flows, 10 rules": ["mpps"],
    "established, udp, 16k flows, 10 rules, 2 workers": ["mpps", "handoffs"],
    "table full, tcp masquerade, 16k flows, 10 rules": ["established_mpps", "syn_mpps"],
}


class Results:

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, fine, why=""):
        if fine:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAIL {name}: {why}")


def run(results, name, command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    results.check(f"{name}: exit status", done.returncode == 0, done.stderr)
    return done.stdout


def check_paths(results, build, folder):
    bench = build / "perf" / "postern-bench"
    listed = run(results, "--list", [bench, "--list"]).splitlines()
    for name, figures in PATHS.items():
        results.check(f"{name}: is listed", name in listed, listed)
        out = folder / "path.json"
        run(results, name, [bench, "--only", name, "--rounds", "1", "--seconds", "0.1",
                            "--json", out])
        measured = [path for path in json.loads(out.read_text())["paths"] if path["name"] == name]
        results.check(f"{name}: measured", len(measured) == 1, measured)
        for figure in figures:
            results.check(f"{name}: {figure}", figure in measured[0]["median"], measured[0])
        median = measured[0]["median"]
        results.check(f"{name}: loses nothing", median["lost"] == 0, median)
        results.check(f"{name}: hands nothing over", median.get("handoffs", 0) == 0, median)


def check_pipeline(results, build, folder):
    bench = build / "perf" / "postern-bench"
    out = folder / "pipeline.json"
    name = "udp masquerade, 1k flows, 10 rules"
    run(results, "--pipeline", [bench, "--pipeline", "--only", name, "--rounds", "1", "--packets",
                                "2000", "--json", out])
    scenarios = json.loads(out.read_text())["scenarios"]
    results.check("--pipeline: measured", [s["name"] for s in scenarios] == [name], scenarios)
    results.check("--pipeline: loses nothing", scenarios[0]["lost_packets"] == 0, scenarios)


def check_turns(results, build, folder):
    out = folder / "turns.json"
    run(results, "--turns", [build / "perf" / "postern-bench", "--turns", "--rounds", "2",
                             "--most-flows", "2000", "--json", out])
    turns = {each["name"].split(",")[0]: each for each in json.loads(out.read_text())["turns"]}
    results.check("--turns: measured", set(turns) == {"traffic alone", "mass expiry", "dump",
                                                      "flush", "reload"}, turns)
    for name, left in [("mass expiry", 1000), ("dump", 2000), ("reload", 2000)]:
        results.check(f"--turns: {name}: so many are left", turns[name]["connections_after"] == left,
                      turns[name])
    for name, each in turns.items():
        results.check(f"--turns: {name}: own is no more than met",
                      0 < each["own_p50_us"] <= each["own_max_us"] <= each["met_max_us"], each)


def main():
    if os.geteuid() != 0:
        print("needs root")
        return 77
    build = pathlib.Path(sys.argv[1])
    results = Results()
    with tempfile.TemporaryDirectory(prefix="postern-bench-test-") as folder:
        check_paths(results, build, pathlib.Path(folder))
        check_pipeline(results, build, pathlib.Path(folder))
        check_turns(results, build, pathlib.Path(folder))
    print(f"{results.passed} passed, {results.failed} failed")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())

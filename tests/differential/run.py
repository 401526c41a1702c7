#!/usr/bin/python3
"""Compares Postern with the kernel's netfilter.

    run.py --postern PROGRAM --cases [NAME...]   every case folder, both sides
    run.py --record [NAME...]                    write expect.txt from the kernel
"""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
CASES = HERE.parent / "cases"
sys.path.insert(0, str(HERE))

import cases  # noqa: E402
import kernel as oracle  # noqa: E402
import results  # noqa: E402
import scenario as scenarios  # noqa: E402
import sides  # noqa: E402


class Namespaces:
    """The kernel for a scenario: the running one where its ports fit."""

    def __init__(self):
        self.kernel, self.topology, self.fragments = None, None, False

    def get(self, scenario):
        """Fragments that wait for others would meet the next scenario's: a fresh one after those."""
        stale, self.fragments = self.fragments, scenario.has_fragments()
        if stale or self.topology != scenario.topology():
            if self.kernel:
                self.kernel.close()
            self.kernel = oracle.Kernel(scenario.conf)
            self.topology = scenario.topology()
        return self.kernel


def case_folders(names):
    folders = sorted(f for f in CASES.iterdir() if (f / "packets.txt").exists())
    return [f for f in folders if not names or any(n in f.name for n in names)]


def record(names):
    namespaces = Namespaces()
    for folder in case_folders(names):
        scenario = scenarios.load(folder)
        result = sides.run_kernel(scenario, namespaces.get(scenario))
        text, file = cases.expectation(scenario, result), folder / "expect.txt"
        if not file.exists() or cases.differences(file.read_text(), text):
            file.write_text(text)
            print(f"recorded {folder.name}")
    return 0


def compare_cases(names, postern):
    """Each case on the kernel and on Postern; and the kernel against what was recorded from it."""
    namespaces, failed = Namespaces(), 0
    folders = case_folders(names)
    for folder in folders:
        scenario = scenarios.load(folder)
        result = sides.run_kernel(scenario, namespaces.get(scenario))
        wrong = []
        if not (folder / "kernel-varies").exists():
            wrong += [f"recorded: {line}" for line in cases.differences(
                (folder / "expect.txt").read_text(), cases.expectation(scenario, result))]
        if not (folder / "expect.postern.txt").exists():
            try:
                found, _ = results.compare(scenario, result, postern.run(scenario, result))
                wrong += found
            except sides.ReplayError as error:
                wrong.append(str(error))
        failed += bool(wrong)
        print(f"{'FAIL' if wrong else 'PASS'} {folder.name}", *wrong, sep="\n    ", flush=True)
    print(f"differential cases: {len(folders) - failed} passed, {failed} failed")
    return 1 if failed or not folders else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postern", type=pathlib.Path)
    parser.add_argument("--record", nargs="*", metavar="NAME")
    parser.add_argument("--cases", nargs="*", metavar="NAME")
    options = parser.parse_args()
    missing = sides.root_missing()
    if missing:
        print(f"skipped: {missing}")
        return 77
    if options.record is not None:
        return record(options.record)
    return compare_cases(options.cases or [], sides.Postern(options.postern))


if __name__ == "__main__":
    sys.exit(main())

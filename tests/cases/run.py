#!/usr/bin/python3
"""Runs every case folder through `postern replay` and compares with its expect.txt.

usage: run.py POSTERN [NAME...]

Needs neither root nor a network. What is expected was recorded from the kernel; tests/differential
asks it again.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "differential"))

import cases  # noqa: E402
import scenario as scenarios  # noqa: E402
import sides  # noqa: E402


def check(folder, postern):
    """What is wrong with a case, as lines."""
    scenario = scenarios.load(folder)
    result = postern.run(scenario)
    own = folder / "expect.postern.txt"
    expected = (own if own.exists() else folder / "expect.txt").read_text()
    wrong = cases.differences(expected, cases.expectation(scenario, result))
    return wrong + cases.check_events(scenario, result) + cases.bad_sums(result)


def main():
    postern = sides.Postern(sys.argv[1])
    folders = sorted(f for f in HERE.iterdir() if (f / "packets.txt").exists())
    if sys.argv[2:]:
        folders = [f for f in folders if any(name in f.name for name in sys.argv[2:])]
    failed = 0
    for folder in folders:
        try:
            wrong = check(folder, postern)
        except (sides.ReplayError, ValueError, OSError) as error:
            wrong = [str(error)]
        failed += bool(wrong)
        print(f"{'FAIL' if wrong else 'PASS'} {folder.name}", *wrong, sep="\n    ")
    print(f"cases: {len(folders) - failed} passed, {failed} failed")
    return 1 if failed or not folders else 0


if __name__ == "__main__":
    sys.exit(main())

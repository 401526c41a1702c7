#!/usr/bin/python3
"""Counts what a meson test run tested: prints `N passed, N failed` for a testlog.json."""

import json
import re
import sys


def count(entry):
    """(passed, failed) of one meson test."""
    text = entry.get("stdout", "") + entry.get("stderr", "")
    lines = re.findall(r"(\d+) passed, (\d+) failed\b", text)
    if lines:
        passed, failed = sum(int(p) for p, _ in lines), sum(int(f) for _, f in lines)
    else:
        passed = sum(map(int, re.findall(r"\[  PASSED  \] (\d+) tests?\.", text)))
        failed = sum(map(int, re.findall(r"(\d+) FAILED TESTS?", text)))
        if not passed and not failed and entry["result"] == "OK":
            passed = 1
    if entry["result"] == "SKIP":
        return 0, 0
    if entry["result"] not in ("OK", "EXPECTEDFAIL") and not failed:
        failed = 1  # crashed or timed out before it could say
    return passed, failed


def main():
    try:
        with open(sys.argv[1], encoding="utf-8") as log:
            counts = [count(json.loads(line)) for line in log]
    except FileNotFoundError:
        counts = []
    print(f"{sum(p for p, _ in counts)} passed, {sum(f for _, f in counts)} failed")


if __name__ == "__main__":
    main()

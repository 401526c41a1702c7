#!/usr/bin/python3
"""Checks README.md's tables: each of the 25 behaviours and each default names a case folder that is there, or a
file that holds it instead."""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BEHAVIOURS, DEFAULTS = 25, 7


def tables(text):
    """Rows of each table, as lists of cells."""
    found, last = [], ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not last.startswith("|"):
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        last = line
    return [rows[2:] for rows in found]  # without the head


def held_by(cell):
    """(what holds a row, what it names that isn't there)"""
    folders = {f.name[:3] for f in HERE.iterdir() if (f / "expect.txt").exists()}
    cases = re.findall(r"\b(\d{3})\b", cell)
    paths = [p for p in re.findall(r"`([^`]+)`", cell) if "/" in p]
    missing = [c for c in cases if c not in folders] + [p for p in paths if not (ROOT / p).is_file()]
    if cell == "no helper is built":
        # True only as long as there is none.
        return (["nothing"], missing) if not (ROOT / "ctrack/helpers").exists() else ([], missing)
    return cases + paths, missing


def problems(text):
    behaviours, defaults = tables(text)
    wrong = [f"{row[0]}: no row" for row in
             ([str(n)] for n in range(1, BEHAVIOURS + 1)) if row[0] not in {r[0] for r in behaviours}]
    if len(defaults) < DEFAULTS:
        wrong.append(f"{len(defaults)} defaults, not {DEFAULTS}")
    for row in behaviours + defaults:
        holders, missing = held_by(row[-1])
        wrong += [f"{row[0]}: {name} isn't there" for name in missing]
        if not holders:
            wrong.append(f"{row[0]}: nothing holds it")
    return wrong


def main():
    text = (HERE / "README.md").read_text()
    wrong = problems(text)
    # The check itself must be able to fail.
    broken = text.replace("| 1 | ", "| 99 | ", 1).replace("| 041 |", "| 941 |")
    if len(problems(broken)) < 2:
        wrong.append("a missing number and a missing folder go unnoticed")
    print(*wrong, sep="\n")
    print(f"behaviours: {0 if wrong else 1} passed, {1 if wrong else 0} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
